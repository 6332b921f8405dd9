//! Permissions of files: only the user that Herald runs as may read them. The database holds
//! numbers and texts of people, and so does a backup of it.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::sqlite_file::inbox_of;

/// Read and written by its owner.
const FILE: u32 = 0o600;

/// Entered and listed by its owner.
const FOLDER: u32 = 0o700;

/// The permissions of others.
const OTHERS: u32 = 0o077;

/// Files beside a SQLite file: SQLite itself makes the first two with the permissions of the
/// database. The second file has its own.
const BESIDE: [&str; 8] = [
    "-wal",
    "-shm",
    "-journal",
    ".lock",
    ".inbox",
    ".inbox-wal",
    ".inbox-shm",
    ".inbox-journal",
];

/// Creates a folder and its parents for their owner alone. Existing ones stay as they are.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)
}

/// The same for a folder of Herald's own (`HERALD_DATA_DIR`): an existing one is closed to others,
/// too.
pub fn own_folder(folder: &Path) -> io::Result<()> {
    make_folder(folder)?;
    close(folder, FOLDER)
}

/// Opens a file to write, which is made for its owner alone if it is not there.
pub fn open_private(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE)
        .open(path)
}

/// Creates the two SQLite files of a database if there are none, and closes them and the files beside
/// them to others. An empty file is an empty database.
pub fn own_database(path: &Path) -> io::Result<()> {
    for path in [path, &inbox_of(path)] {
        if !path.try_exists()? {
            open_private(path)?;
        }
    }
    for file in files(path) {
        close(&file, FILE)?;
    }
    Ok(())
}

/// The files of a SQLite database that others may read or write, and its folder if others may
/// change its entries.
pub fn open_to_others(path: &Path) -> Vec<PathBuf> {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |found| found.permissions().mode());
    let mut open: Vec<PathBuf> = files(path)
        .into_iter()
        .filter(|file| mode(file) & OTHERS != 0)
        .collect();
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // In a sticky folder such as /tmp only owners take their files away.
    if mode(folder) & 0o022 != 0 && mode(folder) & 0o1000 == 0 {
        open.push(folder.to_owned());
    }
    open
}

fn files(path: &Path) -> Vec<PathBuf> {
    let beside = BESIDE.iter().map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    [path.to_owned()].into_iter().chain(beside).collect()
}

/// Removes the permissions of others; a file that is missing or not ours stays as it is.
fn close(path: &Path, mode: u32) -> io::Result<()> {
    let permissions = match fs::metadata(path) {
        Ok(found) => found.permissions(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if permissions.mode() & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        // Not ours, or on a file system without permissions: `check` says so.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        changed => changed,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{open_to_others, own_database, own_folder};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn open(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_for_its_owner_and_what_was_open_is_closed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("one/two");
        own_folder(&folder).unwrap();
        assert_eq!(
            (mode(&folder), mode(&place.path().join("one"))),
            (0o700, 0o700)
        );
        let database = folder.join("herald.sqlite");
        own_database(&database).unwrap();
        assert_eq!(mode(&database), 0o600);
        assert!(open_to_others(&database).is_empty());
        let log = folder.join("herald.sqlite-wal");
        fs::write(&log, "").unwrap();
        for (path, how) in [(&database, 0o644), (&log, 0o660), (&folder, 0o777)] {
            open(path, how);
        }
        let found = open_to_others(&database);
        assert_eq!(found, [database.clone(), log.clone(), folder.clone()]);
        own_database(&database).unwrap();
        own_folder(&folder).unwrap();
        assert_eq!(
            (mode(&database), mode(&log), mode(&folder)),
            (0o600, 0o600, 0o700)
        );
        assert!(open_to_others(&database).is_empty());
    }
}
