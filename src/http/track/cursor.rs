//! Where the next page of a track begins, as text that clients hand back and do not read.
//!
//! It is a time and not a count, so that a late fix that arrives between two pages neither shifts nor repeats anything:
//! one behind the cursor was missed, one before it is on the next page.

use crate::units::TimestampMs;

/// Flips the sign bit, so that the digits sort as the times do.
const SIGN: u64 = 1 << 63;

/// Digits of a cursor.
const DIGITS: usize = 16;

/// The cursor of a page that begins at `next`.
pub(super) fn write(next: TimestampMs) -> String {
    format!("{:016x}", next.0 as u64 ^ SIGN)
}

/// The instant of a cursor that [`write`] made; `None` for any other text.
pub(super) fn read(text: &str) -> Option<TimestampMs> {
    let is_ours = text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let digits = is_ours.then(|| u64::from_str_radix(text, 16).ok())??;
    Some(TimestampMs((digits ^ SIGN) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        let times = [i64::MIN, -1, 0, 1, 1_708_093_024_000, i64::MAX].map(TimestampMs);
        for time in times {
            assert_eq!(read(&write(time)), Some(time));
        }
        assert!(times.map(write).is_sorted());
        for bad in
            ["", "x", "1708093024000", "80000000000000000", "800000000000000G", "+000000000000000", "8000018DB26AAAAA"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
