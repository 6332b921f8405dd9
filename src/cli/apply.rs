//! `herald apply FILE…`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::{complain, say, settings};
use crate::{
    app,
    engine::catalogue::{self, ApplyError},
    state::Clock,
};

/// Loads catalogues: templates, people, routes and rules.
///
/// Applying is idempotent. Each file is applied as a whole or not at all, and
/// changes only rows of its own catalogue.
///
/// Example: `herald apply deploy/catalogues/demo.toml`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Apply {
    /// Catalogue files (TOML).
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Apply {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let mut refused = false;
        for file in &self.files {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            match catalogue::apply(&store, &text, Clock::System.now()).await {
                Ok(done) if done.unchanged => say(format!("{}: unchanged", file.display())),
                Ok(done) => {
                    say(format!("{}: {} rows written", file.display(), done.written));
                    for removed in done.removed {
                        say(format!("  removed {removed}"));
                    }
                }
                Err(ApplyError::Mistakes(mistakes)) => {
                    refused = true;
                    for mistake in mistakes.0 {
                        complain(&format!("{}: {mistake}", file.display()));
                    }
                }
                Err(ApplyError::Store(error)) => return Err(error.into()),
            }
        }
        if refused {
            bail!("nothing of a file with mistakes was applied");
        }
        Ok(())
    }
}
