//! The books by tenant and codec, over crashes: after each the journal says what a model has counted.

use std::fs;

use super::*;
use crate::pipeline::account::{Account, Page};

const TENANTS: [&str; 2] = ["acme", "zeta"];
const CODECS: [Codec; 4] = [Codec::Native, Codec::OwnTracks, Codec::Compact, Codec::Recording];

/// A batch: tenant, runs of one codec each.
type Round = (usize, Vec<(usize, Vec<Element>)>);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let run = (0..CODECS.len(), elements());
    prop::collection::vec((0..TENANTS.len(), prop::collection::vec(run, 1..4)), 1..10)
}

/// The journal as a crash leaves it: what is durable, and no clean end.
fn crash(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("journal")).unwrap();
    for entry in fs::read_dir(from.join("journal")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), dir.path().join("journal").join(entry.file_name())).unwrap();
    }
    dir
}

/// Judges one batch of several codecs.
fn judge(running: &Running, tenant: &str, runs: &[(usize, Vec<Element>)]) -> Vec<Verdict> {
    let ingress = running.pipeline.ingress();
    let key = ingress.route(tenant, "d").unwrap();
    let claim = ingress.claim(1).unwrap();
    let (sender, judged) = mpsc::sync_channel(1);
    let mut batch = Batch::new(Received::Live(NOW), Arc::new(Waiting(sender)));
    for (codec, elements) in runs {
        batch.add_payload(&key, CODECS[*codec], b"", |into| into.extend_from_slice(elements));
    }
    claim.submit(ingress.shard_of(&key), batch);
    judged.recv_timeout(Duration::from_secs(10)).unwrap().verdicts
}

fn assert_balanced(account: &Account) {
    let mut sum = Page::default();
    for (_, page) in account.pages() {
        let Counts { stored, duplicate, rejected, .. } = page.judged;
        assert_eq!(page.received(), stored + duplicate + rejected.iter().sum::<u64>() + page.in_flight);
        sum.judged.add(&page.judged);
        sum.in_flight += page.in_flight;
    }
    assert_eq!(account.total(), sum);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Without a store, so that all that is known comes from the journal and its snapshots.
    #[test]
    fn they_are_the_models_after_every_crash(
        runs in prop::collection::vec((1usize..4, any::<bool>(), rounds()), 1..4),
    ) {
        let mut dir = tempfile::tempdir().unwrap();
        let mut model: BTreeMap<(&str, Codec), Counts> = BTreeMap::new();
        for (shards, has_snapshot, rounds) in runs {
            let running = Running::start(dir.path(), shards, 64, false);
            let half = rounds.len() / 2;
            for (index, (tenant, runs)) in rounds.iter().enumerate() {
                let verdicts = judge(&running, TENANTS[*tenant], runs);
                let codecs = runs.iter().flat_map(|(codec, elements)| std::iter::repeat_n(CODECS[*codec], elements.len()));
                for (codec, verdict) in codecs.zip(verdicts) {
                    model.entry((TENANTS[*tenant], codec)).or_default().count(verdict);
                }
                if has_snapshot && index == half {
                    running.pipeline.snapshots().take(&running.journal, &|| true).unwrap();
                }
            }
            let crashed = crash(dir.path());
            running.stop();
            dir = crashed;

            let again = Running::start(dir.path(), shards, 64, false);
            let books = again.pipeline.ingress().books();
            let mut found = BTreeMap::new();
            for (tenant, account) in &books {
                assert_balanced(account);
                let tenant = TENANTS[TENANTS.iter().position(|name| *name == tenant.as_str()).unwrap()];
                found.extend(account.pages().iter().map(|(codec, page)| ((tenant, *codec), page.judged)));
            }
            prop_assert_eq!(&found, &model);
            again.stop();
        }
    }
}
