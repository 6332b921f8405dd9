//! `herald migrate up|status`: the schema of the database.

use clap::{Args, Subcommand};

use super::{say, settings};
use crate::{
    app,
    store::{connect, migrate},
};

/// Applies migrations of the database's schema, or shows their state.
#[derive(Debug, Args)]
pub(super) struct MigrateCommand {
    #[command(subcommand)]
    action: MigrateSubcommand,
}

#[derive(Debug, Subcommand)]
enum MigrateSubcommand {
    /// Applies missing migrations. Several processes may do so at once.
    Up,
    /// Lists every migration. Exits with 1 if one is missing.
    Status,
}

impl MigrateCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::open_database(&config, connect::ConnectPurpose::Command).await?;
        let before = migrate::status(&store).await?;
        match self.action {
            MigrateSubcommand::Up => {
                migrate::up(&store).await?;
                let after = migrate::status(&store).await?;
                for (before, after) in before.iter().zip(&after) {
                    let did = match (before.applied, after.applied) {
                        (true, _) => "applied before",
                        (false, true) => "applied",
                        (false, false) => "NOT applied",
                    };
                    say(format!("{did:<14} {}", after.name));
                }
                anyhow::ensure!(
                    after.iter().all(|step| step.applied),
                    "not every migration was applied"
                );
                say("The schema is current.");
            }
            MigrateSubcommand::Status => {
                for step in &before {
                    say(format!(
                        "{:<8} {}",
                        if step.applied { "applied" } else { "missing" },
                        step.name
                    ));
                }
                anyhow::ensure!(
                    before.iter().all(|step| step.applied),
                    "migrations are missing: run `herald migrate up`"
                );
                say("The schema is current.");
            }
        }
        Ok(())
    }
}
