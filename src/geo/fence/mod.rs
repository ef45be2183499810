//! Geofences: which fences a driver enters, leaves and dwells in, by its fixes alone.
//!
//! A [`Fence`] is built from a [`FenceSpec`], stands with the tenant's others in a [`FenceSet`], and a [`Judge`] takes each
//! driver's accepted fixes, in the order in which they were accepted, together with that driver's [`DriverFences`]. What
//! comes out depends on nothing else: the sequence of changes of the set and of fixes, and the [`FenceRules`]. So it is
//! the same in every replay, and wherever the state was put into bytes and read back in between.
//!
//! # The rules
//! - **The way between two fixes** is the shorter arc of the great circle between them, at one speed. A fence is entered
//!   where the way first meets it, even if neither fix lies inside. Events are told in the order of the way; those of
//!   one instant by fence id.
//! - **A driver is inside** a fence from then until it is found outside by more than the *margin*: `hysteresis_m`, or the
//!   accuracy that the fix claims if that is more (up to [`MARGIN_M_MAX`]). It is looked for in two kinds of places: at
//!   each fix, and in the middle of a stretch of the way outside, between two stretches inside. The `exit` is told for
//!   where the way left the fence; if that was before an earlier fix, for where it left the margin. So between two
//!   `enter` of one fence lie a way out of the margin and one back: a parked driver whose fixes scatter by less, around
//!   an edge or about a corner that their ways clip, makes one `enter`.
//! - **`dwell`** is told once a stay, as of the instant when the driver has been inside for `dwell_s`, with the first fix
//!   that shows it. Nothing is told by the clock.
//! - **Gaps**: if two fixes are further apart than `gap_max_s`, or [`GAP_M_MAX`], nothing is known of the way. Only the later
//!   fix counts, as a first fix does: inside is `enter`, outside the margin is `exit`, both there and then.
//! - **Late and repeated fixes**, no newer than the last, change nothing.
//! - **A new fence** around a driver is entered at its next fix, if that is inside. **A changed one** is judged by its new
//!   shape from the next fix on: who is no longer inside leaves, who is stays, and what a stay has been told is not told
//!   again. A fence that was removed and put again between two fixes of a driver is a changed one to that driver.
//! - **A removed fence** is left without a word: an `exit` would say that the driver moved, which it did not, and would have
//!   to be told of every driver at once, moving or not. Whoever removes a fence knows that all stays in it are over.
//! - **A one-shot fence** tells each driver one `enter` and nothing more, until it is changed, which arms it again.
//! - A driver is inside at most [`STAYS_MAX`] fences, spent ones included; beyond that nothing is entered.
//!
//! Circles and corridors are exact on the sphere of [`distance_m`](crate::geo::distance_m); the edges of polygons are straight
//! on the map of longitude and latitude, as GeoJSON has them, and the margin around them is measured at the place. Poles
//! and the antimeridian are places like any other.
//!
//! # What it costs
//! Most fixes come nowhere near an edge. The state keeps a box around the driver that no edge meets; a fix in it costs a
//! few comparisons. Only behind its end are fences looked for, and the next box.

mod cap;
mod corridor;
mod event;
mod grid;
mod judge;
mod path;
mod polygon;
mod quiet;
mod set;
mod shape;
mod spec;
mod sphere;
mod state;
mod stretch;
#[cfg(test)]
mod tests;
mod way;

pub use self::event::{FenceEvent, FenceEventKind};
pub use self::judge::{FenceRules, GAP_M_MAX, Judge, MARGIN_M_MAX, STAYS_MAX};
pub use self::set::FenceSet;
pub use self::spec::{
    DWELL_S_MAX, Fence, FenceSpec, InvalidFence, NAME_BYTES_MAX, RADIUS_M_MAX, RADIUS_M_MIN, WIDTH_M_MAX, WIDTH_M_MIN,
};
pub use self::state::DriverFences;
