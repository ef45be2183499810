//! A disk in memory that can fail and lose power: a crash leaves what was synced, and of the rest whatever chance does.
//!
//! A file is what was synced, and the changes since. A crash takes each of its sectors from before any of those changes or
//! behind one of them, each sector by itself, and a length from in between: writes are reordered and torn. Names are what
//! was synced, and the changes since; a crash keeps any of those and forgets the others. That is harsher than ext4 and
//! XFS, which bring changes of one directory to the disk in their order; what they hold too is that a rename takes one name
//! away and gives the other in one. A failed sync loses what it was to make durable: programs still read it, and no later
//! sync brings it to the disk, as Linux does it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use crate::journal::storage::{Storage, StorageFile};

/// The system's numbers for what disks say.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Read,
    Write,
    SetLength,
    Sync,
    Rename,
    Remove,
    SyncNames,
}

/// What happens in place of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It fails with this number and does nothing; a sync loses what it was to make durable.
    Errno(i32),
    /// A write fails with this number after so many bytes.
    Short(usize, i32),
    /// It and everything behind it fails, until the machine or the program is started again.
    PowerOff,
}

/// A fault, and what it waits for.
#[derive(Clone, Copy, Debug)]
struct Planned {
    /// `None`: any change.
    operation: Option<Operation>,
    /// Operations of that kind that are let through before.
    skip: u64,
    fault: Fault,
}

/// Numbers that only look as if by chance: the same for the same seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `end`. SplitMix64 (Steele, Lea, Flood 2014).
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// By the numbers that names stand for. None is ever given up.
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    planned: Vec<Planned>,
    /// Asked for so far, reads not counted.
    changes: u64,
    is_off: bool,
}

#[derive(Clone, Debug)]
struct NameChange {
    gone: Option<String>,
    come: Option<(String, usize)>,
}

/// What a file holds; zeros at its end are not kept, for the journal zeroes far ahead.
#[derive(Clone, Debug, Default)]
struct Bytes {
    held: Vec<u8>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What programs read.
    seen: Bytes,
    synced: Bytes,
    changes: Vec<Change>,
    /// How many changes of the disk there had been at its last.
    changed_at: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Bytes),
    SetLength(usize),
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        let held = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self { held: bytes[..held].to_vec(), len: bytes.len() }
    }

    /// What is held from `begin` on and before `end`.
    fn held_between(&self, begin: usize, end: usize) -> &[u8] {
        let end = end.min(self.held.len());
        &self.held[begin.min(end)..end]
    }

    fn write(&mut self, offset: usize, written: &Self) {
        let end = offset + written.len;
        let zeroed = end.min(self.held.len());
        self.held[offset.min(zeroed)..zeroed].fill(0);
        if !written.held.is_empty() {
            let held_end = offset + written.held.len();
            self.held.resize(self.held.len().max(held_end), 0);
            self.held[offset..held_end].copy_from_slice(&written.held);
        }
        self.len = self.len.max(end);
    }

    fn set_len(&mut self, len: usize) {
        self.held.truncate(len);
        self.len = len;
    }

    fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.held.clone();
        bytes.resize(self.len, 0);
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Bytes) {
        match self {
            Self::Write(offset, written) => bytes.write(*offset, written),
            Self::SetLength(len) => bytes.set_len(*len),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, number)) = &self.come {
            names.insert(name.clone(), *number);
        }
    }
}

impl Content {
    fn of(bytes: Bytes) -> Self {
        Self { seen: bytes.clone(), synced: bytes, ..Self::default() }
    }

    fn change(&mut self, change: Change, changed_at: u64) {
        change.apply(&mut self.seen);
        self.changes.push(change);
        self.changed_at = changed_at;
    }

    fn sync(&mut self) {
        self.changes.drain(..).for_each(|change| change.apply(&mut self.synced));
    }

    fn after_crash(&self, sector_bytes: usize, chance: &mut Chance) -> Bytes {
        let mut versions = vec![self.synced.clone()];
        for change in &self.changes {
            let mut next = versions[versions.len() - 1].clone();
            change.apply(&mut next);
            versions.push(next);
        }
        let lens = || versions.iter().map(|version| version.len);
        let (shortest, longest) = (lens().min().unwrap_or(0), lens().max().unwrap_or(0));
        let len = match chance.below(2) {
            0 => versions[chance.below(versions.len())].len,
            _ => (shortest + chance.below(longest - shortest + 1)).next_multiple_of(sector_bytes).min(longest),
        };
        let mut held = vec![0; versions.iter().map(|version| version.held.len()).max().unwrap_or(0).min(len)];
        for (number, sector) in held.chunks_mut(sector_bytes).enumerate() {
            let begin = number * sector_bytes;
            let from = versions[chance.below(versions.len())].held_between(begin, begin + sector.len());
            sector[..from.len()].copy_from_slice(from);
        }
        Bytes { held, len }
    }
}

impl State {
    /// Lets an operation begin, or says what happens in its place.
    fn begin(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        if self.is_off {
            return Err(errno(EIO));
        }
        self.changes += u64::from(operation != Operation::Read);
        let concerns = |planned: &Planned| match planned.operation {
            Some(of) => of == operation,
            None => operation != Operation::Read,
        };
        let Some(at) = self.planned.iter().position(concerns) else { return Ok(None) };
        if self.planned[at].skip > 0 {
            self.planned[at].skip -= 1;
            return Ok(None);
        }
        let fault = self.planned.remove(at).fault;
        self.is_off = matches!(fault, Fault::PowerOff);
        if self.is_off { Err(errno(EIO)) } else { Ok(Some(fault)) }
    }

