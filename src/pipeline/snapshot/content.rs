//! What is in a snapshot of the pipeline, to the byte.
//!
//! It is a series of chunks, in a file that sees to it that they come back whole ([`crate::journal`]). Each begins with its
//! kind; one kind more is a new kind of chunk, and a program that does not know it refuses the snapshot.
//!
//! | kind | chunk | then |
//! |---|---|---|
//! | 1 | head, the first | version (varint, 2), the frame it stands for (varint), whether there is a store (byte), the frame behind which the store began (varint) |
//! | 2 | books of a shard | its appender (varint), its last frame that they count (varint), pages to the end of the chunk |
//! | 3 | drivers | drivers to the end of the chunk |
//! | 4 | end, the last | the highest frame of which anything may be in it (varint), the frame up to which it relies on the store (varint) |
//!
//! | page of a tenant's fixes of one codec | |
//! |---|---|
//! | tenant | length (byte), name |
//! | codec | its number (byte) |
//! | counters | as [`Counts::pack`] puts them |
//!
//! | driver | |
//! |---|---|
//! | head | byte: bit 0, a tenant follows (that of the driver before otherwise); bit 1, a floor; bit 2, a time that is forgotten |
//! | tenant | length (byte), name |
//! | name | length (byte), name |
//! | fixes | how many (varint), then each packed as `packed` says against the one before it in the chunk, whosever that was, and the change of its frame's sequence (signed varint; from the one before in the chunk, at first from the frame that the snapshot stands for) |
//! | floor, forgotten | signed varints: how much earlier than the time of the last fix in the chunk (at first, than 0) |
//!
//! A driver may come several times, with other fixes: what left is the latest of all its floors.
//!
//! A fleet of 1,000 buses, each of which has its newest fix in the snapshot and more in the store, takes 27 bytes a driver
//! and its name (the test says so).

use crate::codec::Codec;
use crate::counts::{COUNTS_BYTES_MAX, Counts};
use crate::fix::Fix;
use crate::ids::{TenantId, is_driver_id, is_tenant_id};
use crate::journal::{CHUNK_BYTES_MAX, Malformed};
use crate::limits::{DRIVER_ID_BYTES_MAX, TENANT_ID_BYTES_MAX};
use crate::packed::{
    FIX_BYTES_MAX, Packer, Unpacker, VARINT_BYTES_MAX, put_signed, put_varint, take_signed, take_varint,
};
use crate::pipeline::account::Counted;
use crate::pipeline::window::Gone;
use crate::units::TimestampMs;

const VERSION: u64 = 2;

const HEAD: u8 = 1;
const BOOKS: u8 = 2;
const DRIVERS: u8 = 3;
const END: u8 = 4;

const HAS_TENANT: u8 = 1;
const HAS_FLOOR: u8 = 1 << 1;
const HAS_FORGOTTEN: u8 = 1 << 2;

/// Most that a page takes.
const PAGE_BYTES_MAX: usize = 2 + TENANT_ID_BYTES_MAX + COUNTS_BYTES_MAX;

/// Most that a driver takes without its fixes.
const DRIVER_BYTES_MAX: usize = 3 + TENANT_ID_BYTES_MAX + DRIVER_ID_BYTES_MAX + 3 * VARINT_BYTES_MAX;

/// Most that a fix of a driver takes.
const DRIVER_FIX_BYTES_MAX: usize = FIX_BYTES_MAX + VARINT_BYTES_MAX;

/// Most fixes of a driver at once, so that a chunk that was not full has room for them.
pub(super) const DRIVER_FIXES_MAX: usize = 8_192;

/// Length at which a chunk is given on.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

const _: () = assert!(CHUNK_BYTES + DRIVER_BYTES_MAX + DRIVER_FIXES_MAX * DRIVER_FIX_BYTES_MAX <= CHUNK_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES + PAGE_BYTES_MAX <= CHUNK_BYTES_MAX);

/// What a snapshot begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct Head {
    /// The frame it stands for.
    pub(in crate::pipeline) sequence: u64,
    /// The frame behind which the store began, if there was one.
    pub(in crate::pipeline) store_began: Option<u64>,
}

