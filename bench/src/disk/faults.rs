//! Disks that fail: a small file system that another file fills, and a library between the
//! server and its files.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;

use crate::system::run;

/// A small file system in memory. Dropped, it is unmounted.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that was just killed may still hold a file.
        drop(run("umount", &["-l", &self.path.display().to_string()]));
    }
}

impl SmallDisk {
    /// Mounts `mebibytes` at `path`, which is made.
    pub fn mount(path: PathBuf, mebibytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&path)?;
        let (size, place) = (format!("size={mebibytes}m"), path.display().to_string());
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &place])
            .context("a tmpfs cannot be mounted: this needs root")?;
        Ok(Self { path })
    }

    /// Makes it read-only, which needs that nothing has a file open for writing.
    pub fn read_only(&self) -> anyhow::Result<()> {
        run(
            "mount",
            &["-o", "remount,ro", &self.path.display().to_string()],
        )
    }

    pub fn writable(&self) -> anyhow::Result<()> {
        run(
            "mount",
            &["-o", "remount,rw", &self.path.display().to_string()],
        )
    }
}

/// How often room that came back is taken again.
const REFILL: Duration = Duration::from_millis(5);

/// A file that takes all room of its file system, and keeps it. Dropped, it is removed.
pub struct Ballast {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    filling: Option<JoinHandle<()>>,
}

impl Ballast {
    pub fn fill(disk: &Path) -> anyhow::Result<Self> {
        let path = disk.join("ballast");
        let mut file = File::create(&path)?;
        fill(&mut file);
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let filling = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                fill(&mut file);
                std::thread::sleep(REFILL);
            }
        });
        Ok(Self {
            path,
            is_over,
            filling: Some(filling),
        })
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(filling) = self.filling.take() {
            drop(filling.join());
        }
        drop(std::fs::remove_file(&self.path));
    }
}

fn fill(file: &mut File) {
    let zeros = vec![0; 256 * 1024];
    let mut size = zeros.len();
    while size > 0 {
        let piece = zeros.get(..size).unwrap_or_default();
        if file.seek(SeekFrom::End(0)).is_err() || file.write_all(piece).is_err() {
            size /= 2;
        }
    }
}

/// What the library does to writes; the numbers are those of `faults.c`.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    Nothing = 0,
    IoError = 1,
    ReadOnly = 2,
    SyncFails = 3,
    ShortWrite = 4,
}

/// The library, built, and the file that switches it.
pub struct Switch {
    library: PathBuf,
    control: PathBuf,
    file: File,
}

impl Switch {
    /// Builds the library in `folder`.
    pub fn build(folder: &Path) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("faults.c"), folder.join("faults.so"));
        std::fs::write(&source, include_str!("faults.c"))?;
        let (from, to) = (source.display().to_string(), library.display().to_string());
        run("cc", &["-shared", "-fPIC", "-O1", "-o", &to, &from, "-ldl"])?;
        let control = folder.join("fault");
        std::fs::write(&control, [0; 4096])?;
        let file = OpenOptions::new().read(true).write(true).open(&control)?;
        Ok(Self {
            library,
            control,
            file,
        })
    }

    /// The settings of a server whose files in `folder` are to fail.
    pub fn settings(&self, folder: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("HERALD_BENCH_FAULT", self.control.display().to_string()),
            ("HERALD_BENCH_FAULT_FOLDER", folder.display().to_string()),
        ]
    }

    /// Turns a failure on, or all off.
    pub fn set(&self, failure: Failure) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&[failure as u8], 0)?)
    }

    /// How often a failure struck since the library was built.
    pub fn strikes(&self) -> anyhow::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, 4)?;
        Ok(u32::from_ne_bytes(bytes))
    }
}
