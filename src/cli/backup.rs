//! `herald backup`: backs up the database.

use std::path::PathBuf;

use clap::Args;

use super::{say, settings};
use crate::{state::Clock, store::backup};

/// Backs the database up into one file, while servers run.
///
/// SQLite makes the copy itself, and the copy is read completely before it is accepted;
/// PostgreSQL's is made by pg_dump. The file is an archive with a manifest and checksums, and holds
/// all data: keep it as safe as the database. Without HERALD_SECRET_KEY it is worthless, and the
/// key is not in it: keep it elsewhere.
///
/// Example: `herald backup /backups/herald-$(date +%F).tar`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct BackupCommand {
    /// The file to write. Its folder needs room for twice the database.
    file: PathBuf,
    /// Overwrite an existing file.
    #[arg(long)]
    force: bool,
    /// Print the manifest as JSON.
    #[arg(long)]
    json: bool,
}

impl BackupCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let now = Clock::System.now();
        let manifest = backup::make(&config.database_url(), &self.file, self.force, now).await?;
        if self.json {
            say(serde_json::to_string(&manifest)?);
            return Ok(());
        }
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        say(format!(
            "Backed up to {}: {}, {bytes} bytes, schema {}.",
            self.file.display(),
            manifest.database.title(),
            manifest.schema_version(),
        ));
        match &manifest.secret_key_id {
            Some(id) => say(format!(
                "The backup is worthless without HERALD_SECRET_KEY (key {id}), which is not in it: keep the key elsewhere."
            )),
            None => say(
                "Nothing in the backup is encrypted yet: no server has started on this database.",
            ),
        }
        Ok(())
    }
}
