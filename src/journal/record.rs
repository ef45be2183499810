//! The records of a frame: decisions, coded on the shard's thread and read back by recovery and the sinks.
//!
//! | first byte | record | then |
//! |---|---|---|
//! | 0x00..=0x7f | fix of the announced driver, packed as `packed` says; its mark is *late* | |
//! | 0x80 | tenant: gets the next free index (0, 1, ..) and is the one the next drivers belong to | length (1 byte), name |
//! | 0x81 | back to a tenant | its index (varint) |
//! | 0x82 | counters of a tenant's fixes of one codec | its index (varint), the codec's number (1 byte), mask (varint), the value (varint) of every bit of the mask |
//! | 0x83 | change of what a tenant keeps, see `change` | its tenant's index (varint), the kind's number (1 byte), length (1 byte) and name of what is changed, length (varint) and body |
//! | 0xc0..=0xff | driver, its name `first byte - 0xbf` bytes long: whose the next fixes are | name |
//!
//! The first fix of a frame is packed against the frame's receive time, every other against the one before it, whosever
//! that was: fleets move in one place and time. The bits of the counters' mask are stored, late, duplicate, conflict,
//! repaired and then the refusals by `Reason`.
//!
//! No fix names its codec. Counters of any codec but native say how many of the tenant's fixes in this frame it stored, and
//! how many of those were late; what remains is native, whose counters have neither. So a frame of native fixes that are
//! all stored has no counters at all, and `tally` adds up what became of every fix by tenant and codec.
//!
//! Turns of 50 fixes, each of another driver, take 16 to 20 bytes a fix on recordings with hardly a repeat
//! (Austin 2015, Helsinki, Liverpool), the frame included.

use super::change::{CHANGE_BODY_BYTES_MAX, Change, ChangeKind};
use super::error::Malformed;
use super::frame::{FRAME_BYTES_MAX, HEADER_BYTES};
use crate::codec::Codec;
use crate::counts::{COUNTS_BYTES_MAX, Counts};
use crate::fix::Fix;
use crate::ids::{DriverKey, FenceId, TenantId, is_driver_id, is_tenant_id};
use crate::limits::{DRIVER_ID_BYTES_MAX, TENANT_ID_BYTES_MAX};
use crate::packed::{FIX_BYTES_MAX, Packer, Unpacker, VARINT_BYTES_MAX, put_varint, take_varint};
use crate::units::TimestampMs;

const TENANT: u8 = 0x80;
const TENANT_AGAIN: u8 = 0x81;
const COUNTERS: u8 = 0x82;
const CHANGE: u8 = 0x83;
const DRIVER: u8 = 0xc0;
/// No record begins with it.
const NEVER: u8 = DRIVER - 1;
const _: () = assert!(DRIVER as usize + DRIVER_ID_BYTES_MAX - 1 == u8::MAX as usize);

/// How many of a frame's tenants, the newest, are looked through for one that is named again.
const TENANTS_LOOKED_AT: usize = 16;

/// Most that naming a tenant appends.
const TENANT_CALL_BYTES_MAX: usize = 2 + TENANT_ID_BYTES_MAX + 1 + VARINT_BYTES_MAX;

/// Most that [`TurnEncoder::fix`] appends.
const FIX_CALL_BYTES_MAX: usize = TENANT_CALL_BYTES_MAX + 1 + DRIVER_ID_BYTES_MAX + FIX_BYTES_MAX;

/// Most that [`TurnEncoder::counters`] appends.
const COUNTERS_CALL_BYTES_MAX: usize = TENANT_CALL_BYTES_MAX + 2 + VARINT_BYTES_MAX + COUNTS_BYTES_MAX;

/// Tenants, each as often as it has codecs, whose counters a turn has room for, however many fixes it holds.
pub const TURN_COUNTERS_MAX: usize = 256;

/// A turn's decisions, encoded: what an appender hands over. Becomes one [`super::Frame`].
#[derive(Debug)]
pub struct Turn {
    /// Room for the frame's header, then the records.
    pub(super) bytes: Vec<u8>,
    pub(super) received_at: TimestampMs,
    pub(super) fixes: u32,
}

impl Turn {
    /// How many fixes it holds.
    pub fn fixes(&self) -> u32 {
        self.fixes
    }

    /// Bytes that its frame will take in the journal.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// CRC32C of its records, to tell whether two turns hold the same.
    pub fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.bytes[HEADER_BYTES..])
    }
}

/// Encodes a shard's turns, one after the other; allocates once a turn.
#[derive(Debug)]
pub struct TurnEncoder {
    bytes: Vec<u8>,
    received_at: TimestampMs,
    fixes: u32,
    packer: Packer,
    tenants: Vec<TenantId>,
    /// The tenant that drivers belong to now.
    tenant: Option<usize>,
    driver: Option<Announced>,
}

