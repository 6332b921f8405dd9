//! `herald restore`: restores a backup.

use std::path::PathBuf;

use clap::Args;

use super::{say, settings};
use crate::{config::Config, engine::runtime::vault::Vault, state::Clock, store::backup};

/// Replaces the database by a backup. Stop every server first.
///
/// The whole archive is read and compared with its checksums before anything is changed. The next
/// server starts with sending on hold: messages that were due when the backup was made may have
/// been sent since. `herald hold show` lists them, `herald hold release` continues.
///
/// Example: `herald restore /backups/herald-2026-11-28.tar --replace`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RestoreCommand {
    /// The backup file.
    file: PathBuf,
    /// Replace an existing database. It is kept: as FILE.before-restore-TIME, or in PostgreSQL as
    /// the schema before_restore_TIME.
    #[arg(long)]
    replace: bool,
    /// Only read the backup and compare its checksums.
    #[arg(long)]
    verify: bool,
}

impl RestoreCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        if self.verify {
            let manifest =
                tokio::task::spawn_blocking(move || backup::verify(&self.file)).await??;
            say(format!(
                "The backup is intact: {}, made at {}, schema {}.",
                manifest.database.title(),
                manifest.created_at,
                manifest.schema_version()
            ));
            warn_of_key(&config, manifest.secret_key_id.as_deref());
            return Ok(());
        }
        let now = Clock::System.now();
        let done = backup::restore(&config.database_url(), &self.file, self.replace, now).await?;
        say(format!(
            "Restored: {} as of {}, schema {}.",
            done.manifest.database.title(),
            done.manifest.created_at,
            done.manifest.schema_version()
        ));
        if let Some(kept) = &done.kept {
            say(format!("The previous database is kept as {kept}."));
        }
        warn_of_key(&config, done.manifest.secret_key_id.as_deref());
        say(
            "The next `herald serve --migrate` starts with sending on hold. Check `herald hold show`, then `herald hold release`.",
        );
        Ok(())
    }
}

/// Warns if the configured key does not open the encrypted rows.
fn warn_of_key(config: &Config, of_backup: Option<&str>) {
    let Some(of_backup) = of_backup else { return };
    let key = |key: Option<&secrecy::SecretString>| {
        key.and_then(|key| Vault::new(key, None).ok())
            .map(|vault| vault.key_id().to_owned())
    };
    let here = [
        key(config.secrets.key.as_ref()),
        key(config.secrets.previous_key.as_ref()),
    ];
    if here.iter().flatten().any(|id| id == of_backup) {
        say(format!(
            "HERALD_SECRET_KEY opens what is encrypted in the backup (key {of_backup})."
        ));
    } else {
        say(format!(
            "WARNING: the backup was made with the HERALD_SECRET_KEY whose id is {of_backup}, and that key is not set here. Without it, encrypted data are lost."
        ));
    }
}
