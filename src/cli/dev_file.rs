//! The settings of a running `herald dev`, for commands beside it.
//!
//! `dev` creates its token and secrets at each start and keeps them in a file that only its owner
//! can read. The file is locked as long as `dev` runs: the file of a killed process is ignored.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};

use crate::config::SettingValues;

const NAME: &str = "dev.env";

/// The file while `dev` runs; it is gone afterwards.
#[derive(Debug)]
pub(super) struct DevServerConnectionFile {
    path: std::path::PathBuf,
    _locked: File,
}

impl DevServerConnectionFile {
    /// Writes the settings for other commands.
    pub(super) fn write(directory: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let path = directory.join(NAME);
        let failed = || format!("{} cannot be written", path.display());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("{}: another herald dev runs here", path.display()))?;
        file.set_len(0).with_context(failed)?;
        for (name, value) in settings {
            writeln!(file, "{name}={value}").with_context(failed)?;
        }
        Ok(Self {
            path,
            _locked: file,
        })
    }
}

impl Drop for DevServerConnectionFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Fills in missing settings from a running `dev` with this data directory. Returns whether there
/// is one.
pub(super) fn fill(values: &mut SettingValues) -> bool {
    let directory = values
        .get("HERALD_DATA_DIR")
        .map_or_else(|| "./data".to_owned(), Clone::clone);
    let Ok(mut file) = File::open(Path::new(&directory).join(NAME)) else {
        return false;
    };
    // If it can be locked, its `dev` no longer runs.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return false;
    }
    let mut text = String::new();
    if file.read_to_string(&mut text).is_err() {
        return false;
    }
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        values
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    true
}