/// The driver that the next fix belongs to unless another is announced.
#[derive(Clone, Copy, Debug)]
struct Announced {
    hash: u64,
    /// Where its name stands in the turn's bytes.
    name_offset: usize,
    name_len: usize,
}

impl Default for TurnEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl TurnEncoder {
    /// An encoder with an empty turn, received at the epoch until [`TurnEncoder::begin`].
    pub fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            received_at: TimestampMs(0),
            fixes: 0,
            packer: Packer::default(),
            tenants: Vec::new(),
            tenant: None,
            driver: None,
        }
    }

    /// Starts a turn; what was not finished is dropped.
    pub fn begin(&mut self, received_at: TimestampMs) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.received_at = received_at;
        self.fixes = 0;
        self.packer = Packer::at(received_at);
        self.tenants.clear();
        self.tenant = None;
        self.driver = None;
    }

    /// Adds a stored fix; those of one driver that follow each other name it once.
    pub fn fix(&mut self, driver: &DriverKey, fix: &Fix, late: bool) {
        debug_assert!(!self.is_full(), "finish a turn when it is full");
        if !self.is_announced(driver) {
            self.announce(driver);
        }
        self.packer.pack_marked(fix, late, &mut self.bytes);
        self.fixes += 1;
    }

    /// Adds what became of a tenant's fixes of one codec in this turn: after its fixes, once for each codec, and
    /// [`TURN_COUNTERS_MAX`] times at most. Nothing is written that the fixes say themselves.
    pub fn counters(&mut self, tenant: &TenantId, codec: Codec, counts: &Counts) {
        let told = if codec == Codec::Native { Counts { stored: 0, late: 0, ..*counts } } else { *counts };
        if told == Counts::default() {
            return;
        }
        let index = self.tenant_index(tenant);
        self.bytes.push(COUNTERS);
        put_varint(&mut self.bytes, index as u64);
        self.bytes.push(codec as u8);
        told.pack(&mut self.bytes);
    }

    /// Adds a change of what a tenant keeps: one in a turn, which has nothing else, so that its frame tells when it holds.
    ///
    /// # Panics
    /// The body is longer than [`CHANGE_BODY_BYTES_MAX`].
    pub fn change(&mut self, tenant: &TenantId, kind: ChangeKind, id: &FenceId, body: &[u8]) {
        assert!(body.len() <= CHANGE_BODY_BYTES_MAX, "a change is bounded where it is made");
        debug_assert!(self.is_empty(), "a change has a turn of its own");
        let index = self.tenant_index(tenant);
        self.bytes.push(CHANGE);
        put_varint(&mut self.bytes, index as u64);
        self.bytes.push(kind as u8);
        self.bytes.push(id.as_str().len() as u8);
        self.bytes.extend_from_slice(id.as_str().as_bytes());
        put_varint(&mut self.bytes, body.len() as u64);
        self.bytes.extend_from_slice(body);
    }

    /// Whether nothing was added since [`TurnEncoder::begin`].
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// Whether the next fix might not fit into [`FRAME_BYTES_MAX`] with all the counters behind it: finish this turn first.
    pub fn is_full(&self) -> bool {
        self.bytes.len() > FRAME_BYTES_MAX - FIX_CALL_BYTES_MAX - TURN_COUNTERS_MAX * COUNTERS_CALL_BYTES_MAX
    }

    /// Gives the turn out; the encoder has to [`TurnEncoder::begin`] the next.
    ///
    /// # Panics
    /// If the turn went on after [`TurnEncoder::is_full`] said so, past what a reader would accept.
    pub fn finish(&mut self) -> Turn {
        assert!(self.bytes.len() <= FRAME_BYTES_MAX, "a turn was not finished when it was full");
        // The next turn is likely as long as this one.
        let mut next = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 4 + FIX_CALL_BYTES_MAX);
        next.resize(HEADER_BYTES, 0);
        let turn =
            Turn { bytes: std::mem::replace(&mut self.bytes, next), received_at: self.received_at, fixes: self.fixes };
        self.begin(self.received_at);
        turn
    }

    fn is_announced(&self, driver: &DriverKey) -> bool {
        let (Some(announced), Some(tenant)) = (self.driver, self.tenant) else { return false };
        announced.hash == driver.hash_value()
            && self.bytes[announced.name_offset..][..announced.name_len] == *driver.driver().as_str().as_bytes()
            && is_same(&self.tenants[tenant], driver.tenant())
    }

    fn announce(&mut self, driver: &DriverKey) {
        if !self.tenant.is_some_and(|tenant| is_same(&self.tenants[tenant], driver.tenant())) {
            let known = self.tenants.len();
            let index = self.tenant_index(driver.tenant());
            if index < known {
                self.bytes.push(TENANT_AGAIN);
                put_varint(&mut self.bytes, index as u64);
                self.tenant = Some(index);
            }
        }
        let name = driver.driver().as_str().as_bytes();
        self.bytes.push(DRIVER + (name.len() - 1) as u8);
        let name_offset = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.driver = Some(Announced { hash: driver.hash_value(), name_offset, name_len: name.len() });
    }

    /// The index of a tenant in this frame; one not seen yet (or not lately) is named, and becomes the present one.
    fn tenant_index(&mut self, tenant: &TenantId) -> usize {
        let looked_at = self.tenants.len().saturating_sub(TENANTS_LOOKED_AT);
        if let Some(found) = self.tenants[looked_at..].iter().rposition(|known| is_same(known, tenant)) {
            return looked_at + found;
        }
        let name = tenant.as_str().as_bytes();
        self.bytes.push(TENANT);
        self.bytes.push(name.len() as u8);
        self.bytes.extend_from_slice(name);
        self.tenants.push(tenant.clone());
        self.tenant = Some(self.tenants.len() - 1);
        self.driver = None;
        self.tenants.len() - 1
    }
}

