//! Opening a journal that was left behind: applies what is whole, cuts a torn end, refuses damage.
//!
//! Only the last batch can have been on its way to the disk when the engine stopped, and nothing of it was acknowledged.
//! So what does not read is a torn end if it is behind everything known to be durable, and damage otherwise. Known to be
//! durable is what a later sound frame names in its header, and everything in a segment that is not the last.

use std::sync::Arc;

use super::error::{Damage, Error, Malformed};
use super::frame::{APPENDER_OF_SEAL, Frame, find_proof};
use super::scan::{Scan, Step};
use super::segment::{self, Segment};
use super::storage::Storage;
use super::{JournalId, JournalPosition, Recovered, Resume};
use crate::units::TimestampMs;

/// The sequence of a journal's first frame.
const FIRST_SEQUENCE: u64 = 1;

/// Called with every frame, in order; an error says that its records do not read.
pub(super) type Apply<'a> = &'a mut dyn FnMut(&Frame<'_>) -> Result<(), Malformed>;

/// A journal that is ready to be written on.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) journal: JournalId,
    pub(super) segment: Segment,
    /// Receive time of the last frame.
    pub(super) received_at: TimestampMs,
    /// Whether the last frame is a seal, or there is none.
    pub(super) is_sealed: bool,
    pub(super) recovered: Recovered,
}

/// Reads the journal, or makes an empty one, and leaves it durable up to its last frame.
pub(super) fn recover(storage: &Arc<dyn Storage>, resume: &Resume, apply: Apply<'_>) -> Result<Ready, Error> {
    let firsts = segment::list(storage.as_ref())?;
    let after = resume.snapshot.map_or(FIRST_SEQUENCE - 1, |snapshot| snapshot.sequence);
    // The newest segment that begins no later than with the first frame to be applied: those before it need not be read.
    let begin = firsts.partition_point(|first| *first <= after + 1).checked_sub(1);
    let (Some(begin), Some(&newest)) = (begin, firsts.last()) else {
        return if firsts.is_empty() && resume.snapshot.is_none() {
            begin_new(storage, resume)
        } else {
            Err(Error::Damaged { segment: segment::name(after + 1), offset: 0, reason: Damage::Gone })
        };
    };
    let mut walk = Walk { after, last: firsts[begin] - 1, is_sealed: true, ..Walk::default() };
    let journal = Scan::open(storage.as_ref(), firsts[begin])?.journal();
    for &first in &firsts[begin..] {
        let mut scan = Scan::open(storage.as_ref(), first)?;
        if scan.journal() != journal {
            return Err(scan.damaged(0, Damage::Misplaced));
        }
        if let Some((segment, end)) = walk.ended.take().filter(|_| first != walk.last + 1) {
            return Err(Error::Damaged { segment: segment::name(segment), offset: end, reason: Damage::Missing });
        }
        let step = walk.through(&mut scan, apply)?;
        if first == newest {
            walk.recovered.cut_bytes = torn_bytes(&scan, walk.last + 1, step)?;
            check_reach(resume, journal, firsts[0], walk.last)?;
            settle(storage, &scan, first, walk.batch_offset)?;
        } else if step == Step::Unsound {
            return Err(scan.damaged(scan.offset(), Damage::Frame));
        }
        walk.ended = Some((first, scan.offset()));
    }
    let end = walk.ended.map_or(segment::HEADER_BYTES as u64, |(_, end)| end);
    let segment = Segment::resume(storage, newest, end).map_err(Error::io("go on in the newest segment"))?;
    let recovered = Recovered { segments: (firsts.len() - begin) as u64, last: walk.last, ..walk.recovered };
    Ok(Ready { journal, segment, received_at: walk.received_at, is_sealed: walk.is_sealed, recovered })
}

