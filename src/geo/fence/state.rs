//! What is kept of a driver between its fixes.

use crate::fix::Fix;
use crate::geo::cells::GeoBox;
use crate::ids::FenceId;
use crate::packed::{put_signed, put_varint, take_signed, take_varint};
use crate::units::{Position, TimestampMs};

/// Format of the bytes that [`DriverFences::encode`] writes.
const FORMAT: u8 = 1;

const DWELL_TOLD: u8 = 1;
const SPENT: u8 = 1 << 1;

/// No fix has this time or an earlier one.
const NEVER: TimestampMs = TimestampMs(i64::MIN);

/// Of a stay that was read back.
const NO_SLOT: u32 = u32::MAX;

/// No place is in it.
pub(super) const NOWHERE: GeoBox = GeoBox { south_e7: 1, north_e7: 0, west_e7: 1, east_e7: 0 };

/// Where a driver stands to the fences of its tenant: its last fix, and the fences that it is inside of. 64 bytes for
/// who is outside of all.
#[derive(Clone, Debug)]
pub struct DriverFences {
    pub(super) time: TimestampMs,
    pub(super) position: Position,
    /// No way within this box comes to an edge, by the fences of `revision`.
    pub(super) quiet: GeoBox,
    pub(super) revision: u64,
    /// The first dwell that time alone will bring.
    pub(super) due: TimestampMs,
    /// By fence id.
    pub(super) stays: Box<[Stay]>,
}

const _: () = assert!(size_of::<DriverFences>() == 64, "a million drivers are 64 MB");

/// A fence that a driver is inside of, or that has told it all that it ever will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) fence: FenceId,
    /// Where the set had the fence then; looked at before the id is looked up.
    pub(super) slot: u32,
    /// The fence's version when it was last looked at.
    pub(super) version: u64,
    pub(super) since: TimestampMs,
    pub(super) dwell_told: bool,
    /// A one-shot fence after its shot.
    pub(super) spent: bool,
}

impl Default for DriverFences {
    fn default() -> Self {
        Self {
            time: NEVER,
            position: Position::default(),
            quiet: NOWHERE,
            revision: 0,
            due: NEVER,
            stays: Box::default(),
        }
    }
}

impl DriverFences {
    /// When and where the driver was last, if it ever was.
    pub fn last(&self) -> Option<(TimestampMs, Position)> {
        (self.time != NEVER).then_some((self.time, self.position))
    }

    /// The fences that it is inside of, by id, and since when.
    pub fn inside(&self) -> impl Iterator<Item = (&FenceId, TimestampMs)> {
        self.stays.iter().filter(|stay| !stay.spent).map(|stay| (&stay.fence, stay.since))
    }

    /// Whether a fix after the last one can bring nothing.
    pub(super) fn is_quiet(&self, revision: u64, fix: &Fix) -> bool {
        self.quiet.contains(fix.position) && self.revision == revision && fix.time < self.due
    }

    /// Appends the state in bytes: what it takes to go on judging with the same results. At most 30 for a driver that is
    /// outside of all fences.
    ///
    /// | part | coding |
    /// |---|---|
    /// | format | 1 byte, 1; nothing further of a driver without a fix |
    /// | time, latitude, longitude | signed varints |
    /// | stays | varint: how many; then each: |
    /// | fence id | its length in 1 byte, the text |
    /// | version | varint |
    /// | since | signed varint: milliseconds before `time` |
    /// | flags | 1 byte: bit 0 dwell told, bit 1 spent |
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        if self.time == NEVER {
            return;
        }
        put_signed(out, self.time.0);
        put_signed(out, i64::from(self.position.latitude_e7));
        put_signed(out, i64::from(self.position.longitude_e7));
        put_varint(out, self.stays.len() as u64);
        for stay in &self.stays {
            let id = stay.fence.as_str();
            out.push(id.len() as u8);
            out.extend_from_slice(id.as_bytes());
            put_varint(out, stay.version);
            put_signed(out, self.time.0.wrapping_sub(stay.since.0));
            out.push(if stay.dwell_told { DWELL_TOLD } else { 0 } | if stay.spent { SPENT } else { 0 });
        }
    }

    /// Reads what [`DriverFences::encode`] wrote, all of `input`; `None` if it is anything else. Never panics.
    pub fn decode(mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        if take_byte(input)? != FORMAT {
            return None;
        }
        if input.is_empty() {
            return Some(Self::default());
        }
        let time = TimestampMs(take_signed(input)?);
        let [latitude_e7, longitude_e7] = [take_signed(input)?, take_signed(input)?];
        let position =
            Position { latitude_e7: latitude_e7.try_into().ok()?, longitude_e7: longitude_e7.try_into().ok()? };
        let mut stays = Vec::new();
        for _ in 0..take_varint(input)? {
            stays.push(take_stay(input, time)?);
        }
        let is_ordered = stays.is_sorted_by(|one: &Stay, other| one.fence < other.fence);
        (input.is_empty() && is_ordered && time != NEVER).then(|| Self {
            time,
            position,
            stays: stays.into_boxed_slice(),
            ..Self::default()
        })
    }
}

fn take_stay(input: &mut &[u8], time: TimestampMs) -> Option<Stay> {
    let id_bytes = usize::from(take_byte(input)?);
    let (id, rest) = input.split_at_checked(id_bytes)?;
    *input = rest;
    let fence = FenceId::new(std::str::from_utf8(id).ok()?).ok()?;
    let version = take_varint(input)?;
    let since = TimestampMs(time.0.wrapping_sub(take_signed(input)?));
    let flags = take_byte(input)?;
    let (dwell_told, spent) = (flags & DWELL_TOLD != 0, flags & SPENT != 0);
    (flags & !(DWELL_TOLD | SPENT) == 0).then_some(Stay { fence, slot: NO_SLOT, version, since, dwell_told, spent })
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}