    /// As [`State::begin`], for what either happens or does not.
    fn begin_whole(&mut self, operation: Operation) -> io::Result<()> {
        match self.begin(operation)? {
            Some(Fault::Errno(number) | Fault::Short(_, number)) => Err(errno(number)),
            _ => Ok(()),
        }
    }

    fn number_of(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// Has an operation of this kind fail, once, after `skip` of them.
    pub(crate) fn fail(&self, operation: Operation, skip: u64, fault: Fault) {
        self.state().planned.push(Planned { operation: Some(operation), skip, fault });
    }

    /// Has any change fail, once, after `skip` of them.
    pub(crate) fn fail_any(&self, skip: u64, fault: Fault) {
        self.state().planned.push(Planned { operation: None, skip, fault });
    }

    /// How many changes were asked for so far.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// What the next program finds where this one was killed and the machine ran on.
    pub(crate) fn after_kill(&self) -> Self {
        Self::of(State { planned: Vec::new(), changes: 0, is_off: false, ..self.state().clone() })
    }

    /// As [`Disk::after_kill`], after the system needed its memory: what failed syncs lost is seen no more.
    pub(crate) fn after_kill_and_eviction(&self) -> Self {
        let disk = self.after_kill();
        for file in &mut disk.state().files {
            file.seen.clone_from(&file.synced);
            file.changes.iter().for_each(|change| change.apply(&mut file.seen));
        }
        disk
    }

    /// What is left after the machine crashed now.
    pub(crate) fn after_crash(&self, chance: &mut Chance) -> Self {
        let state = self.state();
        let mut names = state.synced_names.clone();
        state.name_changes.iter().filter(|_| chance.below(2) == 0).for_each(|change| change.apply(&mut names));
        let sector_bytes = [512, 4_096][chance.below(2)];
        let files = state.files.iter().map(|file| Content::of(file.after_crash(sector_bytes, chance))).collect();
        Self::of(State { files, synced_names: names.clone(), names, ..State::default() })
    }

    /// What is left after the machine crashed now and nothing reached the disk that was not synced.
    pub(crate) fn after_crash_with_what_was_synced(&self) -> Self {
        let state = self.state();
        let files = state.files.iter().map(|file| Content::of(file.synced.clone())).collect();
        let names = state.synced_names.clone();
        Self::of(State { files, synced_names: names.clone(), names, ..State::default() })
    }

    /// The content of a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].seen.to_vec()
    }

    /// Gives a file this content, durably.
    pub(crate) fn overwrite(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let number = state.names[name];
        state.files[number] = Content::of(Bytes::of(bytes));
    }

    /// The names of all files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    fn file(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.begin_whole(Operation::Read)?;
        Ok(Box::new(Handle { disk: self.clone(), number: state.number_of(name)? }))
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.state().begin_whole(Operation::Read)?;
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.begin_whole(Operation::Create)?;
        // One that has the name is emptied and stays the same file.
        let changed_at = state.changes;
        let number = match state.number_of(name) {
            Ok(number) => number,
            Err(_) => {
                state.files.push(Content::default());
                let number = state.files.len() - 1;
                state.change_names(NameChange { gone: None, come: Some((name.to_owned(), number)) });
                number
            }
        };
        state.files[number].change(Change::SetLength(0), changed_at);
        Ok(Box::new(Handle { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.file(name)
    }

    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.file(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::Rename)?;
        let number = state.number_of(from)?;
        state.change_names(NameChange { gone: Some(from.to_owned()), come: Some((to.to_owned(), number)) });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::Remove)?;
        state.number_of(name)?;
        state.change_names(NameChange { gone: Some(name.to_owned()), come: None });
        Ok(())
    }

    /// One that fails leaves the changes to the next: file systems keep names in a journal of their own.
    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole(Operation::SyncNames)?;
        state.name_changes.clear();
        state.synced_names = state.names.clone();
        Ok(())
    }
}

/// A file that is open.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    number: usize,
}

impl StorageFile for Handle {
    fn len_bytes(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.begin_whole(Operation::Read)?;
        Ok(state.files[self.number].seen.len as u64)
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        let seconds = self.disk.state().files[self.number].changed_at;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.begin_whole(Operation::Read)?;
        // One byte short, to see that nobody takes a short read for the end.
        let wanted = if buffer.len() > 1 { buffer.len() - 1 } else { buffer.len() };
        let seen = &state.files[self.number].seen;
        let len = wanted.min(seen.len.saturating_sub(offset as usize));
        let held = seen.held_between(offset as usize, offset as usize + len);
        buffer[..len].fill(0);
        buffer[..held.len()].copy_from_slice(held);
        Ok(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let (written, result) = match state.begin(Operation::Write)? {
            Some(Fault::Short(len, number)) => (&bytes[..len.min(bytes.len())], Err(errno(number))),
            Some(Fault::Errno(number)) => return Err(errno(number)),
            _ => (bytes, Ok(())),
        };
        let changed_at = state.changes;
        state.files[self.number].change(Change::Write(offset as usize, Bytes::of(written)), changed_at);
        result
    }

    fn set_len_bytes(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_whole(Operation::SetLength)?;
        let changed_at = state.changes;
        state.files[self.number].change(Change::SetLength(len as usize), changed_at);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = state.begin_whole(Operation::Sync);
        let is_off = state.is_off;
        let file = &mut state.files[self.number];
        match begun {
            Ok(()) => file.sync(),
            // With the power gone they are still on their way: any of them may have arrived.
            Err(_) if is_off => {}
            Err(_) => file.changes.clear(),
        }
        begun
    }
}
