//! A keeper on a real journal: on demand, held, and at the end.

use std::path::Path;

use super::*;
use crate::codec::Codec;
use crate::fix::Report;
use crate::journal::{Frame, OnFull, Resume, Retention, Unopened};
use crate::live::Feed;
use crate::pipeline::{self, DedupeConfig, Pipeline, Recovering, RegistryConfig, RuleBook};
use crate::units::TimestampMs;

/// Fixes of one request, some hundred kilobytes of the journal.
const FIXES: i64 = 8_000;

struct Running {
    journal: Arc<Journal>,
    pipeline: Pipeline,
    keeper: Keeper,
    fixes: i64,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let config =
            journal::Config { segment_bytes: 1 << 20, retention: Retention::from_s(0), ..journal::Config::default() };
        let mut recovering = Recovering::new(pipeline::Parts {
            config: pipeline::Config { shards: 2 },
            dedupe: DedupeConfig::default(),
            rules: RuleBook::default(),
            registry: RegistryConfig::default(),
            geo: Arc::default(),
            feed: Feed::default(),
            history: None,
        });
        let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
        let files = Unopened::take(dir).unwrap();
        let journal = Arc::new(files.open(&config, &Resume::default(), &mut apply).unwrap().0);
        let pipeline = recovering.start(&journal, None).unwrap();
        let keeper = Keeper::start(Parts {
            journal: Arc::clone(&journal),
            snapshots: pipeline.snapshots().clone(),
            keeping: Arc::default(),
            budget: Budget::new(Arc::clone(&journal), Vec::new(), OnFull::Refuse),
            config,
            recovered: None,
            recovered_bytes: 0,
        });
        Self { journal, pipeline, keeper: keeper.unwrap(), fixes: 0 }
    }

    /// Makes the journal longer by about a segment.
    fn fill(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ingress = self.pipeline.ingress();
        let key = ingress.route("acme", "d").unwrap();
        for _ in 0..8 {
            let fix = |n: i64| {
                let scattered = f64::from((n as u32).wrapping_mul(2_654_435_761)) / f64::from(u32::MAX);
                Ok(Report::at(Some(TimestampMs(n * 1_003)), 80.0 * scattered, 170.0 * scattered))
            };
            let elements = (self.fixes + 1..=self.fixes + FIXES).map(fix).collect();
            self.fixes += FIXES;
            let now = TimestampMs(self.fixes * 2_000);
            let verdicts =
                runtime.block_on(ingress.judge(Arc::clone(&key), Codec::Native, b"", elements, now)).unwrap();
            assert_eq!(verdicts.len() as i64, FIXES);
        }
    }

    fn segments(&self) -> usize {
        self.journal.segments().unwrap().len()
    }
}

#[test]
fn the_journal_is_cut_behind_two_snapshots_unless_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    for _ in 0..3 {
        running.fill();
        let snapshot = running.keeper.snapshot().unwrap();
        assert_eq!(snapshot.sequence, running.journal.watermark().get());
    }
    let inner = Arc::clone(&running.keeper.inner);
    let keeping = lock(&inner.keeping);
    running.fill();
    let (segments, snapshots) = (running.segments(), running.journal.snapshots().unwrap());
    assert_eq!(snapshots.len(), 2);
    inner.look().unwrap();
    assert_eq!((running.segments(), running.journal.snapshots().unwrap()), (segments, snapshots), "it is copied");
    drop(keeping);
    inner.look().unwrap();
    let older = running.journal.snapshots().unwrap()[0];
    let first = running.journal.segments().unwrap()[0].first;
    assert!(running.segments() < 4 && first > 1 && first <= older + 1, "{first} {older}");
    drop(inner);

    running.fill();
    let Running { journal, pipeline, keeper, .. } = running;
    let status = keeper.status();
    keeper.stop();
    let newest = journal.snapshots().unwrap()[1];
    assert_eq!(newest, journal.watermark().get(), "one more at the end");
    let mut page = crate::telemetry::prometheus::Exposition::default();
    status.collect(&mut page);
    let page = page.finish();
    assert!(page.contains(&format!("\nrhumb_snapshot_sequence {newest}\n")), "{page}");
    pipeline.stop();
    Arc::into_inner(journal).unwrap().close().unwrap();
}

#[test]
fn a_snapshot_that_fails_is_counted_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let Running { journal, pipeline, keeper, .. } = running;
    pipeline.stop();
    assert!(matches!(keeper.snapshot(), Err(SnapshotError::Stopped)));
    let mut page = crate::telemetry::prometheus::Exposition::default();
    keeper.status().collect(&mut page);
    assert!(page.finish().contains("\nrhumb_snapshot_failures_total 1\n"));
    assert!(keeper.inner.look().is_ok());
    keeper.stop();
    assert_eq!(journal.snapshots().unwrap(), [0u64; 0]);
}
