//! A disk in memory that forgets what was not synced when the power goes, fails when told to, and counts.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use super::*;

/// All files, by name. Names are durable at once.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Mutex<BTreeMap<String, Arc<Mutex<Content>>>>,
    switches: Arc<Switches>,
}

#[derive(Debug, Default)]
struct Switches {
    syncs: AtomicU64,
    sync_fails: AtomicBool,
    /// Bytes that are taken from the free ones, so that by default none are.
    missing_bytes: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug)]
struct DiskFile {
    content: Arc<Mutex<Content>>,
    switches: Arc<Switches>,
}

impl Disk {
    /// What is left if the process ends now: all that was written, or after a loss of power, all that was synced.
    pub(super) fn after_crash(&self, has_lost_power: bool) -> Arc<Self> {
        let left = |(name, file): (&String, &Arc<Mutex<Content>>)| {
            let Content { bytes, synced } = file.lock().unwrap().clone();
            let bytes = if has_lost_power { synced } else { bytes };
            (name.clone(), Arc::new(Mutex::new(Content { synced: bytes.clone(), bytes })))
        };
        let files = self.files.lock().unwrap().iter().map(left).collect();
        Arc::new(Self { files: Mutex::new(files), switches: Arc::default() })
    }

    /// How many syncs of files succeeded.
    pub(super) fn syncs(&self) -> u64 {
        self.switches.syncs.load(Ordering::SeqCst)
    }

    /// From now on no sync succeeds.
    pub(super) fn fail_syncs(&self) {
        self.switches.sync_fails.store(true, Ordering::SeqCst);
    }

    /// From now on so much is free.
    pub(super) fn set_free(&self, bytes: u64) {
        self.switches.missing_bytes.store(u64::MAX - bytes, Ordering::SeqCst);
    }

    /// Opens the journal on it and gives the times of all fixes found.
    pub(super) fn open(self: &Arc<Self>, config: &Config) -> (Journal, Vec<i64>) {
        let mut found = Vec::new();
        let storage: Arc<dyn Storage> = Arc::clone(self) as Arc<dyn Storage>;
        let mut apply = |frame: &Frame<'_>| {
            found.extend(times(frame));
            Ok(())
        };
        let (journal, _) = Unopened::on(storage).open(config, &Resume::default(), &mut apply).unwrap();
        (journal, found)
    }

    fn find(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let files = self.files.lock().unwrap();
        let content = Arc::clone(files.get(name).ok_or(io::ErrorKind::NotFound)?);
        Ok(Box::new(DiskFile { content, switches: Arc::clone(&self.switches) }))
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.files.lock().unwrap().insert(name.to_owned(), Arc::default());
        self.find(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.find(name)
    }

    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.find(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let free_bytes = u64::MAX - self.switches.missing_bytes.load(Ordering::SeqCst);
        // So small that nothing is reserved.
        Ok(Space { free_bytes, total_bytes: 0 })
    }
}

impl StorageFile for DiskFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().bytes.len() as u64)
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let rest = content.bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let (begin, end) = (offset as usize, offset as usize + bytes.len());
        let len = content.bytes.len().max(end);
        content.bytes.resize(len, 0);
        content.bytes[begin..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len_bytes(&self, len: u64) -> io::Result<()> {
        self.content.lock().unwrap().bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.switches.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let mut content = self.content.lock().unwrap();
        content.synced = content.bytes.clone();
        self.switches.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
