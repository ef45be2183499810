//! What a turn refused, handed over as evidence: each refused fix with its reason and the bytes it came in.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Received, Run};
use crate::fix::{Reason, Verdict};
use crate::rejected::{Parcel, Payload, Recorder, Refusal, members};

/// Hands over what was refused in these batches, whose verdicts are durable. Never blocks.
pub(super) fn hand_over(recorder: &Recorder, batches: &[Batch]) {
    let mut gathering = Gathering { recorder, parcel: Parcel::default(), refused: Vec::new() };
    for batch in batches {
        gathering.batch(batch);
    }
    recorder.record(gathering.parcel);
}

struct Gathering<'a> {
    recorder: &'a Recorder,
    parcel: Parcel,
    /// Of the payload under way: places of the refused elements, and why.
    refused: Vec<(usize, Reason)>,
}

impl Gathering<'_> {
    fn batch(&mut self, batch: &Batch) {
        let is_of_recording = batch.received == Received::Recorded;
        if self.parcel.is_of_recording() != is_of_recording {
            self.send();
            self.parcel = Parcel::new(is_of_recording);
        }
        let mut runs = batch.runs.iter();
        let (mut run, mut run_end) = (None, 0);
        let (mut element, mut byte) = (0, 0);
        for end in &batch.payloads {
            let (elements, bytes) = (element..end.element as usize, byte..end.byte as usize);
            (element, byte) = (elements.end, bytes.end);
            // A payload is of one run.
            while elements.start >= run_end {
                let Some(next) = runs.next() else { return };
                run = Some(next);
                run_end += next.len as usize;
            }
            let Some(run) = run else { return };
            self.payload(batch, run, elements, &batch.raw[bytes]);
        }
    }

    fn payload(&mut self, batch: &Batch, run: &Run, elements: Range<usize>, raw: &[u8]) {
        let count = elements.len();
        let refused = |(place, verdict): (usize, &Verdict)| match verdict {
            Verdict::Rejected(reason) => Some((place, *reason)),
            _ => None,
        };
        self.refused.clear();
        self.refused.extend(batch.verdicts[elements].iter().enumerate().filter_map(refused));
        if self.refused.is_empty() {
            return;
        }
        if !self.recorder.has_room() {
            self.recorder.miss(self.refused.len() as u64);
            return;
        }
        // Where there is none, the recorder gives it one.
        let received_at = batch.received.at().unwrap_or_default();
        let bytes_max = self.recorder.payload_bytes_max();
        let refusal = |reason: Reason, fixes: usize, raw: &[u8]| Refusal {
            received_at,
            driver: Arc::clone(&run.driver),
            codec: run.codec,
            reason,
            fixes: fixes as u32,
            payload: Payload::cut(raw, bytes_max),
        };
        let places: Vec<usize> = self.refused.iter().map(|(place, _)| *place).collect();
        match members(raw, &places, count) {
            Some(members) => {
                for ((_, reason), member) in self.refused.iter().zip(members) {
                    self.parcel.add(refusal(*reason, 1, member));
                }
            }
            // It cannot be taken apart: it is kept once for each reason, not once for each fix.
            None => {
                for reason in Reason::ALL {
                    let fixes = self.refused.iter().filter(|(_, why)| *why == reason).count();
                    if fixes > 0 {
                        self.parcel.add(refusal(reason, fixes, raw));
                    }
                }
            }
        }
        if self.parcel.is_full() {
            self.send();
        }
    }

    /// Sends what there is so far.
    fn send(&mut self) {
        let next = Parcel::new(self.parcel.is_of_recording());
        self.recorder.record(std::mem::replace(&mut self.parcel, next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::codec::Codec;
    use crate::fix::Report;
    use crate::pipeline::testing::{Nobody, driver as key};
    use crate::rejected::{Config, Recording};
    use crate::units::TimestampMs;

    const NOW: TimestampMs = TimestampMs(1_708_093_024_000);

    /// A payload of a driver: as what it is read, what came, and what became of each element.
    type Came<'a> = (&'a str, Codec, &'a [u8], &'a [Verdict]);

    /// What is on record of a driver after these payloads, oldest first.
    fn on_record(received: Received, payloads: &[Came<'_>], driver: &str) -> Vec<(Reason, u32, TimestampMs, Vec<u8>)> {
        let mut batch = Batch::new(received, Arc::new(Nobody));
        for (driver, codec, raw, verdicts) in payloads {
            let element = Ok(Report::at(Some(NOW), 1.0, 2.0));
            batch.add_payload(&key(driver), *codec, raw, |elements| elements.extend(verdicts.iter().map(|_| element)));
            batch.verdicts.extend_from_slice(verdicts);
        }
        let dir = tempfile::tempdir().unwrap();
        let config = Config { payload_bytes_max: 40, ..Config::default() };
        let recording = Recording::start(dir.path(), &config, Clock::manual(TimestampMs(7))).unwrap();
        let recorder = recording.recorder().clone();
        hand_over(&recorder, &[batch]);
        recording.stop();
        let shown = |refusal: Arc<Refusal>| {
            (refusal.reason, refusal.fixes, refusal.received_at, refusal.payload.bytes().to_vec())
        };
        recorder.recent(&key(driver), 100).into_iter().rev().map(shown).collect()
    }

    const NULL: Verdict = Verdict::Rejected(Reason::NullIsland);
    const FUTURE: Verdict = Verdict::Rejected(Reason::Future);

    #[test]
    fn what_was_refused_is_found_with_its_driver_and_nothing_else() {
        let payloads: &[Came<'_>] = &[
            ("d1", Codec::Native, b"{\"good\":1}", &[Verdict::Accepted]),
            ("d1", Codec::Native, b"{\"bad\":1}", &[NULL]),
            ("d2", Codec::Native, b"{\"again\":1}", &[Verdict::Duplicate]),
            ("d2", Codec::Native, b"{\"bad\":2}", &[FUTURE]),
            ("d1", Codec::Native, b"{\"moved\":1}", &[Verdict::Conflict]),
            ("d1", Codec::Native, b"skipped", &[]),
            ("d1", Codec::Native, b"rubbish", &[Verdict::Rejected(Reason::Malformed)]),
        ];
        let live = Received::Live(NOW);
        let expected =
            [(Reason::NullIsland, 1, NOW, b"{\"bad\":1}".to_vec()), (Reason::Malformed, 1, NOW, b"rubbish".to_vec())];
        assert_eq!(on_record(live, payloads, "d1"), expected);
        assert_eq!(on_record(live, payloads, "d2"), [(Reason::Future, 1, NOW, b"{\"bad\":2}".to_vec())]);
    }

    #[test]
    fn of_an_array_the_refused_members_are_kept() {
        let array = br#"[{"n":0},{"n":1,"x":[1,2]}, {"n":2} ,{"n":3}]"#;
        let payloads: &[Came<'_>] = &[("d1", Codec::Native, array, &[Verdict::Late, NULL, FUTURE, Verdict::Accepted])];
        let expected = [
            (Reason::NullIsland, 1, NOW, br#"{"n":1,"x":[1,2]}"#.to_vec()),
            (Reason::Future, 1, NOW, br#"{"n":2}"#.to_vec()),
        ];
        assert_eq!(on_record(Received::Live(NOW), payloads, "d1"), expected);
    }

    #[test]
    fn what_cannot_be_taken_apart_is_kept_once_for_each_reason_and_cut() {
        let raw = [b"\x01".as_slice(), &[0xff; 60]].concat();
        let payloads: &[Came<'_>] = &[("d1", Codec::Compact, &raw, &[NULL, FUTURE, NULL, Verdict::Accepted])];
        let expected = [(Reason::NullIsland, 2, NOW, raw[..40].to_vec()), (Reason::Future, 1, NOW, raw[..40].to_vec())];
        assert_eq!(on_record(Received::Live(NOW), payloads, "d1"), expected);
    }

    #[test]
    fn rows_of_a_recording_have_the_time_of_the_writing() {
        let payloads: &[Came<'_>] = &[("d1", Codec::Recording, b"d1,2024,0,0", &[NULL])];
        let expected = [(Reason::NullIsland, 1, TimestampMs(7), b"d1,2024,0,0".to_vec())];
        assert_eq!(on_record(Received::Recorded, payloads, "d1"), expected);
    }
}