/// Equality that is decided by the address for clones.
fn is_same(left: &TenantId, right: &TenantId) -> bool {
    std::ptr::eq(left.as_str(), right.as_str()) || left == right
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Announces whose the fixes behind it are.
    Driver {
        /// The tenant's name, a sound id.
        tenant: &'a str,
        /// The driver's name, a sound id.
        driver: &'a str,
    },
    /// A fix that was stored.
    Fix {
        /// The fix.
        fix: Fix,
        /// Whether it was older than the driver's newest.
        late: bool,
    },
    /// What became of a tenant's fixes of one codec, as far as the fixes do not say it: for [`super::Tally`] to add up.
    Counters {
        /// The tenant's name, a sound id.
        tenant: &'a str,
        /// As what the fixes were read.
        codec: Codec,
        /// What was counted. Those stored are the fixes of this frame, and native's are not among them.
        counts: Counts,
    },
    /// What a tenant keeps became otherwise: alone in its frame.
    Change(Change<'a>),
}

/// The records of a frame. Ends behind the first that does not read.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    input: &'a [u8],
    unpacker: Unpacker,
    tenants: Vec<&'a str>,
    tenant: Option<&'a str>,
    has_driver: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(input: &'a [u8], received_at: TimestampMs) -> Self {
        Self { input, unpacker: Unpacker::at(received_at), tenants: Vec::new(), tenant: None, has_driver: false }
    }

    /// Records of which not even the first reads.
    pub(super) fn malformed() -> Self {
        Self::new(&[NEVER], TimestampMs::default())
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.input.split_at_checked(len)?;
        self.input = rest;
        Some(taken)
    }

    fn known_tenant(&mut self) -> Option<&'a str> {
        let index = usize::try_from(take_varint(&mut self.input)?).ok()?;
        self.tenants.get(index).copied()
    }

    /// The next record; tenants on their own are none. `None` if what is there does not read.
    fn read(&mut self) -> Option<Option<Record<'a>>> {
        loop {
            let Some(&first) = self.input.first() else { return Some(None) };
            if first < TENANT {
                let (fix, late) = self.unpacker.unpack_marked(&mut self.input).filter(|_| self.has_driver)?;
                return Some(Some(Record::Fix { fix, late }));
            }
            self.take(1)?;
            match first {
                TENANT => {
                    let len = self.take(1)?[0];
                    let name = self.take(usize::from(len)).filter(|name| is_tenant_id(name))?;
                    let name = std::str::from_utf8(name).ok()?;
                    self.tenants.push(name);
                    self.tenant = Some(name);
                    self.has_driver = false;
                }
                TENANT_AGAIN => {
                    self.tenant = Some(self.known_tenant()?);
                    self.has_driver = false;
                }
                COUNTERS => {
                    let tenant = self.known_tenant()?;
                    let codec = *Codec::ALL.get(usize::from(self.take(1)?[0]))?;
                    let counts = Counts::unpack(&mut self.input)?;
                    return Some(Some(Record::Counters { tenant, codec, counts }));
                }
                CHANGE => {
                    let tenant = self.known_tenant()?;
                    let kind = ChangeKind::of(self.take(1)?[0])?;
                    let len = self.take(1)?[0];
                    let id = self.take(usize::from(len)).filter(|id| is_driver_id(id))?;
                    let id = std::str::from_utf8(id).ok()?;
                    let len = usize::try_from(take_varint(&mut self.input)?).ok()?;
                    let body = self.take(len)?;
                    return Some(Some(Record::Change(Change { tenant, kind, id, body })));
                }
                DRIVER.. => {
                    let name = self.take(usize::from(first - DRIVER) + 1).filter(|name| is_driver_id(name))?;
                    let driver = std::str::from_utf8(name).ok()?;
                    self.has_driver = true;
                    return Some(Some(Record::Driver { tenant: self.tenant?, driver }));
                }
                _ => return None,
            }
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Some(record) => record.map(Ok),
            None => {
                self.input = &[];
                Some(Err(Malformed))
            }
        }
    }
}
