//! `herald retry ID`

use anyhow::bail;
use clap::Args;
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    engine::manual::{self, Done},
    state::Clock,
};

/// Queues a failed notification again, in a new generation.
#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The notification's id.
    id: Uuid,
    /// Also what was delivered, or may have been: a second copy is accepted.
    #[arg(long)]
    even_if_delivered: bool,
}

impl Retry {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?);
        match manual::retry(
            &engine,
            self.id,
            self.even_if_delivered,
            Clock::System.now(),
        )
        .await?
        {
            Done::Yes => say("Queued again."),
            Done::No(reason) => bail!("not retried: {reason}"),
            Done::NotFound => bail!("there is no notification {}", self.id),
        }
        Ok(())
    }
}
