//! Changes among the fixes, for sinks that ask for them.

use super::*;
use crate::ids::FenceId;

/// The frames of a batch's fixes in the order of the journal, and the change that ended it.
type Noted = (Vec<u64>, Option<OwnedChange>);

/// Writes down the frames of each batch, and what changed behind them.
struct Ledger {
    takes_changes: bool,
    batches: Arc<Mutex<Vec<Noted>>>,
}

impl Sink for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn place(&self) -> &'static str {
        "ledger"
    }

    fn takes_changes(&self) -> bool {
        self.takes_changes
    }

    fn resume(&mut self) -> Result<Option<JournalPosition>, Error> {
        Ok(None)
    }

    fn write(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), Error> {
        let mut frames = vec![0; batch.fixes()];
        for run in batch.drivers() {
            for ((number, numbered, _), fix) in run.numbered().zip(run.fixes()) {
                assert_eq!(numbered, fix);
                assert_eq!(std::mem::replace(&mut frames[number as usize], batch.frame_of(number)), 0);
            }
        }
        assert!(batch.change().is_none_or(|change| change.sequence == upto.sequence));
        self.batches.lock().unwrap().push((frames, batch.change().cloned()));
        Ok(())
    }
}

#[test]
fn a_change_ends_the_batch_of_a_sink_that_asks_for_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let acme = TenantId::new("acme").unwrap();
    let change = |tail: &mut Tail, id: &str| {
        let end = tail.journal.watermark().get();
        tail.encoder.begin(TimestampMs(0));
        tail.encoder.change(&acme, journal::ChangeKind::GeofencePut, &FenceId::new(id).unwrap(), b"{}");
        tail.appender.append(tail.encoder.finish()).unwrap();
        assert!(tail.journal.watermark().wait_past(end, WITHIN) > end);
    };
    // Frames 1 and 2 have fixes, 3 and 4 a change, 5 fixes, 6 a change.
    tail.write(0..2);
    change(&mut tail, "a");
    change(&mut tail, "b");
    tail.write(2..3);
    change(&mut tail, "c");
    for takes_changes in [true, false] {
        let batches = Arc::default();
        // Only a change can end a batch before its sink does.
        let patient = Config { batch_age_ms_max: 60_000, ..QUICK };
        let sink = start(Ledger { takes_changes, batches: Arc::clone(&batches) }, patient, Arc::clone(&tail.journal));
        let sink = sink.unwrap();
        if takes_changes {
            wait_for("written", || sink.written().load(Ordering::Acquire) == 6);
        }
        assert_eq!(sink.stop(WITHIN), 6);
        let frames = |frames: &[u64]| -> Vec<u64> { frames.iter().flat_map(|frame| [*frame; 10]).collect() };
        let change = |sequence, id: &str| {
            let kind = journal::ChangeKind::GeofencePut;
            Some(OwnedChange { sequence, tenant: "acme".into(), kind, id: id.into(), body: (*b"{}").into() })
        };
        let expected = if takes_changes {
            let third = (frames(&[5]), change(6, "c"));
            vec![(frames(&[1, 2]), change(3, "a")), (Vec::new(), change(4, "b")), third]
        } else {
            vec![(frames(&[1, 2, 5]), None)]
        };
        assert_eq!(*batches.lock().unwrap(), expected);
    }
    tail.close();
}
