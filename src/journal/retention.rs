//! How long a segment stays that nobody needs any more.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::SegmentInfo;

/// Units of a duration in text, and their seconds.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// What a duration in text looks like.
const WANTED: &str = "a duration such as \"0s\", \"90s\", \"30m\", \"1h\" or \"7d\"";

/// How long a segment stays after it was last written though nobody needs it, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention(Duration);

/// Text that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wants {WANTED}")]
pub struct InvalidRetention;

impl Retention {
    /// So many seconds.
    pub const fn from_s(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The frame up to which [`super::Journal::cut`] may take segments, given that none up to `unneeded` is needed: those
    /// that were last written longer ago than this, and of the others, oldest first, as many as hold `excess_bytes`. 0 is
    /// none.
    pub fn cut_upto(self, segments: &[SegmentInfo], unneeded: u64, excess_bytes: u64, now: SystemTime) -> u64 {
        let (mut upto, mut gone_bytes) = (0, 0);
        for pair in segments.windows(2) {
            let last = pair[1].first - 1;
            // A clock that stepped back makes it younger, never older.
            let age = now.duration_since(pair[0].written_at).unwrap_or_default();
            if last > unneeded || (age < self.0 && gone_bytes >= excess_bytes) {
                break;
            }
            upto = last;
            gone_bytes += pair[0].bytes;
        }
        upto
    }
}

impl FromStr for Retention {
    type Err = InvalidRetention;

    fn from_str(text: &str) -> Result<Self, InvalidRetention> {
        let split = || {
            let (unit, unit_s) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
            let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            digits.parse::<u64>().ok()?.checked_mul(unit_s)
        };
        split().map(Self::from_s).ok_or(InvalidRetention)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let largest = UNITS.into_iter().find(|(_, unit_s)| seconds > 0 && seconds.is_multiple_of(*unit_s));
        let (unit, unit_s) = largest.unwrap_or(('s', 1));
        write!(formatter, "{}{unit}", seconds / unit_s)
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &WANTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds, written) in [
            ("0s", 0, "0s"),
            ("90s", 90, "90s"),
            ("60s", 60, "1m"),
            ("30m", 1_800, "30m"),
            ("1h", 3_600, "1h"),
            ("24h", 86_400, "1d"),
            ("7d", 604_800, "7d"),
            ("0d", 0, "0s"),
        ] {
            let retention: Retention = text.parse().unwrap();
            assert_eq!((retention, retention.to_string().as_str()), (Retention::from_s(seconds), written), "{text}");
        }
        for text in [
            "",
            "s",
            "1",
            "1 h",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
            "1H",
            "h1",
            "99999999999999999999s",
            "999999999999999999d",
        ] {
            assert_eq!(text.parse::<Retention>(), Err(InvalidRetention), "{text}");
        }
    }

    #[test]
    fn what_nobody_needs_goes_when_it_is_old_or_the_room_is_wanted() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let segment = |first, age_s| SegmentInfo { first, bytes: 100, written_at: now - Duration::from_secs(age_s) };
        // Frames 1 to 10, 11 to 20, 21 to 30, and the newest from 31 on.
        let segments = [segment(1, 5_000), segment(11, 4_000), segment(21, 3_000), segment(31, 0)];
        let cases = [
            // retention, unneeded, excess: upto
            (0, 0, 0, 0),
            (0, 9, 0, 0),
            (0, 10, 0, 10),
            (0, 25, 0, 20),
            (0, 1_000, 0, 30),
            (3_600, 1_000, 0, 20),
            (3_600, 15, 0, 10),
            (4_500, 1_000, 0, 10),
            (86_400, 1_000, 0, 0),
            // It yields, oldest first, and never what is needed.
            (86_400, 1_000, 1, 10),
            (86_400, 1_000, 100, 10),
            (86_400, 1_000, 101, 20),
            (86_400, 15, 1_000, 10),
            (86_400, 1_000, 1_000, 30),
            (3_600, 1_000, 250, 30),
        ];
        for (retention_s, unneeded, excess, upto) in cases {
            let found = Retention::from_s(retention_s).cut_upto(&segments, unneeded, excess, now);
            assert_eq!(found, upto, "{retention_s} {unneeded} {excess}");
        }
        assert_eq!(Retention::from_s(0).cut_upto(&[], 9, 9, now), 0);
        // Written in the future, by a clock that stepped back since.
        let segments = [SegmentInfo { written_at: now + Duration::from_secs(9), ..segment(1, 0) }, segment(11, 0)];
        assert_eq!(Retention::from_s(1).cut_upto(&segments, 100, 0, now), 0);
    }
}
