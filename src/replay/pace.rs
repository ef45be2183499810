//! How fast a recording is sent: by its own clock, or as fast as it can be taken.

use std::str::FromStr;
use std::time::Duration;

use super::error::Error;
use crate::units::TimestampMs;

/// A step of the recording's clock longer than this, forward or back, is a break in the recording or a wrong clock, and
/// nothing to wait for.
const BREAK_S: f64 = 600.0;

/// Rows in a row from beyond a break after which it is the clock that was wrong, and not they.
const STRAY_ROWS_MAX: u32 = 32;

/// What `--speed` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// No waiting.
    #[default]
    Max,
    /// This many seconds of the recording in one second.
    Times(f64),
}

impl FromStr for Speed {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.strip_suffix('x').unwrap_or(text).parse::<f64>() {
            Ok(times) if times > 0.0 && times.is_finite() => Ok(Self::Times(times)),
            _ => Err(Error::BadSpeed(text.to_owned())),
        }
    }
}

/// Tells when each row is due. Rows go in file order: one that is older than the newest before it is due at once, one
/// that is newer as much later as the recording says.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    newest: Option<TimestampMs>,
    stray_rows: u32,
    due_s: f64,
}

impl Pace {
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, newest: None, stray_rows: 0, due_s: 0.0 }
    }

    /// How long after the start of the replay a row of this time is due; `None` for at once.
    pub(super) fn due(&mut self, time: TimestampMs) -> Option<Duration> {
        let Speed::Times(times) = self.speed else { return None };
        let step_s = time.seconds_since(self.newest.unwrap_or(time));
        if step_s < -BREAK_S {
            self.stray_rows += 1;
            if self.stray_rows > STRAY_ROWS_MAX {
                self.stray_rows = 0;
                self.newest = Some(time);
            }
            return None;
        }
        self.stray_rows = 0;
        if step_s < 0.0 {
            return None;
        }
        self.newest = Some(time);
        if step_s <= BREAK_S {
            self.due_s += step_s / times;
        }
        Duration::try_from_secs_f64(self.due_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_s(speed: &str, times_s: &[i64]) -> Vec<f64> {
        let mut pace = Pace::new(speed.parse().unwrap());
        let due = |time_s: &i64| pace.due(TimestampMs(time_s * 1_000)).map_or(-1.0, |due| due.as_secs_f64());
        times_s.iter().map(due).collect()
    }

    #[test]
    fn speeds_are_read() {
        assert_eq!("max".parse::<Speed>().unwrap(), Speed::Max);
        assert_eq!("10".parse::<Speed>().unwrap(), Speed::Times(10.0));
        assert_eq!("0.5x".parse::<Speed>().unwrap(), Speed::Times(0.5));
        for bad in ["", "0", "-1", "fast", "NaN", "inf"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_are_due_by_the_recordings_clock() {
        assert_eq!(due_s("1", &[100, 101, 101, 104]), [0.0, 1.0, 1.0, 4.0]);
        assert_eq!(due_s("10", &[100, 110, 130]), [0.0, 1.0, 3.0]);
        assert_eq!(due_s("max", &[100, 110]), [-1.0, -1.0]);
    }

    #[test]
    fn late_rows_breaks_and_strays_are_not_waited_for() {
        assert_eq!(due_s("1", &[100, 110, 105, 111]), [0.0, 10.0, -1.0, 11.0]);
        assert_eq!(due_s("1", &[10_000, 10_001, 0, 10_002]), [0.0, 1.0, -1.0, 2.0]);
        assert_eq!(due_s("1", &[0, 1, 90_000, 90_001]), [0.0, 1.0, 1.0, 2.0]);
    }

    #[test]
    fn a_clock_far_ahead_holds_the_pace_up_for_a_while_only() {
        let mut times_s = vec![1_000_000];
        times_s.extend(0..40);
        let due_s = due_s("1", &times_s);
        assert_eq!(due_s[STRAY_ROWS_MAX as usize], -1.0);
        assert_eq!(*due_s.last().unwrap(), 7.0);
    }
}
