//! A file system with hardly any room, as a disk that fills up.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// A tmpfs of a few megabytes. Only root may mount one; elsewhere the test fails.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount").args(arguments).arg(at).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "a small file system cannot be mounted (mount {arguments:?}): this test needs root"
    );
}

impl SmallDisk {
    pub fn new(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes the last byte of room.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let block = [7_u8; 4096];
        while filler.write_all(&block).is_ok() {}
        while filler.write_all(&block[..1]).is_ok() {}
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    pub fn read_only(&self, read_only: bool) {
        let options = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        mount(&["-o", options], self.path());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is still stopping has files open.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}