/// What a snapshot ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) struct End {
    /// The highest frame of which anything may be in it.
    pub(in crate::pipeline) upto: u64,
    /// Fixes up to this frame may have been left to the store.
    pub(in crate::pipeline) stored: u64,
}

pub(super) fn head(head: Head) -> Vec<u8> {
    let mut chunk = vec![HEAD];
    put_varint(&mut chunk, VERSION);
    put_varint(&mut chunk, head.sequence);
    chunk.push(u8::from(head.store_began.is_some()));
    put_varint(&mut chunk, head.store_began.unwrap_or_default());
    chunk
}

pub(super) fn end(end: End) -> Vec<u8> {
    let mut chunk = vec![END];
    put_varint(&mut chunk, end.upto);
    put_varint(&mut chunk, end.stored);
    chunk
}

/// A shard's books, in as many chunks as they need, one at least.
pub(super) fn books(appender: u16, ended: u64, pages: &[Counted]) -> Vec<Vec<u8>> {
    let begin = || {
        let mut chunk = vec![BOOKS];
        put_varint(&mut chunk, u64::from(appender));
        put_varint(&mut chunk, ended);
        chunk
    };
    let mut chunks = Vec::new();
    let mut chunk = begin();
    for Counted { tenant, codec, counts } in pages {
        if chunk.len() >= CHUNK_BYTES {
            chunks.push(std::mem::replace(&mut chunk, begin()));
        }
        put_name(&mut chunk, tenant.as_str());
        chunk.push(*codec as u8);
        counts.pack(&mut chunk);
    }
    chunks.push(chunk);
    chunks
}

fn put_name(chunk: &mut Vec<u8>, name: &str) {
    chunk.push(name.len() as u8);
    chunk.extend_from_slice(name.as_bytes());
}

/// Makes chunks of drivers.
#[derive(Debug)]
pub(super) struct DriversEncoder {
    snapshot: u64,
    chunk: Vec<u8>,
    tenant: Option<TenantId>,
    packer: Packer,
    before: Before,
}

/// What the next is told against.
#[derive(Clone, Copy, Debug)]
struct Before {
    sequence: u64,
    time: TimestampMs,
}

impl Before {
    fn of_chunk(snapshot: u64) -> Self {
        Self { sequence: snapshot, time: TimestampMs(0) }
    }
}

impl DriversEncoder {
    /// For a snapshot that stands for this frame.
    pub(super) fn new(snapshot: u64) -> Self {
        let before = Before::of_chunk(snapshot);
        Self { snapshot, chunk: vec![DRIVERS], tenant: None, packer: Packer::new(), before }
    }

    /// Adds a driver, or more of its fixes: at most [`DRIVER_FIXES_MAX`], each with its frame.
    pub(super) fn driver(&mut self, tenant: &TenantId, name: &str, gone: Gone, fixes: &[(Fix, u64)]) {
        debug_assert!(fixes.len() <= DRIVER_FIXES_MAX && self.len_bytes() < CHUNK_BYTES);
        let is_same = |known: &TenantId| std::ptr::eq(known.as_str(), tenant.as_str()) || known == tenant;
        let has_tenant = !self.tenant.as_ref().is_some_and(is_same);
        let has_floor = gone.floor != Gone::NOTHING.floor;
        let has_forgotten = gone.forgotten != Gone::NOTHING.forgotten;
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        self.chunk.push(bit(has_tenant, HAS_TENANT) | bit(has_floor, HAS_FLOOR) | bit(has_forgotten, HAS_FORGOTTEN));
        if has_tenant {
            put_name(&mut self.chunk, tenant.as_str());
            self.tenant = Some(tenant.clone());
        }
        put_name(&mut self.chunk, name);
        put_varint(&mut self.chunk, fixes.len() as u64);
        for (fix, sequence) in fixes {
            self.packer.pack(fix, &mut self.chunk);
            put_signed(&mut self.chunk, sequence.wrapping_sub(self.before.sequence) as i64);
            self.before = Before { sequence: *sequence, time: fix.time };
        }
        for (_, time) in [(has_floor, gone.floor), (has_forgotten, gone.forgotten)].iter().filter(|(has, _)| *has) {
            put_signed(&mut self.chunk, self.before.time.0.wrapping_sub(time.0));
        }
    }

