//! Walking through a whole journal frame by frame, and on behind what is damaged.

use std::collections::VecDeque;
use std::io;

use super::event::{End, Event, Finding, Lost, Snapshot};
use super::files::{Files, Listing};
use super::search::{find, len_without_zeros};
use crate::journal::JournalId;
use crate::journal::error::{Damage, Error};
use crate::journal::frame::{self, APPENDER_OF_SEAL, Frame};
use crate::journal::scan::{Scan, Step};
use crate::journal::segment::{self, Header};
use crate::journal::storage::Storage;
use crate::journal::tally::Tally;

/// The sequence of a journal's first frame.
const FIRST_SEQUENCE: u64 = 1;

/// Goes through a journal, from its beginning or a later segment to the end of the newest. See [the module](super).
#[derive(Debug)]
pub struct Walk {
    files: Files,
    /// What there was when last looked.
    listing: Listing,
    snapshots: Vec<Snapshot>,
    journal: Option<JournalId>,
    /// The segment that is read, or was read last.
    current: Option<u64>,
    scan: Option<Scan>,
    /// The sequence that is to come next.
    next: u64,
    begins_with: u64,
    /// The highest that a frame knew to be durable.
    durable: u64,
    is_sealed: bool,
    /// Whether frames count that are whole and behind an end that is torn.
    keeps_unproven: bool,
    events: VecDeque<Event>,
    is_over: bool,
}

impl Walk {
    /// Through all of it. What snapshots are called is believed.
    ///
    /// # Errors
    /// The files cannot be read, or are of a version that this program does not read.
    pub fn through(files: &Files) -> Result<Self, Error> {
        Self::begin(files, |_, sequence| Some(Snapshot { sequence, unusable: None }))
    }

    /// As [`Walk::through`], with all snapshots read: only one that is whole stands for what is not there any more.
    ///
    /// # Errors
    /// As [`Walk::through`].
    pub fn checking(files: &Files) -> Result<Self, Error> {
        Self::begin(files, |journal, sequence| {
            let checked = files.check_snapshot(sequence, journal)?;
            Some(Snapshot { sequence, unusable: checked.err() })
        })
    }

    /// As [`Walk::checking`], and on behind a torn end where whole frames are: they were not acknowledged, or what proved
    /// it is lost.
    pub(in crate::journal) fn salvaging(files: &Files) -> Result<Self, Error> {
        Ok(Self { keeps_unproven: true, ..Self::checking(files)? })
    }

    fn begin(files: &Files, check: impl Fn(Option<JournalId>, u64) -> Option<Snapshot>) -> Result<Self, Error> {
        let mut look = look(files)?;
        loop {
            let oldest = look.0.firsts.first().copied().unwrap_or(FIRST_SEQUENCE);
            let mut walk = Self::new(files, look, oldest);
            walk.snapshots = walk.listing.snapshots.iter().filter_map(|of| check(walk.journal, *of)).collect();
            let is_sound = |snapshot: &&Snapshot| snapshot.unusable.is_none();
            let after = walk.snapshots.iter().rfind(is_sound).map_or(FIRST_SEQUENCE - 1, |snapshot| snapshot.sequence);
            if oldest <= after.saturating_add(1) {
                return Ok(walk);
            }
            // Snapshots may have taken the place of others, and of segments, while they were read.
            look = self::look(files)?;
            if look.0 == walk.listing {
                walk.begins_with = after + 1;
                walk.damage(after + 1, 0, Damage::Gone, Some(Lost { first: after + 1, last: oldest - 1 }), 0);
                return Ok(walk);
            }
        }
    }

    /// From the segment on that holds `sequence`, or the oldest. What is before it is not looked at.
    ///
    /// # Errors
    /// As [`Walk::through`].
    pub fn from(files: &Files, sequence: u64) -> Result<Self, Error> {
        let (mut listing, journal) = look(files)?;
        let before = listing.firsts.partition_point(|first| *first <= sequence).saturating_sub(1);
        listing.firsts.drain(..before);
        let oldest = listing.firsts.first().copied().unwrap_or(FIRST_SEQUENCE);
        Ok(Self::new(files, (listing, journal), oldest))
    }

    fn new(files: &Files, (listing, journal): (Listing, Option<JournalId>), begins_with: u64) -> Self {
        Self {
            journal,
            files: files.clone(),
            listing,
            snapshots: Vec::new(),
            current: None,
            scan: None,
            next: begins_with,
            begins_with,
            durable: 0,
            is_sealed: false,
            keeps_unproven: false,
            events: VecDeque::new(),
            is_over: false,
        }
    }

    /// Which journal; `None` if no segment tells.
    pub fn journal(&self) -> Option<JournalId> {
        self.journal
    }

    /// The snapshots that there were at the beginning, oldest first.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The first sequence of the journal, or of the walk.
    pub fn begins_with(&self) -> u64 {
        self.begins_with
    }

