//! Refusals on record, judged again by the rules that are in force now.
//!
//! A refusal keeps the receive time that it had: the rules that compare with the clock compare with that. Who judges the
//! same refusals twice stores nothing twice, since a fix without a time of its own has its receive time for good here, and
//! is not moved to the next free millisecond.

use std::time::Instant;

use super::Target;
use super::error::Error;
use super::offline::{Offline, Submission, Submit};
use super::summary::Summary;
use crate::codec::Codec;
use crate::fix::{Element, Reason, Report};
use crate::pipeline::Received;
use crate::rejected::{Filter, Reader, Refusal};
use crate::wire;

/// Judges again what the filter has, of each payload `fixes_max` fixes at most: one of more is `too_large`. Blocks until what is stored of it is durable.
///
/// What cannot be judged is counted as left out: a payload that was cut, and a row of a recording, which means nothing
/// without its header; the recording itself can be replayed.
pub fn judge_again<S: Submit>(
    refusals: Reader,
    filter: &Filter,
    fixes_max: usize,
    target: &mut Offline<S>,
) -> (Summary, Result<(), Error>) {
    let start = Instant::now();
    let mut summary = Summary { left_out: Some(0), ..Summary::default() };
    let mut result = send(refusals, filter, fixes_max, target, &mut summary);
    if result.as_ref().err().is_none_or(Error::is_of_file) {
        result = target.finish(&mut summary).and(result);
    }
    summary.seconds = start.elapsed().as_secs_f64();
    (summary, result)
}

fn send<S: Submit>(
    refusals: Reader,
    filter: &Filter,
    fixes_max: usize,
    target: &mut Offline<S>,
    summary: &mut Summary,
) -> Result<(), Error> {
    let mut elements = Vec::new();
    for refusal in refusals {
        let refusal = refusal?;
        if !filter.has(&refusal) {
            continue;
        }
        if !read(&refusal, fixes_max, &mut elements) {
            *summary.left_out.get_or_insert_default() += u64::from(refusal.fixes);
            continue;
        }
        let (received, codec, raw) = (Received::Again(refusal.received_at), refusal.codec, refusal.payload.bytes());
        target.send_payload(&refusal.driver, &Submission { received, codec, raw, elements: &elements })?;
        summary.rows += elements.len() as u64;
    }
    Ok(())
}

/// Reads a refusal's payload into `elements`, or returns false if that is not possible.
fn read(refusal: &Refusal, fixes_max: usize, elements: &mut Vec<Element>) -> bool {
    elements.clear();
    // A row of a recording needs its header.
    if refusal.payload.is_cut() || refusal.codec == Codec::Recording {
        return false;
    }
    if wire::decode(refusal.codec, refusal.payload.bytes(), fixes_max, elements).is_over {
        elements.push(Err(Reason::TooLarge));
    }
    let is_timeless = |element: &Element| element.is_ok_and(|report| report.time.is_none());
    let timeless = elements.iter().filter(|element| is_timeless(element)).count();
    for element in elements.iter_mut().filter(|element| is_timeless(element)) {
        // Of several without a time in one payload nobody knows the order, also where they were kept apart.
        *element = if refusal.reason == Reason::NoTime || timeless > 1 {
            Err(Reason::NoTime)
        } else {
            element.map(|report| Report { time: Some(refusal.received_at), ..report })
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{DriverId, DriverKey, TenantId};
    use crate::rejected::Payload;
    use crate::units::TimestampMs;

    fn refusal(codec: Codec, reason: Reason, payload: &[u8], bytes_max: usize) -> Refusal {
        let (tenant, driver) = (TenantId::new("acme").unwrap(), DriverId::new("d1").unwrap());
        Refusal {
            received_at: TimestampMs(77_000),
            driver: Arc::new(DriverKey::new(tenant, driver)),
            codec,
            reason,
            fixes: 1,
            payload: Payload::cut(payload, bytes_max),
        }
    }

    /// The times of what was read, or why there is none.
    fn times(refusal: &Refusal) -> Option<Vec<Result<i64, Reason>>> {
        let mut elements = vec![Err(Reason::Past)];
        let is_read = read(refusal, 3, &mut elements);
        let time = |element: &Element| element.map(|report| report.time.unwrap().0);
        is_read.then(|| elements.iter().map(time).collect())
    }

    #[test]
    fn payloads_are_read_as_what_they_were() {
        let timed = br#"{"latitude":1,"longitude":2,"timestamp":5}"#;
        let timeless = br#"{"latitude":1,"longitude":2}"#;
        let several = [&b"["[..], timeless, b",", timeless, b",", timed, b"]"].concat();
        let native = |reason, payload| times(&refusal(Codec::Native, reason, payload, 1_000));
        assert_eq!(native(Reason::Future, timed), Some(vec![Ok(5_000)]));
        assert_eq!(native(Reason::UnknownDriver, timeless), Some(vec![Ok(77_000)]));
        assert_eq!(native(Reason::NoTime, timeless), Some(vec![Err(Reason::NoTime)]), "one of several");
        let no_time = Err(Reason::NoTime);
        assert_eq!(native(Reason::Future, &several), Some(vec![no_time, no_time, Ok(5_000)]));
        assert_eq!(native(Reason::Malformed, b"rubbish"), Some(vec![Err(Reason::Malformed)]));
        assert_eq!(native(Reason::TooLarge, b"[{},{},{}]"), Some(vec![Err(Reason::Malformed); 3]));
        assert_eq!(native(Reason::TooLarge, b"[{},{},{},{}]"), Some(vec![Err(Reason::TooLarge)]));
        assert_eq!(times(&refusal(Codec::Native, Reason::Future, timed, 10)), None, "cut");
        assert_eq!(times(&refusal(Codec::Recording, Reason::Future, b"a,b", 10)), None);
    }
}