    /// Bytes of the chunk so far.
    pub(super) fn len_bytes(&self) -> usize {
        self.chunk.len()
    }

    /// Gives the chunk out and begins the next; `None` if nothing is in it.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.chunk.len() == 1 {
            return None;
        }
        let next = Self { chunk: Vec::with_capacity(self.chunk.capacity()), ..Self::new(self.snapshot) };
        let mut chunk = std::mem::replace(self, next).chunk;
        self.chunk.push(DRIVERS);
        chunk.shrink_to_fit();
        Some(chunk)
    }
}

/// A chunk read back.
#[derive(Debug)]
pub(super) enum Chunk<'a> {
    Head(Head),
    Books(Books<'a>),
    Drivers(Drivers<'a>),
    End(End),
}

/// A shard's books.
#[derive(Debug)]
pub(super) struct Books<'a> {
    pub(super) appender: u16,
    /// Its last frame that they count.
    pub(super) ended: u64,
    input: &'a [u8],
}

/// Drivers, one after the other.
#[derive(Debug)]
pub(super) struct Drivers<'a> {
    input: &'a [u8],
    tenant: Option<&'a str>,
    unpacker: Unpacker,
    before: Before,
}

/// A driver, or some of its fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Driver<'a> {
    /// A sound id.
    pub(super) tenant: &'a str,
    /// A sound id.
    pub(super) name: &'a str,
    pub(super) gone: Gone,
}

impl<'a> Chunk<'a> {
    /// Reads the beginning of a chunk of the snapshot that stands for this frame; a head says itself for which.
    pub(super) fn read(chunk: &'a [u8], snapshot: u64) -> Result<Self, Malformed> {
        Self::begin(chunk, snapshot).ok_or(Malformed)
    }

    fn begin(chunk: &'a [u8], snapshot: u64) -> Option<Self> {
        let (kind, mut input) = chunk.split_first()?;
        let read = match *kind {
            HEAD => {
                let version = take_varint(&mut input)?;
                let sequence = take_varint(&mut input)?;
                let has_store = take_byte(&mut input)?;
                let began = take_varint(&mut input)?;
                if version != VERSION || has_store > 1 {
                    return None;
                }
                Self::Head(Head { sequence, store_began: (has_store == 1).then_some(began) })
            }
            BOOKS => {
                let appender = u16::try_from(take_varint(&mut input)?).ok()?;
                return Some(Self::Books(Books { appender, ended: take_varint(&mut input)?, input }));
            }
            DRIVERS => {
                let before = Before::of_chunk(snapshot);
                return Some(Self::Drivers(Drivers { input, tenant: None, unpacker: Unpacker::new(), before }));
            }
            END => Self::End(End { upto: take_varint(&mut input)?, stored: take_varint(&mut input)? }),
            _ => return None,
        };
        input.is_empty().then_some(read)
    }
}

impl<'a> Books<'a> {
    /// The next page; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(&'a str, Codec, Counts)>, Malformed> {
        if self.input.is_empty() { Ok(None) } else { self.page().map(Some).ok_or(Malformed) }
    }

    fn page(&mut self) -> Option<(&'a str, Codec, Counts)> {
        let tenant = take_name(&mut self.input, is_tenant_id)?;
        let codec = *Codec::ALL.get(usize::from(take_byte(&mut self.input)?))?;
        Some((tenant, codec, Counts::unpack(&mut self.input)?))
    }
}