    /// The next thing that there is; `None` behind the end. Blocks for the disk.
    ///
    /// # Errors
    /// The files cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        while self.events.is_empty() && !self.is_over {
            match self.scan.take() {
                None => self.open()?,
                Some(scan) => self.step(scan)?,
            }
        }
        Ok(self.events.pop_front())
    }

    /// The frame of the last event, which was [`Event::Frame`].
    ///
    /// # Panics
    /// If it was another.
    pub fn frame(&self) -> Frame<'_> {
        self.scan().frame()
    }

    /// The bytes of that frame.
    pub(in crate::journal) fn frame_bytes(&self) -> &[u8] {
        self.scan().frame_bytes()
    }

    fn scan(&self) -> &Scan {
        self.scan.as_ref().expect("a frame is asked for behind the event that told of it, before the scan goes on")
    }

    /// The first sequence of the segment behind the present one, which everything in this one is below.
    fn bound(&self) -> Option<u64> {
        let firsts = &self.listing.firsts;
        let is_before = |first: &u64| self.current.map_or(*first < self.next, |current| *first <= current);
        firsts.get(firsts.partition_point(is_before)).copied()
    }

    fn list_anew(&mut self) -> Result<(), Error> {
        self.listing = self.files.list()?;
        Ok(())
    }

    /// Whether what should come next was taken away by the engine, which removes the oldest segments.
    fn was_removed(&self) -> bool {
        self.listing.firsts.first().is_some_and(|oldest| *oldest > self.next && self.listing.covers(*oldest))
    }

    /// Goes over to the next segment.
    fn open(&mut self) -> Result<(), Error> {
        let Some(first) = self.bound() else {
            self.is_over = true;
            return Ok(());
        };
        let name = segment::name(first);
        let file = match self.files.storage.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.list_anew()?;
                let is_listed = self.listing.firsts.contains(&first);
                // Otherwise it was removed, and the next try takes the one behind it.
                return if is_listed { Err(Error::io(format!("open {name}"))(error)) } else { Ok(()) };
            }
            Err(error) => return Err(Error::io(format!("open {name}"))(error)),
        };
        if self.next < first && !self.was_removed() {
            self.damage(first, 0, Damage::Missing, Some(Lost { first: self.next, last: first - 1 }), 0);
        }
        self.next = first;
        self.current = Some(first);
        let bytes = file.len_bytes().map_err(Error::io(format!("read {name}")))?;
        let mut scan = Scan::of(file, first);
        self.events.push_back(Event::Segment { first, bytes });
        match segment::read_header(&scan.bytes(0, segment::HEADER_BYTES as u64)?, first) {
            Header::Version(found) => {
                return Err(Error::Version { segment: name, found, wanted: segment::VERSION });
            }
            Header::Sound(journal) if Some(journal) == self.journal => {}
            Header::Sound(_) | Header::Misplaced => {
                let lost = self.bound().map(|bound| Lost { first, last: bound - 1 });
                self.damage(first, 0, Damage::Misplaced, lost, bytes);
                match self.bound() {
                    Some(bound) => self.next = bound,
                    None => self.end(0, 0),
                }
                return Ok(());
            }
            // Its name says where it belongs, and each of its frames has to fit there.
            Header::Damaged(_) => self.damage(first, 0, Damage::Header, None, segment::HEADER_BYTES as u64),
        }
        scan.go_to(segment::HEADER_BYTES as u64);
        self.scan = Some(scan);
        Ok(())
    }

    /// Reads on in the present segment.
    fn step(&mut self, mut scan: Scan) -> Result<(), Error> {
        let mut step = scan.step()?;
        if step != Step::Frame && self.bound().is_none() {
            // Written meanwhile. With a segment behind it, which is looked for first, this one is complete.
            self.list_anew()?;
            scan.forget();
            step = scan.step()?;
        }
        match step {
            Step::Frame => {
                self.judge(&scan);
                self.scan = Some(scan);
                Ok(())
            }
            Step::End | Step::Unsound => self.search(scan, step),
        }
    }

    /// Whether a frame fits where the scan stands, and whether its records read.
    fn judge(&mut self, scan: &Scan) {
        let frame = scan.frame();
        let (segment, offset) = (self.current.unwrap_or(self.next), scan.frame_offset());
        let (first, last) = (frame.first_sequence(), frame.sequence);
        let bytes = frame.len_bytes() as u64;
        if first < self.next || !self.is_below_bound(last) {
            self.damage(segment, offset, Damage::Sequence, None, bytes);
            return;
        }
        let reads = Tally::of(&frame).is_ok();
        if frame.durable >= last || !reads {
            let reason = if reads { Damage::Durable } else { Damage::Records };
            self.damage(segment, offset, reason, Some(Lost { first: self.next, last }), bytes);
            self.next = last.saturating_add(1);
            return;
        }
        if first > self.next {
            let lost = Lost { first: self.next, last: first - 1 };
            self.damage(segment, offset, Damage::Sequence, Some(lost), 0);
        }
        if frame.durable < self.durable {
            self.damage(segment, offset, Damage::Durable, None, 0);
        }
        self.durable = self.durable.max(frame.durable);
        self.next = last.saturating_add(1);
        self.is_sealed = frame.appender == APPENDER_OF_SEAL;
        self.events.push_back(Event::Frame);
    }

    /// What becomes of a place that is no frame: the end of its segment, or damage behind which the walk goes on.
    fn search(&mut self, mut scan: Scan, step: Step) -> Result<(), Error> {
        let (next, bound) = (self.next, self.bound());
        let offset = scan.offset();
        let reason = if step == Step::End { Damage::Missing } else { Damage::Frame };
        let segment = self.current.unwrap_or(next);
        if step == Step::End && bound == Some(next) {
            // Zeros, and nothing is missing.
            return Ok(());
        }
        let found = find(&scan, offset, &|sequence, _| sequence >= next && self.is_below_bound(sequence))?;
        if bound.is_none() {
            let is_proof = |sequence, durable| durable >= next && self.is_below_bound(sequence);
            let proof = match found {
                Some(found) => find(&scan, found, &is_proof)?,
                None => None,
            };
            if proof.is_none() && !(self.keeps_unproven && found.is_some()) {
                let torn_bytes = len_without_zeros(&scan, offset)?;
                self.end(offset, torn_bytes);
                return Ok(());
            }
            // What was proved is whole by now, if it is not damaged.
            scan.go_to(offset);
            if scan.step()? == Step::Frame {
                self.judge(&scan);
                self.scan = Some(scan);
                return Ok(());
            }
        }
        if let Some(found) = found {
            scan.go_to(found);
            let is_frame = scan.step()? == Step::Frame;
            let first = if is_frame { scan.frame().first_sequence().max(next) } else { next };
            let lost = (first > next).then(|| Lost { first: next, last: first - 1 });
            self.damage(segment, offset, reason, lost, found - offset);
            self.next = first;
            scan.go_to(found);
            self.scan = Some(scan);
        } else if let Some(bound) = bound {
            self.list_anew()?;
            if !self.was_removed() {
                let lost = (bound > next).then(|| Lost { first: next, last: bound - 1 });
                self.damage(segment, offset, reason, lost, len_without_zeros(&scan, offset)?);
                self.next = bound;
            }
        }
        Ok(())
    }

    /// Whether a frame with this sequence may be in the present segment.
    fn is_below_bound(&self, sequence: u64) -> bool {
        match self.bound() {
            Some(bound) => sequence < bound,
            None => sequence < self.next || frame::is_near(sequence, self.next),
        }
    }

    fn damage(&mut self, segment: u64, offset: u64, reason: Damage, lost: Option<Lost>, skipped_bytes: u64) {
        let segment = segment::name(segment);
        self.events.push_back(Event::Damage(Finding { segment, offset, reason, lost, skipped_bytes }));
    }

    fn end(&mut self, offset: u64, torn_bytes: u64) {
        let segment = segment::name(self.current.unwrap_or(self.next));
        let last = self.next - 1;
        let is_sealed = self.is_sealed && torn_bytes == 0;
        self.events.push_back(Event::End(End { segment, offset, torn_bytes, last, is_sealed }));
        self.is_over = true;
    }
}

