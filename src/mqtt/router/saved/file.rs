//! The file that an image is kept in, and the thread that writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use super::super::message::Ms;
use super::Image;
use super::decode::decode;
use super::encode::encode;
use crate::clock::Clock;
use crate::units::TimestampMs;

/// What a file is called until all of it is durable.
const UNFINISHED: &str = "unfinished";

/// What a file is called that did not read.
const UNUSABLE: &str = "unusable";

/// Who may read and write the file: its owner, since it holds what clients told each other.
const MODE: u32 = 0o600;

/// Reads the image in a file, if there is one. One that does not read is told, and set aside for whoever wants to know why.
pub(in crate::mqtt::router) fn load(path: &Path, now: Ms, at: TimestampMs) -> Option<Image> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            set_aside(path, &error.to_string());
            return None;
        }
    };
    decode(&bytes, now, at).map_err(|error| set_aside(path, &error.to_string())).ok()
}

fn set_aside(path: &Path, error: &str) {
    let aside = path.with_extension(UNUSABLE);
    tracing::error!(
        path = %path.display(), aside = %aside.display(), error,
        "saved mqtt sessions and retained messages cannot be read: beginning without them, fixes are not concerned"
    );
    if let Err(error) = fs::rename(path, aside) {
        tracing::error!(%error, "and the file cannot be set aside: the next save replaces it");
    }
}

/// Writes images, one at a time.
pub(in crate::mqtt::router) struct Saver {
    images: SyncSender<Image>,
    thread: JoinHandle<()>,
}

impl Saver {
    /// Starts its thread.
    pub(in crate::mqtt::router) fn start(path: PathBuf, clock: Clock) -> io::Result<Self> {
        let (images, images_in) = sync_channel(1);
        let thread = thread::Builder::new().name("mqtt-saver".into()).spawn(move || run(&path, &clock, &images_in))?;
        Ok(Self { images, thread })
    }

    /// Has an image written; false if it still writes the one before. Never blocks.
    pub(in crate::mqtt::router) fn save(&self, image: Image) -> bool {
        !matches!(self.images.try_send(image), Err(TrySendError::Full(_)))
    }

    /// Has a last image written. Blocks until it is durable.
    pub(in crate::mqtt::router) fn finish(self, image: Option<Image>) {
        let Self { images, thread } = self;
        if let Some(image) = image {
            // An error says that it is gone, which the join tells.
            drop(images.send(image));
        }
        drop(images);
        if thread.join().is_err() {
            tracing::error!("the thread that saves mqtt sessions panicked, which is a fault of the program's");
        }
    }
}

fn run(path: &Path, clock: &Clock, images: &Receiver<Image>) {
    let mut has_failed = false;
    while let Ok(image) = images.recv() {
        match write(path, &image, clock.now()) {
            Ok(()) => has_failed = false,
            Err(error) if has_failed => tracing::debug!(%error, "mqtt sessions still cannot be saved"),
            Err(error) => {
                has_failed = true;
                tracing::warn!(
                    %error, path = %path.display(),
                    "cannot save mqtt sessions and retained messages, a restart would not have what changed: see to the disk"
                );
            }
        }
    }
}

/// Writes the whole file or leaves the one before.
fn write(path: &Path, image: &Image, at: TimestampMs) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    // One that a crash left keeps the mode that it has, whatever is asked for.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = BufWriter::new(OpenOptions::new().write(true).create_new(true).mode(MODE).open(&unfinished)?);
    encode(image, at, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(unfinished, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
