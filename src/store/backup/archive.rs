//! The archive format of a backup: a tar file of a manifest, its checksum, and the files it names.
//!
//! It is written to `FILE.partial`, synced, renamed, and its folder synced. A reader reads all of
//! it and compares every checksum before anything is changed.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tar::{Archive, Builder, Header};

use super::{
    BackupError,
    manifest::{BackupFileEntry, BackupManifest, FORMAT},
};
use crate::{domain::time::Timestamp, store::whole_file};

const MANIFEST: &str = "manifest.json";

/// The checksum of the manifest, in hex.
const MANIFEST_SUM: &str = "manifest.json.sha256";

/// No manifest is longer.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// Length and SHA-256 of what can be read, which is copied to `to`.
fn digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut sum = Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece)?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        sum.update(read);
        to.write_all(read)?;
        bytes += u64::try_from(count).unwrap_or(0);
    }
    Ok((bytes, hex::encode(sum.finalize())))
}

/// Describes a file that goes into an archive.
pub(super) fn describe(
    name: &str,
    path: &Path,
    written_by: &str,
) -> Result<BackupFileEntry, BackupError> {
    let failed = |error| BackupError::file(path, error);
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let (bytes, sha256) = digest(&mut file, &mut io::sink()).map_err(failed)?;
    Ok(BackupFileEntry {
        name: name.to_owned(),
        written_by: written_by.to_owned(),
        bytes,
        sha256,
    })
}

/// Writes an archive of files that the manifest describes, in its order.
pub(super) fn write(
    target: &Path,
    manifest: &BackupManifest,
    paths: &[PathBuf],
    now: Timestamp,
) -> Result<(), BackupError> {
    let failed = |error| BackupError::file(target, error);
    let partial = whole_file::ScratchFile(whole_file::beside(target, "partial"));
    let file = whole_file::create_private(&partial.0).map_err(failed)?;
    let mut archive = Builder::new(BufWriter::with_capacity(PIECE, file));
    let modified = now.unix_seconds().max(0).unsigned_abs();
    let header = |bytes: u64| {
        let mut header = Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(modified);
        header
    };
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| failed(error.into()))?;
    let sum = hex::encode(Sha256::digest(&text));
    for (name, text) in [(MANIFEST, text.as_slice()), (MANIFEST_SUM, sum.as_bytes())] {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        archive
            .append_data(&mut header(bytes), name, text)
            .map_err(failed)?;
    }
    for (entry, path) in manifest.files.iter().zip(paths) {
        let file = File::open(path).map_err(|error| BackupError::file(path, error))?;
        archive
            .append_data(&mut header(entry.bytes), &entry.name, file)
            .map_err(failed)?;
    }
    let finish = || -> io::Result<()> {
        let buffer = archive.into_inner()?;
        let file = buffer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        whole_file::put_in_place(&partial.0, target)
    };
    finish().map_err(failed)
}

/// Reads all of an archive and compares every checksum.
pub fn verify(path: &Path) -> Result<BackupManifest, BackupError> {
    read(path, None)
}

/// The same, and writes one of its files to where it is wanted, synced.
pub(super) fn extract(path: &Path, name: &str, to: &Path) -> Result<BackupManifest, BackupError> {
    read(path, Some((name, to)))
}

fn read(path: &Path, wanted: Option<(&str, &Path)>) -> Result<BackupManifest, BackupError> {
    let damaged = |finding: &str| BackupError::Damaged {
        path: path.display().to_string(),
        finding: finding.to_owned(),
    };
    let torn = |error: io::Error| damaged(&error.to_string());
    let file = File::open(path).map_err(|error| BackupError::file(path, error))?;
    let mut archive = Archive::new(BufReader::with_capacity(PIECE, file));
    let mut entries = archive.entries().map_err(torn)?;
    let mut first = |expected: &str| -> Result<Vec<u8>, BackupError> {
        let entry = entries
            .next()
            .ok_or_else(|| damaged("it ends too early"))?
            .map_err(torn)?;
        if entry.path().map_err(torn)?.as_ref() != Path::new(expected) {
            return Err(damaged("it is no backup of Herald's"));
        }
        let mut text = Vec::new();
        entry
            .take(MAX_MANIFEST_BYTES)
            .read_to_end(&mut text)
            .map_err(torn)?;
        Ok(text)
    };
    let text = first(MANIFEST)?;
    let sum = first(MANIFEST_SUM)?;
    if hex::encode(Sha256::digest(&text)).as_bytes() != sum {
        return Err(damaged("its manifest has another checksum"));
    }
    let format: ArchiveFormat = serde_json::from_slice(&text)
        .map_err(|_unreadable| damaged("its manifest cannot be read"))?;
    if format.format > FORMAT {
        return Err(BackupError::NewerFormat(format.format));
    }
    let manifest: BackupManifest = serde_json::from_slice(&text)
        .map_err(|_unreadable| damaged("its manifest cannot be read"))?;
    let mut found = 0;
    for entry in entries {
        let mut entry = entry.map_err(torn)?;
        let name = entry.path().map_err(torn)?.to_string_lossy().into_owned();
        let Some(expected) = manifest.files.get(found).filter(|file| file.name == name) else {
            return Err(damaged("it holds a file that its manifest does not name"));
        };
        found += 1;
        let same = match wanted.filter(|(wanted, _)| *wanted == name) {
            Some((_, to)) => {
                let failed = |error| BackupError::file(to, error);
                let mut out = whole_file::create_private(to).map_err(failed)?;
                let same = digest(&mut entry, &mut out).map_err(torn)?;
                out.sync_all().map_err(failed)?;
                same
            }
            None => digest(&mut entry, &mut io::sink()).map_err(torn)?,
        };
        if same != (expected.bytes, expected.sha256.clone()) {
            return Err(damaged(&format!("{name} has another checksum")));
        }
    }
    if found != manifest.files.len() {
        return Err(damaged("it ends too early"));
    }
    Ok(manifest)
}

/// Parsed first: the rest may differ in a later format.
#[derive(serde::Deserialize)]
struct ArchiveFormat {
    format: u32,
}