/// What there is, and whose journal it is; `None` if no segment tells.
fn look(files: &Files) -> Result<(Listing, Option<JournalId>), Error> {
    let mut listing = files.list()?;
    loop {
        let journal = journal_of(files.storage.as_ref(), &listing.firsts)?;
        if journal.is_some() {
            return Ok((listing, journal));
        }
        // All of them may have been cut off before one was read, and then every segment to come would look misplaced.
        let again = files.list()?;
        if again == listing {
            return Ok((listing, None));
        }
        listing = again;
    }
}

/// The id that most of the headers agree on; without a sound one, what damaged ones still tell.
fn journal_of(storage: &dyn Storage, firsts: &[u64]) -> Result<Option<JournalId>, Error> {
    let mut found: Vec<(JournalId, u64)> = Vec::new();
    let mut mended = None;
    for &first in firsts {
        let name = segment::name(first);
        let file = match storage.open(&name) {
            Ok(file) => file,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("open {name}"))(error)),
        };
        let bytes = Scan::of(file, first).bytes(0, segment::HEADER_BYTES as u64)?;
        match segment::read_header(&bytes, first) {
            Header::Sound(journal) => match found.iter_mut().find(|(known, _)| *known == journal) {
                Some((_, count)) => *count += 1,
                None => found.push((journal, 1)),
            },
            Header::Damaged(Some(journal)) => mended = mended.or(Some(journal)),
            Header::Version(found) => {
                return Err(Error::Version { segment: name, found, wanted: segment::VERSION });
            }
            Header::Misplaced | Header::Damaged(None) => {}
        }
    }
    // Of those that are as many the oldest.
    Ok(found.into_iter().rev().max_by_key(|(_, count)| *count).map(|(journal, _)| journal).or(mended))
}
