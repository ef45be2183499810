//! What became of the rows of a replay, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::counts::{Counts, grouped};
use crate::fix::Reason;

/// The result of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Messages of the OwnTracks Recorder that hold no fix and are no rows.
    pub skipped: u64,
    /// What was judged of them: all of them offline; over MQTT those that were not sent, because nothing could be sent.
    pub counts: Counts,
    /// What a broker was sent, if it was a broker.
    pub delivery: Option<Delivery>,
    /// Refusals that could not be judged again, if they were refusals: their payload was cut, or they are rows of a recording.
    pub left_out: Option<u64>,
    /// How long it took.
    pub seconds: f64,
}

/// Publishes over MQTT. What the receiver made of them only it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Rows sent at QoS 1.
    pub published: u64,
    /// Those that the broker acknowledged.
    pub acknowledged: u64,
}

impl Summary {
    /// One JSON object:
    /// `{"rows":10,"skipped":0,"stored":7,"late":2,"duplicate":2,"conflict":1,"rejected":{"null_island":1},"seconds":0.1}`, where
    /// `stored` includes `late` and `duplicate` includes `conflict`, those at another position than the fix that is stored; of a
    /// replay to a broker `published` and `acknowledged` in the place of the verdicts.
    pub fn to_json(&self) -> String {
        let judged = self.delivery.is_none().then_some(self.counts);
        let shape = Shape {
            rows: self.rows,
            skipped: self.skipped,
            published: self.delivery.map(|delivery| delivery.published),
            acknowledged: self.delivery.map(|delivery| delivery.acknowledged),
            stored: judged.map(|counts| counts.stored),
            late: judged.map(|counts| counts.late),
            duplicate: judged.map(|counts| counts.duplicate),
            conflict: judged.map(|counts| counts.conflict),
            rejected: self.rejected().map(|(reason, count)| (reason.as_str(), count)).collect(),
            left_out: self.left_out,
            seconds: (self.seconds * 1_000.0).round() / 1_000.0,
        };
        serde_json::to_string(&shape).expect("numbers and names of reasons are always JSON")
    }

    fn rejected(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.counts.rejected[reason as usize]))
            .filter(|(_, count)| *count > 0)
    }
}

/// The fields in the order in which they are printed.
#[derive(Serialize)]
struct Shape {
    rows: u64,
    skipped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<u64>,
    rejected: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    seconds: f64,
}

/// A table, one verdict a line.
impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: u64| writeln!(formatter, "{name:<24}{:>14}", grouped(count));
        line("rows", self.rows)?;
        if self.skipped > 0 {
            line("skipped, no fix meant", self.skipped)?;
        }
        if let Some(delivery) = self.delivery {
            line("published", delivery.published)?;
            line("acknowledged", delivery.acknowledged)?;
        } else {
            line("stored", self.counts.stored)?;
            line("  of these late", self.counts.late)?;
            line("duplicate", self.counts.duplicate)?;
            line("  of these elsewhere", self.counts.conflict)?;
        }
        for (reason, count) in self.rejected() {
            line(&format!("rejected {reason}"), count)?;
        }
        if let Some(left_out) = self.left_out {
            line("left out", left_out)?;
        }
        let rows_per_second = self.rows as f64 / self.seconds.max(1e-9);
        write!(formatter, "{:<24}{:>14}", "seconds", format!("{:.1}", self.seconds))?;
        write!(formatter, "  ({} rows/s)", grouped(rows_per_second as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Verdict;

    fn summary() -> Summary {
        let mut counts = Counts::default();
        for _ in 0..1_000 {
            counts.count(Verdict::Accepted);
        }
        counts.count(Verdict::Late);
        counts.count(Verdict::Duplicate);
        counts.count(Verdict::Conflict);
        counts.count(Verdict::Rejected(Reason::NullIsland));
        Summary { rows: 1_004, skipped: 5, counts, seconds: 0.10049, ..Summary::default() }
    }

    #[test]
    fn programs_get_one_object() {
        assert_eq!(
            summary().to_json(),
            r#"{"rows":1004,"skipped":5,"stored":1001,"late":1,"duplicate":2,"conflict":1,"rejected":{"null_island":1},"seconds":0.1}"#
        );
        let delivery = Some(Delivery { published: 9, acknowledged: 9 });
        let sent = Summary { rows: 9, delivery, ..Summary::default() };
        assert_eq!(
            sent.to_json(),
            r#"{"rows":9,"skipped":0,"published":9,"acknowledged":9,"rejected":{},"seconds":0.0}"#
        );
    }

    #[test]
    fn people_get_a_table() {
        let table = summary().to_string();
        assert!(table.contains("rejected null_island                 1"), "{table}");
        assert!(
            table.starts_with("rows                             1,004\nskipped, no fix meant                5\n"),
            "{table}"
        );
        assert!(
            table.contains("duplicate                            2\n  of these elsewhere                 1\n"),
            "{table}"
        );
    }
}
