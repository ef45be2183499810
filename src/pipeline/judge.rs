//! The rules that one report is judged by alone. Pure: what they need of time and settings comes with the call.

use super::batch::Received;
use super::rules::Rules;
use crate::fix::{Fix, Reason, Report};
use crate::units::{Position, TimestampMs};

/// After so many milliseconds the ten bits of a GPS week begin again: 1,024 weeks.
const ROLLOVER_MS: i64 = 1_024 * 7 * 86_400_000;

/// How often they may have, unnoticed by a receiver: twice since 1980, which is as old as GPS gets.
const ROLLOVERS_MAX: i64 = 2;

/// How far ahead a repaired time may be where `future_s` allows any.
const REPAIRED_AHEAD_S_MAX: u32 = 300;

/// What a report became.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Judged {
    /// A fix at its own time.
    Timed(Fix),
    /// A fix at its own time, after that was repaired.
    Repaired(Fix),
    /// A fix at its receive time, which is to be moved to the driver's next free millisecond.
    Timeless(Fix),
}

impl Rules {
    /// Judges one report by all rules up to `future`. The first that it breaks, in the order of [`Reason`], is the reason.
    pub(super) fn judge(&self, report: &Report, received: Received) -> Result<Judged, Reason> {
        let time = match (report.time, received.at()) {
            (Some(time), _) => time,
            (None, Some(received_at)) => received_at,
            (None, None) => return Err(Reason::NoTime),
        };
        let position = Position::from_degrees(report.latitude, report.longitude).ok_or(Reason::OutOfRange)?;
        if self.no_fix && report.satellites == Some(0) {
            return Err(Reason::NoFix);
        }
        if self.null_island && position == (Position { latitude_e7: 0, longitude_e7: 0 }) {
            return Err(Reason::NullIsland);
        }
        let Some(received_at) = received.at() else {
            return Ok(Judged::Timed(Fix::from_report(report, position, time, time)));
        };
        let repaired = self.without_rollover(time, received_at);
        let time = repaired.unwrap_or(time);
        self.judge_time(time, received_at)?;
        let fix = Fix::from_report(report, position, time, received_at);
        Ok(match (report.time, repaired) {
            (None, _) => Judged::Timeless(fix),
            (_, Some(_)) => Judged::Repaired(fix),
            (_, None) => Judged::Timed(fix),
        })
    }

    /// Judges the accuracy that a tracker gave; one that gave none passes. Apart from the other rules, because the
    /// registry is asked between them.
    pub(super) fn judge_accuracy(&self, report: &Report) -> Result<(), Reason> {
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

    /// The time that a receiver meant whose week number began again, if that makes a time of the present out of it.
    fn without_rollover(&self, time: TimestampMs, received_at: TimestampMs) -> Option<TimestampMs> {
        let behind_ms = received_at.0.saturating_sub(time.0);
        let ahead_s_max = if self.future_s > 0 { self.future_s } else { REPAIRED_AHEAD_S_MAX };
        let plausible_ms = -i64::from(ahead_s_max) * 1_000..=i64::from(self.rollover_s_max) * 1_000;
        // What is not behind by a cycle, less what it may be ahead, is behind by none.
        if self.rollover_s_max == 0 || behind_ms < ROLLOVER_MS + plausible_ms.start() {
            return None;
        }
        let cycles = (1..=ROLLOVERS_MAX).map(|cycles| cycles * ROLLOVER_MS);
        let mut plausible = cycles.filter(|cycles_ms| plausible_ms.contains(&(behind_ms - cycles_ms)));
        plausible.next().map(|cycles_ms| time.saturating_add_ms(cycles_ms))
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
    fn a_rule_that_is_off_refuses_nothing() {
        let off = Rules { no_fix: false, null_island: false, rollover_s_max: 0, future_s: 0, ..Rules::default() };
        for report in [
            Report { satellites: Some(0), ..report() },
            Report { latitude: 0.0, longitude: 0.0, ..report() },
            Report { time: Some(TimestampMs(NOW.0 * 2)), ..report() },
            Report { time: Some(TimestampMs(NOW.0 - ROLLOVER_MS)), ..report() },
        ] {
            assert!(
                matches!(off.judge(&report, Received::Live(NOW)), Ok(Judged::Timed(fix)) if Some(fix.time) == report.time)
            );
        }
    }

    #[test]
    fn only_what_is_behind_by_whole_rollovers_gets_its_time_back() {
        const DAY_MS: i64 = 86_400_000;
        let rules = Rules::default();
        let any_future = Rules { future_s: 0, ..Rules::default() };
        let a_week = Rules { past_s: 7 * 86_400, ..Rules::default() };
        let repaired = |ms: i64| Ok((NOW.0 - ms, true));
        let left = |ms: i64| Ok((NOW.0 - ms, false));
        type Told = Result<(i64, bool), Reason>;
        let cases: &[(&str, &Rules, i64, Told)] = &[
            ("now", &rules, 0, left(0)),
            ("one rollover", &rules, ROLLOVER_MS, repaired(0)),
            ("two rollovers", &rules, 2 * ROLLOVER_MS, repaired(0)),
            ("three are more than there were", &rules, 3 * ROLLOVER_MS, left(3 * ROLLOVER_MS)),
            ("and a backlog", &rules, ROLLOVER_MS + 90 * DAY_MS, repaired(90 * DAY_MS)),
            ("and history", &rules, ROLLOVER_MS + 90 * DAY_MS + 1, left(ROLLOVER_MS + 90 * DAY_MS + 1)),
            ("and a clock ahead", &rules, ROLLOVER_MS - 300_000, repaired(-300_000)),
            ("and a clock too far ahead", &rules, ROLLOVER_MS - 300_001, left(ROLLOVER_MS - 300_001)),
            ("where any future goes", &any_future, ROLLOVER_MS - 300_001, left(ROLLOVER_MS - 300_001)),
            ("a week less a rollover", &rules, ROLLOVER_MS - 7 * DAY_MS, left(ROLLOVER_MS - 7 * DAY_MS)),
            ("repaired and not past", &a_week, ROLLOVER_MS + 7 * DAY_MS, repaired(7 * DAY_MS)),
            ("repaired and past all the same", &a_week, ROLLOVER_MS + 7 * DAY_MS + 1, Err(Reason::Past)),
            ("the end of time", &rules, i64::MAX, Ok((NOW.0 - i64::MAX, false))),
        ];
        for (name, rules, behind_ms, expected) in cases {
            let report = Report { time: Some(TimestampMs(NOW.0 - behind_ms)), ..report() };
            let told = rules.judge(&report, Received::Live(NOW)).map(|judged| match judged {
                Judged::Repaired(fix) => (fix.time.0, true),
                Judged::Timed(fix) | Judged::Timeless(fix) => (fix.time.0, false),
            });
            assert_eq!(told, *expected, "{name}");
        }
        let old = Report { time: Some(TimestampMs(NOW.0 - ROLLOVER_MS)), ..report() };
        assert!(
            matches!(rules.judge(&old, Received::Recorded), Ok(Judged::Timed(_))),
            "a recording may be of any year"
        );
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
