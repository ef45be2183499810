//! The books as `/metrics` shows them: by tenant, and by tenant and codec.

use crate::counts::Counts;
use crate::fix::Reason;
use crate::ids::TenantId;
use crate::pipeline::account::{Account, Page};
use crate::telemetry::prometheus::{Exposition, Kind};

/// A page and what it is labelled with.
struct Line<'a> {
    labels: Vec<(&'static str, &'a str)>,
    page: Page,
}

/// What families are called, with their help.
struct Names {
    received: (&'static str, &'static str),
    stored: (&'static str, &'static str),
    late: (&'static str, &'static str),
    duplicate: (&'static str, &'static str),
    rejected: (&'static str, &'static str),
    in_flight: (&'static str, &'static str),
}

const OF_TENANTS: Names = Names {
    received: ("rhumb_fixes_received_total", "Fixes received, judged or in flight."),
    stored: ("rhumb_fixes_stored_total", "Fixes durable in the journal, late ones too."),
    late: ("rhumb_fixes_late_total", "Stored fixes that were older than their driver's newest."),
    duplicate: ("rhumb_fixes_duplicate_total", "Fixes that had been stored before."),
    rejected: ("rhumb_fixes_rejected_total", "Fixes refused, by reason."),
    in_flight: ("rhumb_fixes_in_flight", "Fixes received whose verdict is not durable yet."),
};

const OF_CODECS: Names = Names {
    received: ("rhumb_codec_fixes_received_total", "Fixes received, by codec."),
    stored: ("rhumb_codec_fixes_stored_total", "Fixes stored, by codec."),
    late: ("rhumb_codec_fixes_late_total", "Stored fixes that were late, by codec."),
    duplicate: ("rhumb_codec_fixes_duplicate_total", "Fixes that had been stored before, by codec."),
    rejected: ("rhumb_codec_fixes_rejected_total", "Fixes refused, by codec and reason."),
    in_flight: ("rhumb_codec_fixes_in_flight", "Fixes in flight, by codec."),
};

/// Writes the books of all tenants: counts by verdict, and the fixes in flight. An account is of one instant, so that
/// received = stored + duplicate + Σ rejected + in flight holds at every scrape, for each tenant and each of its codecs, and
/// the codecs come to their tenant. Only codecs that a tenant was heard in have samples, and of their refusals only those
/// that there were.
pub fn collect_fixes(books: &[(TenantId, Account)], page: &mut Exposition) {
    let mut tenants = Vec::with_capacity(books.len());
    let mut codecs = Vec::new();
    for (tenant, account) in books {
        let tenant = ("tenant", tenant.as_str());
        tenants.push(Line { labels: vec![tenant], page: account.total() });
        for (codec, page) in account.pages() {
            codecs.push(Line { labels: vec![tenant, ("codec", codec.as_str())], page: *page });
        }
    }
    collect(&OF_TENANTS, &tenants, true, page);
    let help = "Duplicates that were at another position than the fix that is stored.";
    counter(("rhumb_fixes_conflict_total", help), &tenants, |counts| counts.conflict, page);
    let help = "Stored fixes whose time was repaired.";
    counter(("rhumb_fixes_repaired_total", help), &tenants, |counts| counts.repaired, page);
    collect(&OF_CODECS, &codecs, false, page);
}

fn collect(names: &Names, lines: &[Line<'_>], has_zeros: bool, page: &mut Exposition) {
    let (name, help) = names.received;
    let mut received = page.family(name, help, Kind::Counter);
    for line in lines {
        received.sample(&line.labels, line.page.received());
    }
    counter(names.stored, lines, |counts| counts.stored, page);
    counter(names.late, lines, |counts| counts.late, page);
    counter(names.duplicate, lines, |counts| counts.duplicate, page);
    let (name, help) = names.rejected;
    let mut rejected = page.family(name, help, Kind::Counter);
    for Line { labels, page } in lines {
        for reason in Reason::ALL {
            let count = page.judged.rejected[reason as usize];
            if has_zeros || count > 0 {
                rejected.sample(&[labels, &[("reason", reason.as_str())][..]].concat(), count);
            }
        }
    }
    let (name, help) = names.in_flight;
    let mut in_flight = page.family(name, help, Kind::Gauge);
    for line in lines {
        in_flight.sample(&line.labels, line.page.in_flight);
    }
}

fn counter((name, help): (&'static str, &str), lines: &[Line<'_>], count: fn(&Counts) -> u64, page: &mut Exposition) {
    let mut family = page.family(name, help, Kind::Counter);
    for line in lines {
        family.sample(&line.labels, count(&line.page.judged));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::codec::Codec;
    use crate::pipeline::account::Books;

    #[test]
    fn codecs_are_told_beside_their_tenant() {
        let books = Books::default();
        let tenant = TenantId::new("acme").unwrap();
        let mut counts = Counts { stored: 3, late: 1, duplicate: 2, conflict: 1, repaired: 1, ..Counts::default() };
        books.recover(&tenant, Codec::Native, &counts);
        counts.rejected[Reason::NullIsland as usize] = 4;
        books.recover(&tenant, Codec::Flespi, &counts);
        let mut total = HashMap::new();
        books.add_to(&mut total);
        let mut page = Exposition::default();
        collect_fixes(&total.into_iter().collect::<Vec<_>>(), &mut page);
        let text = page.finish();
        for line in [
            r#"rhumb_fixes_received_total{tenant="acme"} 14"#,
            r#"rhumb_fixes_rejected_total{tenant="acme",reason="null_island"} 4"#,
            r#"rhumb_fixes_rejected_total{tenant="acme",reason="past"} 0"#,
            r#"rhumb_fixes_conflict_total{tenant="acme"} 2"#,
            r#"rhumb_fixes_repaired_total{tenant="acme"} 2"#,
            r#"rhumb_codec_fixes_received_total{tenant="acme",codec="native"} 5"#,
            r#"rhumb_codec_fixes_stored_total{tenant="acme",codec="flespi"} 3"#,
            r#"rhumb_codec_fixes_late_total{tenant="acme",codec="flespi"} 1"#,
            r#"rhumb_codec_fixes_duplicate_total{tenant="acme",codec="flespi"} 2"#,
            r#"rhumb_codec_fixes_rejected_total{tenant="acme",codec="flespi",reason="null_island"} 4"#,
            r#"rhumb_codec_fixes_in_flight{tenant="acme",codec="flespi"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        for absent in [r#"codec="owntracks""#, r#"codec="native",reason="#] {
            assert!(!text.contains(absent), "{absent}\n{text}");
        }
    }
}
