//! Wire formats: payload bytes to reports and fixes to payload bytes, one file per codec. No I/O, and no judgement
//! beyond "this cannot be read".
//!
//! Every codec keeps to the manners of [`native`]: what cannot be read is one malformed element, members of an array stand
//! each for themselves, a value that cannot be is unknown, units are the engine's. None panics, none recurses into what
//! is nested, none keeps more than a constant times the payload, and none makes more elements than it was told: an element
//! takes many times the bytes that it may come from, such as the two of a `1,` in an array.

pub mod compact;
pub mod decimal;
pub mod draft;
mod encode;
pub mod flespi;
mod json;
pub mod native;
mod native_fast;
mod native_general;
pub mod osmand;
pub mod owntracks;
pub mod teltonika;
pub mod time;
pub mod traccar;

pub(crate) use json::each_member;

use crate::codec::Codec;
use crate::fix::{Element, Reason};

/// What a payload held beside its elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Messages that hold no fix and are not meant to, such as OwnTracks' `lwt`: no elements, and no fault.
    pub skipped: usize,
    /// It holds more elements than it may. None of them was kept, and what it holds behind them was not read.
    pub is_over: bool,
}

impl Decoded {
    /// Of a payload that holds more elements than it may.
    const OVER: Self = Self { skipped: 0, is_over: true };
}

/// Reads a payload and appends what it holds to `elements`, never more than it has bytes (but one for an empty payload).
///
/// It makes `elements_max` of them at most, which is from 1: of a payload that holds more it keeps none.
#[inline]
pub fn decode(codec: Codec, payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    match codec {
        Codec::Native => native::decode(payload, elements_max, elements),
        Codec::OwnTracks => owntracks::decode(payload, elements_max, elements),
        Codec::OsmAnd => osmand::decode(payload, elements),
        Codec::Traccar => traccar::decode(payload, elements_max, elements),
        Codec::Flespi => flespi::decode(payload, elements_max, elements),
        Codec::Teltonika => teltonika::decode(payload, elements_max, elements),
        Codec::Compact => compact::decode(payload, elements_max, elements),
        // Rows of a recording are read by the replay that has them; nobody can send one.
        Codec::Recording => {
            elements.push(Err(Reason::Malformed));
            Decoded::default()
        }
    }
}

/// What a payload on a native topic is: compact if it begins with that codec's version, which no JSON does.
#[inline]
pub fn native_or_compact(payload: &[u8]) -> Codec {
    if payload.first() == Some(&compact::VERSION) { Codec::Compact } else { Codec::Native }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
