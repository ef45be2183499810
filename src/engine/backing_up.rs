//! `rhumb backup` and `rhumb restore` on a data directory that no engine uses.

use std::path::Path;

use super::core;
use crate::backup::{self, Manifest};
use crate::config::Config;

/// Copies the data directory into `to`. Blocks for the disk.
///
/// # Errors
/// [`super::Failure::InUse`] if an engine runs on it: that one has to be asked. [`backup::Error`] for what is wrong with
/// the directories.
pub fn back_up(config: &Config, to: &Path) -> anyhow::Result<Manifest> {
    let directory = &config.data_dir;
    if !directory.is_dir() {
        return Err(backup::Error::Nothing(directory.clone()).into());
    }
    let _lock = core::take(directory)?;
    Ok(backup::back_up(directory, to, &config.store)?)
}

/// Makes the data directory, which must be empty or not there, of a backup. Blocks for the disk.
///
/// # Errors
/// [`backup::Error`] for what is wrong with the backup or the directory.
pub fn restore(config: &Config, from: &Path) -> anyhow::Result<Manifest> {
    Ok(backup::restore(from, &config.data_dir)?)
}
