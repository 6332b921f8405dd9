//! The manifest of a backup.

use serde::{Deserialize, Serialize};

/// The format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// Which database a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupDatabaseKind {
    Sqlite,
    Postgresql,
}

impl BackupDatabaseKind {
    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
        }
    }
}

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFileEntry {
    /// Its path in the archive.
    pub name: String,
    /// The program that wrote it, with its version.
    pub written_by: String,
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
}

/// The manifest of a backup. It holds no secret: of the secret key only its id in ciphertexts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    pub format: u32,
    /// The version of the program that made it.
    pub herald: String,
    /// RFC 3339.
    pub created_at: String,
    pub database: BackupDatabaseKind,
    /// The installation it is of; absent when it was never started.
    pub installation: Option<String>,
    /// How far the installation had come.
    pub state_mark: i64,
    /// Migrations that were applied, oldest first. The last one is the schema's version.
    pub migrations: Vec<String>,
    /// The id of the `HERALD_SECRET_KEY` that opens its encrypted rows.
    pub secret_key_id: Option<String>,
    pub files: Vec<BackupFileEntry>,
}

impl BackupManifest {
    /// The newest migration in it.
    pub fn schema_version(&self) -> &str {
        self.migrations.last().map_or("none", String::as_str)
    }
}