impl<'a> Drivers<'a> {
    /// The next driver, and its fixes with their frames in place of what `fixes` held; `None` behind the last.
    pub(super) fn next(&mut self, fixes: &mut Vec<(Fix, u64)>) -> Result<Option<Driver<'a>>, Malformed> {
        if self.input.is_empty() { Ok(None) } else { self.driver(fixes).map(Some).ok_or(Malformed) }
    }

    fn driver(&mut self, fixes: &mut Vec<(Fix, u64)>) -> Option<Driver<'a>> {
        let head = take_byte(&mut self.input)?;
        if head & !(HAS_TENANT | HAS_FLOOR | HAS_FORGOTTEN) != 0 {
            return None;
        }
        if head & HAS_TENANT != 0 {
            self.tenant = Some(take_name(&mut self.input, is_tenant_id)?);
        }
        let tenant = self.tenant?;
        let name = take_name(&mut self.input, is_driver_id)?;
        fixes.clear();
        for _ in 0..take_varint(&mut self.input)? {
            let fix = self.unpacker.unpack(&mut self.input)?;
            let sequence = self.before.sequence.wrapping_add(take_signed(&mut self.input)? as u64);
            self.before = Before { sequence, time: fix.time };
            fixes.push((fix, sequence));
        }
        let mut gone = Gone::NOTHING;
        for (bit, time) in [(HAS_FLOOR, &mut gone.floor), (HAS_FORGOTTEN, &mut gone.forgotten)] {
            if head & bit != 0 {
                *time = TimestampMs(self.before.time.0.wrapping_sub(take_signed(&mut self.input)?));
            }
        }
        Some(Driver { tenant, name, gone })
    }
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

