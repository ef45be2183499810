//! Looks after the journal's disk budget: measures it, tells when it runs short, and gives up a sink where that is what was
//! asked for.

use std::sync::Arc;

use crate::journal::{self, Assessment, Journal, OnFull, SegmentInfo, State};
use crate::sink::SinkStatus;

/// Parts of the budget, in percent, that are told when they are used up.
const TOLD_PERCENT: [u32; 3] = [50, 75, 90];

/// So much less than a part, in percent, has to be used before that part is told again.
const TOLD_AGAIN_PERCENT: f64 = 5.0;

/// Why a sink was given up.
const ABANDONED: &str = "given up, because the journal was full and this sink held on to its oldest segments \
                         (journal.on_full): see why it was behind; what it holds has to be written anew";

/// Somebody who needs the journal.
pub(super) struct Follower {
    pub(super) status: Arc<SinkStatus>,
    /// Whether it may be given up to make room.
    pub(super) is_expendable: bool,
}

/// The budget, and what was said of it.
pub(super) struct Budget {
    journal: Arc<Journal>,
    followers: Vec<Follower>,
    on_full: OnFull,
    told: Told,
}

impl Budget {
    /// Of a journal that these follow.
    pub(super) fn new(journal: Arc<Journal>, followers: Vec<Follower>, on_full: OnFull) -> Self {
        Self { journal, followers, on_full, told: Told::default() }
    }

    /// The frame up to which nobody who follows needs the journal any more.
    pub(super) fn passed_by_all(&self) -> u64 {
        self.followers.iter().filter_map(|follower| follower.status.needs_behind()).min().unwrap_or(u64::MAX)
    }

    /// Measures the journal and the disk, tells what is news, and gives a sink up if that is what is left to do.
    pub(super) fn look(&mut self) -> Result<Assessment, journal::Error> {
        let assessment = self.assess()?;
        self.told.tell(&assessment);
        Ok(assessment)
    }

    fn assess(&self) -> Result<Assessment, journal::Error> {
        let assessment = self.journal.assess()?;
        if assessment.state == State::Full && self.on_full == OnFull::AbandonSink {
            let needs = self.followers.iter().map(|follower| (follower.status.needs_behind(), follower.is_expendable));
            if let Some(laggard) = laggard(needs, &self.journal.segments()?) {
                let status = &self.followers[laggard].status;
                tracing::error!(sink = status.name(), frame = status.synced(), "the journal is full: giving up a sink");
                status.abandon(ABANDONED);
            }
        }
        Ok(assessment)
    }
}

/// Who of these is to be given up so that the oldest segment can go: who is furthest behind, unless somebody who may not be
/// given up needs it as well. Each is told by the frame behind which it needs the journal, if it does, and whether it may be
/// given up.
fn laggard(needs: impl Iterator<Item = (Option<u64>, bool)>, segments: &[SegmentInfo]) -> Option<usize> {
    let oldest_last = segments.get(1)?.first - 1;
    let holders = needs.enumerate().filter_map(|(index, (behind, is_expendable))| {
        behind.filter(|behind| *behind < oldest_last).map(|behind| (behind, index, is_expendable))
    });
    let holders: Vec<_> = holders.collect();
    if holders.iter().any(|(.., is_expendable)| !is_expendable) {
        return None;
    }
    holders.into_iter().min().map(|(_, index, _)| index)
}

/// What was said of the budget, so that it is said once.
#[derive(Debug, Default)]
struct Told {
    /// How many of [`TOLD_PERCENT`].
    parts: usize,
    is_full: bool,
}

impl Told {
    fn tell(&mut self, assessment: &Assessment) {
        let used_percent = assessment.fill() * 100.0;
        if self.is_news(used_percent) {
            let Assessment { bytes, limit_bytes, state, .. } = *assessment;
            tracing::warn!(
                used_percent = used_percent.round(),
                bytes,
                limit_bytes,
                ?state,
                "the journal's disk budget runs short"
            );
        }
        let is_full = assessment.state == State::Full;
        if is_full && !self.is_full {
            tracing::error!("the journal is full: nothing more is taken in until there is room");
        } else if self.is_full && !is_full {
            tracing::info!("the journal has room again");
        }
        self.is_full = is_full;
    }

