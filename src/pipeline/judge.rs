//! The rules that one report is judged by alone. Pure: what they need of time and settings comes with the call.

use serde::{Deserialize, Serialize};

use super::batch::Received;
use crate::fix::{Fix, Reason, Report};
use crate::units::{Position, TimestampMs};

/// Thresholds of the rules. A rule whose threshold is 0 is off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Seconds that a fix may be ahead of its receive time. Five minutes forgive a phone whose clock nobody sets and
    /// still refuse a receiver in the wrong week (Traccar's only threshold on by default is a day).
    pub future_s: u32,
    /// Seconds that a fix may be older than its receive time. Off: a backlog of yesterday is history, not rubbish.
    pub past_s: u32,
    /// Worst accuracy in metres that is still stored. Off: trackers differ too much in what they call accuracy.
    pub accuracy_m_max: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { future_s: 300, past_s: 0, accuracy_m_max: 0 }
    }
}

/// What a report became.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    /// A fix at its own time.
    Timed(Fix),
    /// A fix at its receive time, which is to be moved to the driver's next free millisecond.
    Timeless(Fix),
}

impl Rules {
    /// Judges one report by all rules up to `future`. The first that it breaks, in the order of [`Reason`], is the reason.
    pub fn judge(&self, report: &Report, received: Received) -> Result<Judged, Reason> {
        let time = match (report.time, received) {
            (Some(time), _) => time,
            (None, Received::Live(received_at)) => received_at,
            (None, Received::Recorded) => return Err(Reason::NoTime),
        };
        let position = Position::from_degrees(report.latitude, report.longitude).ok_or(Reason::OutOfRange)?;
        if report.satellites == Some(0) {
            return Err(Reason::NoFix);
        }
        if position == (Position { latitude_e7: 0, longitude_e7: 0 }) {
            return Err(Reason::NullIsland);
        }
        let received_at = match received {
            Received::Live(received_at) => {
                self.judge_time(time, received_at)?;
                received_at
            }
            Received::Recorded => time,
        };
        let fix = Fix::from_report(report, position, time, received_at);
        Ok(if report.time.is_some() { Judged::Timed(fix) } else { Judged::Timeless(fix) })
    }

    /// Judges the accuracy that a tracker gave; one that gave none passes. Apart from the other rules, because the
    /// registry is asked between them.
    pub fn judge_accuracy(&self, report: &Report) -> Result<(), Reason> {
        let is_worse = f64::from(report.accuracy_m) > f64::from(self.accuracy_m_max);
        if self.accuracy_m_max > 0 && is_worse { Err(Reason::Accuracy) } else { Ok(()) }
    }

    fn judge_time(&self, time: TimestampMs, received_at: TimestampMs) -> Result<(), Reason> {
        let ahead_ms = time.0.saturating_sub(received_at.0);
        if self.past_s > 0 && ahead_ms < -i64::from(self.past_s) * 1_000 {
            return Err(Reason::Past);
        }
        if self.future_s > 0 && ahead_ms > i64::from(self.future_s) * 1_000 {
            return Err(Reason::Future);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_708_093_024_000);

    fn judged(report: &Report) -> Result<Judged, Reason> {
        let rules = Rules { past_s: 3_600, accuracy_m_max: 100, ..Rules::default() };
        let judged = rules.judge(report, Received::Live(NOW))?;
        rules.judge_accuracy(report)?;
        Ok(judged)
    }

    fn report() -> Report {
        Report::at(Some(NOW), 52.1, 21.0)
    }

    #[test]
    fn each_rule_refuses_what_breaks_it_and_no_more() {
        let cases: &[(&str, Report, Option<Reason>)] = &[
            ("a plain fix", report(), None),
            ("latitude", Report { latitude: 90.0001, ..report() }, Some(Reason::OutOfRange)),
            ("the pole", Report { latitude: -90.0, ..report() }, None),
            ("longitude", Report { longitude: -180.1, ..report() }, Some(Reason::OutOfRange)),
            ("the antimeridian", Report { longitude: 180.0, ..report() }, None),
            ("not a number", Report { latitude: f64::NAN, ..report() }, Some(Reason::OutOfRange)),
            ("infinite", Report { longitude: f64::INFINITY, ..report() }, Some(Reason::OutOfRange)),
            ("no satellites", Report { satellites: Some(0), ..report() }, Some(Reason::NoFix)),
            ("null island", Report { latitude: 0.0, longitude: -0.0, ..report() }, Some(Reason::NullIsland)),
            ("on the equator", Report { latitude: 0.0, ..report() }, None),
            ("just not future", Report { time: Some(TimestampMs(NOW.0 + 300_000)), ..report() }, None),
            ("future", Report { time: Some(TimestampMs(NOW.0 + 300_001)), ..report() }, Some(Reason::Future)),
            ("just not past", Report { time: Some(TimestampMs(NOW.0 - 3_600_000)), ..report() }, None),
            ("past", Report { time: Some(TimestampMs(NOW.0 - 3_600_001)), ..report() }, Some(Reason::Past)),
            ("the end of time", Report { time: Some(TimestampMs(i64::MIN)), ..report() }, Some(Reason::Past)),
            ("inaccurate", Report { accuracy_m: 100.5, ..report() }, Some(Reason::Accuracy)),
            ("accurate", Report { accuracy_m: 100.0, ..report() }, None),
            (
                "the first rule wins",
                Report { latitude: 91.0, satellites: Some(0), accuracy_m: 900.0, ..report() },
                Some(Reason::OutOfRange),
            ),
        ];
        for (name, report, expected) in cases {
            assert_eq!(judged(report).err(), *expected, "{name}");
        }
    }

    #[test]
    fn a_recording_has_its_own_time_and_no_other() {
        let rules = Rules { past_s: 1, ..Rules::default() };
        let old = Report::at(Some(TimestampMs(1)), 52.1, 21.0);
        match rules.judge(&old, Received::Recorded) {
            Ok(Judged::Timed(fix)) => assert_eq!(fix.received_at, TimestampMs(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(rules.judge(&Report { time: None, ..old }, Received::Recorded), Err(Reason::NoTime));
    }

    #[test]
    fn a_report_without_a_time_takes_the_receive_time() {
        match judged(&Report { time: None, ..report() }) {
            Ok(Judged::Timeless(fix)) => assert_eq!((fix.time, fix.received_at), (NOW, NOW)),
            other => panic!("{other:?}"),
        }
    }
}