fn take_name<'a>(input: &mut &'a [u8], is_id: fn(&[u8]) -> bool) -> Option<&'a str> {
    let len = take_byte(input)?;
    let (name, rest) = input.split_at_checked(usize::from(len))?;
    *input = rest;
    std::str::from_utf8(name).ok().filter(|_| is_id(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Position;

    const SNAPSHOT: u64 = 1_000_000;

    fn fix(time_ms: i64, sequence: u64) -> (Fix, u64) {
        let position = Position { latitude_e7: time_ms as i32, longitude_e7: -7 };
        (Fix { speed_mmps: Some(8_000), ..Fix::at(TimestampMs(time_ms), position) }, sequence)
    }

    /// Tenant, name, what left, and the fixes with their frames.
    type Known = (String, String, Gone, Vec<(Fix, u64)>);

    fn read_drivers(chunk: &[u8]) -> Vec<Known> {
        let Ok(Chunk::Drivers(mut drivers)) = Chunk::read(chunk, SNAPSHOT) else { panic!("no drivers") };
        let (mut all, mut fixes) = (Vec::new(), Vec::new());
        while let Some(Driver { tenant, name, gone }) = drivers.next(&mut fixes).unwrap() {
            all.push((tenant.to_owned(), name.to_owned(), gone, fixes.clone()));
        }
        all
    }

    /// Reads all that is in a chunk.
    fn is_sound(chunk: &[u8]) -> bool {
        match Chunk::read(chunk, SNAPSHOT) {
            Err(Malformed) => false,
            Ok(Chunk::Head(_) | Chunk::End(_)) => true,
            Ok(Chunk::Books(mut books)) => loop {
                match books.next() {
                    Ok(None) => return true,
                    Ok(Some(_)) => {}
                    Err(Malformed) => return false,
                }
            },
            Ok(Chunk::Drivers(mut drivers)) => loop {
                match drivers.next(&mut Vec::new()) {
                    Ok(None) => return true,
                    Ok(Some(_)) => {}
                    Err(Malformed) => return false,
                }
            },
        }
    }

    #[test]
    fn heads_and_ends_read_back() {
        for store_began in [None, Some(0), Some(7)] {
            let written = Head { sequence: 9, store_began };
            assert!(matches!(Chunk::read(&head(written), 0), Ok(Chunk::Head(read)) if read == written));
        }
        let written = End { upto: 11, stored: 3 };
        assert!(matches!(Chunk::read(&end(written), 9), Ok(Chunk::End(read)) if read == written));
        for unknown in [&[][..], &[0], &[5, 1], &[HEAD, 1, 9, 0, 0], &[HEAD, 2, 9, 2, 0], &[END, 1], &[END, 1, 1, 1]] {
            assert!(Chunk::read(unknown, 9).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn books_of_many_tenants_take_several_chunks() {
        let mut counts = Counts { stored: 5, duplicate: 1 << 40, ..Counts::default() };
        counts.rejected[9] = 3;
        let page = |n: usize| {
            let tenant = TenantId::new(&format!("tenant-{}", n / Codec::COUNT)).unwrap();
            Counted { tenant, codec: Codec::ALL[n % Codec::COUNT], counts }
        };
        let pages: Vec<_> = (0..40_000).map(page).collect();
        let chunks = books(3, 77, &pages);
        assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
        let mut read = Vec::new();
        for chunk in &chunks {
            let Ok(Chunk::Books(mut books)) = Chunk::read(chunk, SNAPSHOT) else { panic!("no books") };
            assert_eq!((books.appender, books.ended), (3, 77));
            while let Some((tenant, codec, counts)) = books.next().unwrap() {
                read.push(Counted { tenant: TenantId::new(tenant).unwrap(), codec, counts });
            }
        }
        assert_eq!(read, pages);
        assert_eq!(books(0, 0, &[]).len(), 1, "what the books count is told also where they are empty");
    }

    #[test]
    fn a_driver_takes_27_bytes_and_its_name() {
        let tenant = TenantId::new("acme").unwrap();
        let mut encoder = DriversEncoder::new(SNAPSHOT);
        let mut names = 0;
        for bus in 0_u32..1_000 {
            let scattered = bus.wrapping_mul(2_654_435_761);
            let time = TimestampMs(1_700_000_000_000 + i64::from(scattered % 10_000));
            let position = Position {
                latitude_e7: 521_000_000 + (scattered & 0xffff) as i32 * 45,
                longitude_e7: 209_000_000 + (scattered >> 16) as i32 * 45,
            };
            let fix = Fix {
                received_at: time.saturating_add_ms(80 + i64::from(scattered >> 8 & 63)),
                speed_mmps: Some(8_000 + (scattered & 511)),
                heading_cdeg: Some((scattered >> 7 & 0x3fff) as u16),
                ..Fix::at(time, position)
            };
            let gone = Gone { floor: time.saturating_add_ms(-10_000), ..Gone::NOTHING };
            let name = format!("bus-{bus}");
            names += name.len();
            encoder.driver(&tenant, &name, gone, &[(fix, SNAPSHOT - u64::from(scattered % 5_000))]);
        }
        let bytes = (encoder.len_bytes() - names) as f64 / 1_000.0;
        assert!(bytes <= 27.0, "{bytes}");
    }

    fn a_driver() -> impl Strategy<Value = Known> {
        let time = prop_oneof![3 => Just(i64::MIN), 1 => any::<i64>(), 5 => 0i64..1 << 42];
        let fixes = prop::collection::vec((any::<i64>(), any::<u64>()), 0..5);
        ("[a-c]{1,2}", "[a-z.:]{1,64}", time.clone(), time, fixes).prop_map(
            |(tenant, name, floor, forgotten, fixes)| {
                let gone = Gone { floor: TimestampMs(floor), forgotten: TimestampMs(forgotten) };
                (tenant, name, gone, fixes.into_iter().map(|(time, sequence)| fix(time, sequence)).collect())
            },
        )
    }

    proptest! {
        #[test]
        fn drivers_read_back(drivers in prop::collection::vec(a_driver(), 1..20)) {
            let mut encoder = DriversEncoder::new(SNAPSHOT);
            prop_assert!(encoder.take().is_none());
            for round in 0..2 {
                for (tenant, name, gone, fixes) in &drivers {
                    encoder.driver(&TenantId::new(tenant).unwrap(), name, *gone, fixes);
                }
                prop_assert_eq!(read_drivers(&encoder.take().unwrap()), drivers.clone(), "chunk {}", round);
            }
        }

        #[test]
        fn anything_is_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 1..200), kind in 0u8..6) {
            bytes[0] = kind;
            is_sound(&bytes);
        }

        #[test]
        fn what_is_cut_short_never_reads_as_more(drivers in prop::collection::vec(a_driver(), 1..5), cut in any::<prop::sample::Index>()) {
            let mut encoder = DriversEncoder::new(SNAPSHOT);
            for (tenant, name, gone, fixes) in &drivers {
                encoder.driver(&TenantId::new(tenant).unwrap(), name, *gone, fixes);
            }
            let chunk = encoder.take().unwrap();
            let cut = cut.index(chunk.len());
            if cut > 0 && is_sound(&chunk[..cut]) {
                prop_assert!(read_drivers(&chunk[..cut]).len() < drivers.len());
            }
        }
    }
}