    /// Whether another part of the budget is used up that was not told.
    fn is_news(&mut self, used_percent: f64) -> bool {
        let used_up =
            |slack: f64| TOLD_PERCENT.iter().take_while(|percent| used_percent >= f64::from(**percent) - slack).count();
        let is_news = used_up(0.0) > self.parts;
        self.parts = if is_news { used_up(0.0) } else { self.parts.min(used_up(TOLD_AGAIN_PERCENT)) };
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::fix::Fix;
    use crate::ids::{DriverId, DriverKey, TenantId};
    use crate::journal::{Resume, TurnEncoder, Unopened};
    use crate::sink::SinkState;
    use crate::units::{Position, TimestampMs};

    /// A journal that is full, of several segments.
    fn full_journal(dir: &std::path::Path) -> Arc<Journal> {
        let config = journal::Config { segment_bytes: 1 << 20, bytes_max: 4 << 20, ..journal::Config::default() };
        let opened = Unopened::take(dir).unwrap().open(&config, &Resume::default(), &mut |_| Ok(()));
        let journal = Arc::new(opened.unwrap().0);
        let (sender, durable) = mpsc::sync_channel(1);
        let appender = journal.appender(Box::new(move |_| sender.send(()).unwrap()));
        let key = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("d").unwrap());
        let mut encoder = TurnEncoder::new();
        let mut time = 0_i64;
        // Turns that are longer than the brake's tenth, so that none waits for it.
        while !appender.is_full() {
            encoder.begin(TimestampMs(time));
            while !encoder.is_full() {
                time += 1_003;
                let scattered = (time as i32).wrapping_mul(-1_640_531_535);
                let position =
                    Position { latitude_e7: scattered % 900_000_000, longitude_e7: scattered % 1_799_999_999 };
                encoder.fix(&key, &Fix::at(TimestampMs(time), position), false);
            }
            appender.append(encoder.finish()).unwrap();
            durable.recv_timeout(Duration::from_secs(20)).unwrap();
            journal.assess().unwrap();
        }
        journal
    }

    #[test]
    fn the_sink_that_holds_a_full_journal_is_given_up_where_that_is_asked_for_and_the_store_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = full_journal(dir.path());
        let status = |name| Arc::new(SinkStatus::new(name, journal.watermark()));
        let look = |on_full, is_expendable| {
            let laggard = status("laggard");
            let follower = Follower { status: Arc::clone(&laggard), is_expendable };
            let mut budget = Budget::new(Arc::clone(&journal), vec![follower], on_full);
            assert_eq!(budget.look().unwrap().state, State::Full);
            (laggard.state(), budget.passed_by_all())
        };
        let (state, passed) = look(OnFull::AbandonSink, true);
        let SinkState::Stopped { error } = state else { panic!("{state:?}") };
        assert!(error.contains("journal.on_full"), "{error}");
        assert_eq!(passed, u64::MAX, "it holds nothing any more");
        for (on_full, is_expendable) in [(OnFull::Refuse, true), (OnFull::AbandonSink, false)] {
            let (state, passed) = look(on_full, is_expendable);
            assert!(!matches!(state, SinkState::Stopped { .. }), "{on_full:?} {is_expendable}: {state:?}");
            assert_eq!(passed, 0);
        }
    }

    fn segments(firsts: &[u64]) -> Vec<SegmentInfo> {
        firsts.iter().map(|first| SegmentInfo { first: *first, bytes: 1, written_at: SystemTime::UNIX_EPOCH }).collect()
    }

    #[test]
    fn who_holds_the_oldest_segment_goes_unless_it_is_the_store() {
        type Case = (&'static [(Option<u64>, bool)], &'static [u64], Option<usize>);
        // The oldest segment holds the frames 1 to 10.
        let cases: &[Case] = &[
            (&[], &[1, 11], None),
            (&[(Some(20), false)], &[1, 11, 21], None),
            (&[(Some(5), false)], &[1, 11, 21], None),
            (&[(Some(20), false), (Some(5), true)], &[1, 11, 21], Some(1)),
            (&[(Some(20), false), (Some(9), true), (Some(5), true)], &[1, 11, 21], Some(2)),
            (&[(Some(20), false), (Some(10), true)], &[1, 11, 21], None),
            (&[(Some(9), false), (Some(5), true)], &[1, 11, 21], None),
            (&[(Some(20), false), (None, true)], &[1, 11, 21], None),
            (&[(Some(0), true)], &[1], None),
            (&[(Some(0), true)], &[], None),
        ];
        for (needs, firsts, wanted) in cases {
            assert_eq!(laggard(needs.iter().copied(), &segments(firsts)), *wanted, "{needs:?} {firsts:?}");
        }
    }

    #[test]
    fn each_part_is_told_once_until_there_is_room_again() {
        let mut told = Told::default();
        let news: Vec<f64> = [10.0, 50.0, 60.0, 49.0, 51.0, 80.0, 91.0, 89.0, 92.0, 84.0, 90.0, 40.0, 95.0]
            .into_iter()
            .filter(|used_percent| told.is_news(*used_percent))
            .collect();
        assert_eq!(news, [50.0, 80.0, 91.0, 90.0, 95.0]);
    }
}
