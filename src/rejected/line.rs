//! A refusal as a line of JSON, and back.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::PAYLOAD_BYTES_MAX;
use super::{Payload, Refusal};
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::units::TimestampMs;
use crate::wire::time;

/// Longest line that is read: a payload of control characters takes six bytes for each.
pub(super) const LINE_BYTES_MAX: usize = 6 * PAYLOAD_BYTES_MAX + 1_024;

/// The fields in the order in which they are written.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    received_at: Cow<'a, str>,
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    driver_id: Cow<'a, str>,
    #[serde(borrow)]
    codec: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    fixes: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// There if it is UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, str>>,
    /// There if it is not.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    payload_hex: Option<Cow<'a, str>>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(fixes: &u32) -> bool {
    *fixes == 1
}

impl Refusal {
    /// Appends it as an object: `{"received_at":"..","tenant":"acme","driver_id":"d1","codec":"native","reason":"null_island",
    /// "payload":"{..}"}`. A payload that is no text is `payload_hex`; `cut` is there, and true, if more came than is
    /// shown; `fixes` if it is more than one.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut received_at = Vec::with_capacity(24);
        time::write_rfc3339(self.received_at, &mut received_at);
        let text = self.payload.text();
        let line = Line {
            received_at: String::from_utf8_lossy(&received_at),
            tenant: self.driver.tenant().as_str().into(),
            driver_id: self.driver.driver().as_str().into(),
            codec: self.codec.as_str().into(),
            reason: self.reason.as_str().into(),
            fixes: self.fixes,
            cut: self.payload.is_cut(),
            payload: text.map(Cow::from),
            payload_hex: text.is_none().then(|| self.payload.hex().to_string().into()),
        };
        serde_json::to_writer(out, &line).expect("texts and numbers are always JSON, and memory takes them");
    }

    /// Reads what [`Refusal::write_json`] wrote; `None` for anything else.
    pub fn read_json(text: &[u8]) -> Option<Self> {
        let line: Line<'_> = serde_json::from_slice(text).ok()?;
        let bytes = match (line.payload, line.payload_hex) {
            (Some(text), None) => text.into_owned().into_bytes(),
            (None, Some(hex)) => from_hex(&hex)?,
            _ => return None,
        };
        let driver = DriverKey::new(TenantId::new(&line.tenant).ok()?, DriverId::new(&line.driver_id).ok()?);
        Some(Self {
            received_at: read_time(&line.received_at)?,
            driver: Arc::new(driver),
            codec: line.codec.parse().ok()?,
            reason: line.reason.parse().ok()?,
            fixes: line.fixes,
            payload: Payload { bytes: bytes.into(), is_cut: line.cut },
        })
    }
}

fn read_time(text: &str) -> Option<TimestampMs> {
    time::parse_rfc3339(text.as_bytes())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digits.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let pairs = digits.as_ref()?.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Codec;
    use crate::fix::Reason;
    use crate::rejected::testing::refusal;

    fn written(refusal: &Refusal) -> String {
        let mut line = Vec::new();
        refusal.write_json(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_says_what_was_refused() {
        let plain = refusal("d1", 1_708_093_024_000, br#"{"latitude":0,"longitude":0}"#);
        assert_eq!(
            written(&plain),
            r#"{"received_at":"2024-02-16T14:17:04Z","tenant":"acme","driver_id":"d1","codec":"native","reason":"null_island","payload":"{\"latitude\":0,\"longitude\":0}"}"#
        );
        let payload = Payload::cut(b"\xff\x00\x01", 2);
        let odd = Refusal { codec: Codec::Compact, reason: Reason::Malformed, fixes: 3, payload, ..plain };
        assert_eq!(
            written(&odd),
            r#"{"received_at":"2024-02-16T14:17:04Z","tenant":"acme","driver_id":"d1","codec":"compact","reason":"malformed","fixes":3,"cut":true,"payload_hex":"ff00"}"#
        );
    }

    #[test]
    fn what_is_no_line_is_none() {
        let whole = written(&refusal("d1", 0, b"x"));
        assert!(Refusal::read_json(whole.as_bytes()).is_some());
        for end in 0..whole.len() {
            assert_eq!(Refusal::read_json(&whole.as_bytes()[..end]), None, "{end}");
        }
        for (from, to) in [
            ("acme", "a/b"),
            ("native", "nativ"),
            ("null_island", "nul"),
            ("1970", "x970"),
            (r#""payload":"x""#, r#""payload_hex":"f""#),
            (r#""payload":"x""#, r#""payload_hex":"zz""#),
            (r#""payload":"x""#, r#""payload":"x","payload_hex":"00""#),
            (r#","payload":"x""#, ""),
        ] {
            assert_eq!(Refusal::read_json(whole.replace(from, to).as_bytes()), None, "{to}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            ascii in any::<bool>(),
            received_ms in 0_i64..4_000_000_000_000,
            (codec, reason) in (0..Codec::COUNT, 0..Reason::COUNT),
            fixes in 1_u32..9,
            bytes_max in 0_usize..300,
        ) {
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if ascii { byte & 0x7f } else { byte }).collect();
            let refusal = Refusal {
                codec: Codec::ALL[codec],
                reason: Reason::ALL[reason],
                fixes,
                payload: Payload::cut(&bytes, bytes_max),
                ..refusal("d1", received_ms, b"")
            };
            let line = written(&refusal);
            prop_assert!(!line.contains('\n'));
            prop_assert!(line.len() <= 6 * bytes.len() + 1_024);
            prop_assert_eq!(Refusal::read_json(line.as_bytes()), Some(refusal));
        }
    }
}
