//! The rules that a fix is judged by beside its neighbours in time: whether the driver can have been there, and whether the fix
//! says anything new.
//!
//! # Which side of a jump is real
//! A fix that is too far from a neighbour for the time between is refused, and at that moment nobody can know which of the
//! two is wrong. The fixes that follow tell. Those that are refused in a row and agree with each other form a *trail*; once it has
//! [`AGREEING_MIN`] fixes it is believed: that fix is stored, and from there on whatever goes on from the trail is, however
//! far from the neighbours. The first newest fix that agrees with its neighbours ends the trail, and so does one that is later than
//! what is in doubt, whether it is new or was stored before: behind it, a backlog's next jump stands alone. So a lone jump is refused and
//! the track goes on behind it; a driver whose first fix was wrong loses two fixes and is then where it is; and one
//! whose clock is set back goes on at its new time. Nothing that was stored is taken back, and no acknowledgement waits for
//! what comes.
//!
//! The trail is not journalled: a restart forgets it, and what was in doubt then takes another two fixes to be believed. What was
//! decided stands, since decisions are journalled and never taken again.

use super::rules::Rules;
use crate::fix::{Fix, Reason};
use crate::geo::distance_m;
use crate::units::{Position, TimestampMs};

/// Fixes in a row that have to agree before they are believed against what is stored. Two may be one reflection seen twice; with
/// three, a tracker that reports every half minute is believed after one.
const AGREEING_MIN: usize = 3;

/// The least time that a step is taken to last, in seconds. Many trackers floor their times to seconds, and within one a position
/// moves by its noise.
const STEP_S_MIN: f64 = 1.0;

/// From here on a reported speed says that the tracker moves, in mm/s. Standing receivers report some 0.1 to 0.5 m/s, walkers
/// 1.4.
const MOVING_MMPS_MIN: u32 = 1_000;

/// A fix that was seen, as far as the rules remember it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    time: TimestampMs,
    position: Position,
    accuracy_cm: u32,
}

impl From<&Fix> for Seen {
    fn from(fix: &Fix) -> Self {
        Self { time: fix.time, position: fix.position, accuracy_cm: fix.accuracy_cm.unwrap_or(0) }
    }
}

/// The last fixes of a driver that contradict what is stored, one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trail {
    /// In the order they came.
    fixes: [Seen; AGREEING_MIN - 1],
    /// How many of them. One that is believed needs its last alone.
    len: u8,
    is_believed: bool,
}

/// Where the driver was right before and right after a fix, of all that is stored or about to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    pub(super) before: Option<Fix>,
    pub(super) after: Option<Fix>,
}

impl Neighbours {
    /// The nearer ones of these and those.
    pub(super) fn or_nearer(self, [before, after]: [Option<&Fix>; 2]) -> Self {
        let earlier = self.before.iter().chain(before).max_by_key(|fix| fix.time);
        let later = self.after.iter().chain(after).min_by_key(|fix| fix.time);
        Self { before: earlier.copied(), after: later.copied() }
    }
}

impl Rules {
    /// Whether any rule wants to know where the driver was before and after.
    pub(super) fn judge_by_motion(&self) -> bool {
        self.speed_mps_max > 0 || self.stationary_m > 0 || self.distance_m_min > 0 || self.period_ms_min > 0
    }

    /// Judges a fix that is no duplicate. `trail` is its driver's, made and dropped here.
    pub(super) fn judge_motion(
        &self,
        fix: &Fix,
        neighbours: Neighbours,
        trail: &mut Option<Box<Trail>>,
    ) -> Result<(), Reason> {
        if self.speed_mps_max > 0 {
            self.judge_speed(fix, neighbours, trail)?;
        }
        match &neighbours.before {
            Some(before) => self.judge_news(fix, before),
            None => Ok(()),
        }
    }

    fn judge_speed(
        &self,
        fix: &Fix,
        Neighbours { before, after }: Neighbours,
        trail: &mut Option<Box<Trail>>,
    ) -> Result<(), Reason> {
        let seen = Seen::from(fix);
        if before.iter().chain(&after).all(|neighbour| self.is_possible(&seen, &neighbour.into())) {
            if after.is_none() {
                *trail = None;
            } else {
                end_before(fix.time, trail);
            }
            return Ok(());
        }
        let goes_on = trail.get_or_insert_default().goes_on_with(seen, |earlier| self.is_possible(&seen, earlier));
        if goes_on { Ok(()) } else { Err(Reason::ImpliedSpeed) }
    }

    /// Whether one driver can have been at both. What either may be off by does not count as way.
    fn is_possible(&self, one: &Seen, other: &Seen) -> bool {
        let seconds = one.time.seconds_since(other.time).abs().max(STEP_S_MIN);
        let accuracy_m = (f64::from(one.accuracy_cm) + f64::from(other.accuracy_cm)) / 100.0;
        distance_m(one.position, other.position) - accuracy_m <= f64::from(self.speed_mps_max) * seconds
    }

    /// Judges whether a fix adds something to the one before it.
    fn judge_news(&self, fix: &Fix, before: &Fix) -> Result<(), Reason> {
        let period_ms = fix.time.0.saturating_sub(before.time.0);
        let is_heartbeat = self.heartbeat_s > 0 && period_ms >= i64::from(self.heartbeat_s) * 1_000;
        let distance_m = distance_m(before.position, fix.position);
        let says_it_moves = fix.speed_mmps.is_some_and(|speed_mmps| speed_mmps >= MOVING_MMPS_MIN);
        let is_near = |metres: u32| metres > 0 && !is_heartbeat && distance_m < f64::from(metres);
        if is_near(self.stationary_m) && !says_it_moves {
            return Err(Reason::Stationary);
        }
        if is_near(self.distance_m_min) || period_ms < i64::from(self.period_ms_min) {
            return Err(Reason::Thinned);
        }
        Ok(())
    }
}

/// A fix of this time fits: what is in doubt and earlier is no row with what comes. Later doubts stay, because an old fix says
/// nothing of the driver's now.
pub(super) fn end_before(time: TimestampMs, trail: &mut Option<Box<Trail>>) {
    if trail.as_ref().is_some_and(|trail| !trail.is_believed && trail.latest() < time) {
        *trail = None;
    }
}

impl Trail {
    /// The latest time of all that is in it.
    fn latest(&self) -> TimestampMs {
        self.fixes[..usize::from(self.len)].iter().map(|seen| seen.time).max().unwrap_or_default()
    }

    /// Whether a fix that contradicts its neighbours is to be stored, because the trail is believed or is so with this one.
    fn goes_on_with(&mut self, seen: Seen, agrees: impl Fn(&Seen) -> bool) -> bool {
        let fixes = &self.fixes[..usize::from(self.len)];
        // The same one, delivered again, confirms nothing.
        if fixes.iter().any(|earlier| earlier.time == seen.time) {
            return false;
        }
        if !fixes.iter().all(agrees) {
            *self = Self::of(seen, false);
            return false;
        }
        if self.is_believed || fixes.len() + 1 == AGREEING_MIN {
            *self = Self::of(seen, true);
            return true;
        }
        self.fixes[fixes.len()] = seen;
        self.len += 1;
        false
    }

    fn of(seen: Seen, is_believed: bool) -> Self {
        let mut fixes = [Seen::default(); AGREEING_MIN - 1];
        fixes[0] = seen;
        Self { fixes, len: 1, is_believed }
    }
}

#[cfg(test)]
mod tests;