fn begin_new(storage: &Arc<dyn Storage>, resume: &Resume) -> Result<Ready, Error> {
    let journal = new_id()?;
    check_reach(resume, journal, FIRST_SEQUENCE, FIRST_SEQUENCE - 1)?;
    let segment = Segment::create(storage, journal, FIRST_SEQUENCE).map_err(Error::io("create the first segment"))?;
    let (received_at, recovered) = (TimestampMs::default(), Recovered::default());
    Ok(Ready { journal, segment, received_at, is_sealed: true, recovered })
}

/// Sees that snapshot and followers stand in this journal: none before what it holds, none beyond its end.
fn check_reach(resume: &Resume, journal: JournalId, first: u64, last: u64) -> Result<(), Error> {
    let is_outside =
        |position: &&JournalPosition| position.journal != journal || !(first - 1..=last).contains(&position.sequence);
    match resume.snapshot.iter().chain(&resume.followed).find(is_outside) {
        Some(&position) => Err(Error::Outside { position, journal, first, last }),
        None => Ok(()),
    }
}

/// What is known after the frames so far.
#[derive(Debug, Default)]
struct Walk {
    /// A snapshot stands for the frames up to here: they are read and not applied.
    after: u64,
    last: u64,
    received_at: TimestampMs,
    is_sealed: bool,
    recovered: Recovered,
    /// The segment before, and where it ended.
    ended: Option<(u64, u64)>,
    /// What the last frame knew to be durable.
    durable: Option<u64>,
    /// Where in its segment the last batch begins: its frames all know the same to be durable.
    batch_offset: u64,
}

impl Walk {
    /// Applies the frames of a segment up to the first place that is none.
    fn through(&mut self, scan: &mut Scan, apply: Apply<'_>) -> Result<Step, Error> {
        self.batch_offset = scan.offset();
        loop {
            let step = scan.step()?;
            if step != Step::Frame {
                return Ok(step);
            }
            let frame = scan.frame();
            if frame.first_sequence() != self.last + 1 || frame.durable >= frame.sequence {
                return Err(scan.damaged(scan.frame_offset(), Damage::Sequence));
            }
            if frame.sequence > self.after {
                apply(&frame).map_err(|Malformed| scan.damaged(scan.frame_offset(), Damage::Records))?;
                self.recovered.frames += 1;
                self.recovered.fixes += u64::from(frame.fixes);
            }
            if self.durable.replace(frame.durable) != Some(frame.durable) {
                self.batch_offset = scan.frame_offset();
            }
            self.last = frame.sequence;
            self.received_at = frame.received_at;
            self.is_sealed = frame.appender == APPENDER_OF_SEAL;
        }
    }
}

/// How many bytes behind the last sound frame are a torn end; an error if they are more than that.
fn torn_bytes(scan: &Scan, next: u64, step: Step) -> Result<u64, Error> {
    let rest = scan.rest()?;
    let torn = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // Among all of the rest, since a frame may end with zeros of its own.
    match find_proof(&rest, next) {
        None => Ok(torn as u64),
        Some(_) if step == Step::End => Err(scan.damaged(scan.offset(), Damage::Missing)),
        Some(_) => Err(scan.damaged(scan.offset(), Damage::Frame)),
    }
}

/// Cuts the newest segment where the scan stands and makes it durable.
///
/// The last batch is written once more: after a sync that failed, the system may hold it as clean in memory and not on
/// the disk, where no further sync would bring it.
fn settle(storage: &Arc<dyn Storage>, scan: &Scan, first: u64, batch_offset: u64) -> Result<(), Error> {
    let batch = scan.bytes(batch_offset, scan.offset())?;
    let name = segment::name(first);
    let settle = || {
        let file = storage.open_for_write(&name)?;
        file.set_len_bytes(scan.offset())?;
        file.write_all_at(&batch, batch_offset)?;
        file.sync()?;
        storage.sync_names()
    };
    settle().map_err(Error::io(format!("make the end of {name} durable")))
}

/// A name that no other journal has.
pub(super) fn new_id() -> Result<JournalId, Error> {
    let mut id = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut id))
        .map_err(Error::io("read /dev/urandom"))?;
    Ok(JournalId(id))
}
