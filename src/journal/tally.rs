//! What became of a frame's fixes, added up from its records by tenant and codec.
//!
//! A fix counts as native until the counters of another codec claim it, as `record` says.

use super::error::Malformed;
use super::frame::Frame;
use super::record::Record;
use crate::codec::Codec;
use crate::counts::Counts;

/// The records of one frame, added up. Holds an entry for each tenant and codec of the frame.
#[derive(Debug, Default)]
pub struct Tally<'a> {
    lines: Vec<(&'a str, Codec, Counts)>,
    /// The native line of the tenant whose fixes come now.
    at: usize,
}

impl<'a> Tally<'a> {
    /// All of a frame.
    ///
    /// # Errors
    /// A record does not read, or counters claim fixes that are not there.
    pub fn of(frame: &Frame<'a>) -> Result<Vec<(&'a str, Codec, Counts)>, Malformed> {
        let mut tally = Self::default();
        for record in frame.records() {
            tally.add(&record?);
        }
        tally.finish()
    }

    /// Adds the frame's next record.
    pub fn add(&mut self, record: &Record<'a>) {
        match record {
            Record::Driver { tenant, .. } => self.at = self.line(tenant, Codec::Native),
            Record::Fix { late, .. } => {
                // A frame gives no fix before its driver.
                if let Some((_, _, counts)) = self.lines.get_mut(self.at) {
                    counts.stored += 1;
                    counts.late += u64::from(*late);
                }
            }
            Record::Counters { tenant, codec, counts } => {
                let line = self.line(tenant, *codec);
                self.lines[line].2.add(counts);
            }
            // It is no fix.
            Record::Change(_) => {}
        }
    }

    /// What became of the fixes, an entry for each tenant and codec that had any.
    ///
    /// # Errors
    /// Counters claim fixes that are not there.
    pub fn finish(mut self) -> Result<Vec<(&'a str, Codec, Counts)>, Malformed> {
        for claimed in 0..self.lines.len() {
            let (tenant, codec, Counts { stored, late, .. }) = self.lines[claimed];
            if codec == Codec::Native || stored == 0 && late == 0 {
                continue;
            }
            let native = self.line(tenant, Codec::Native);
            let counts = &mut self.lines[native].2;
            counts.stored = counts.stored.checked_sub(stored).ok_or(Malformed)?;
            counts.late = counts.late.checked_sub(late).ok_or(Malformed)?;
        }
        self.lines.retain(|(.., counts)| *counts != Counts::default());
        Ok(self.lines)
    }

    /// The line of a tenant and codec, which is likely the last one or the one that fixes are counted on.
    fn line(&mut self, tenant: &'a str, codec: Codec) -> usize {
        let is_it = |(known, of, _): &(&str, Codec, Counts)| *of == codec && *known == tenant;
        if self.lines.get(self.at).is_some_and(is_it) {
            return self.at;
        }
        self.lines.iter().rposition(is_it).unwrap_or_else(|| {
            self.lines.push((tenant, codec, Counts::default()));
            self.lines.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::TurnEncoder;
    use super::super::record::Records;
    use super::*;
    use crate::fix::{Fix, Reason, Verdict};
    use crate::ids::{DriverId, DriverKey, TenantId};
    use crate::units::{Position, TimestampMs};

    const CODECS: [Codec; 3] = [Codec::Native, Codec::Flespi, Codec::Recording];

    /// Encodes verdicts as a shard does, and adds up what is read back.
    fn tallied(verdicts: &[(usize, usize, Verdict)]) -> Vec<(String, Codec, Counts)> {
        let tenants = ["acme", "zeta"].map(|name| TenantId::new(name).unwrap());
        let mut encoder = TurnEncoder::new();
        encoder.begin(TimestampMs(0));
        for (time, (tenant, _, verdict)) in verdicts.iter().enumerate() {
            if matches!(verdict, Verdict::Accepted | Verdict::Late) {
                let driver = DriverKey::new(tenants[*tenant].clone(), DriverId::new("d").unwrap());
                let fix = Fix::at(TimestampMs(time as i64), Position::default());
                encoder.fix(&driver, &fix, *verdict == Verdict::Late);
            }
        }
        for (tenant, codec, counts) in expected(verdicts) {
            encoder.counters(&TenantId::new(&tenant).unwrap(), codec, &counts);
        }
        let turn = encoder.finish();
        let mut tally = Tally::default();
        for record in Records::new(&turn.bytes[super::super::frame::HEADER_BYTES..], turn.received_at) {
            tally.add(&record.unwrap());
        }
        let lines = tally.finish().unwrap();
        let mut lines: Vec<_> =
            lines.into_iter().map(|(tenant, codec, counts)| (tenant.to_owned(), codec, counts)).collect();
        lines.sort_by_key(|(tenant, codec, _)| (tenant.clone(), *codec));
        lines
    }

    fn expected(verdicts: &[(usize, usize, Verdict)]) -> Vec<(String, Codec, Counts)> {
        let mut lines = std::collections::BTreeMap::<_, Counts>::new();
        for (tenant, codec, verdict) in verdicts {
            lines.entry((["acme", "zeta"][*tenant], CODECS[*codec])).or_default().count(*verdict);
        }
        lines.into_iter().map(|((tenant, codec), counts)| (tenant.to_owned(), codec, counts)).collect()
    }

    proptest::proptest! {
        #[test]
        fn what_was_counted_is_read_back_by_tenant_and_codec(
            verdicts in proptest::collection::vec((0..2_usize, 0..3_usize, 0..5_usize), 0..40),
        ) {
            const VERDICTS: [Verdict; 5] = [
                Verdict::Accepted,
                Verdict::Late,
                Verdict::Duplicate,
                Verdict::Conflict,
                Verdict::Rejected(Reason::NullIsland),
            ];
            let verdicts: Vec<_> =
                verdicts.into_iter().map(|(tenant, codec, verdict)| (tenant, codec, VERDICTS[verdict])).collect();
            proptest::prop_assert_eq!(tallied(&verdicts), expected(&verdicts));
        }
    }

    #[test]
    fn counters_claim_no_more_than_there_is() {
        let mut tally = Tally::default();
        tally.add(&Record::Driver { tenant: "acme", driver: "d" });
        tally.add(&Record::Fix { fix: Fix::at(TimestampMs(1), Position::default()), late: false });
        let counts = Counts { stored: 2, ..Counts::default() };
        tally.add(&Record::Counters { tenant: "acme", codec: Codec::Flespi, counts });
        assert_eq!(tally.finish(), Err(Malformed));
    }
}
