//! `herald suppressions list|lift`: addresses that get nothing by a channel.

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{say, settings};
use crate::{
    app,
    config::operator,
    domain::{channel::MessageChannel, email::EmailAddress},
    engine::people::suppressions,
    state::Clock,
    store::address_suppression,
};

/// Addresses that get nothing by a channel: there is no such mailbox, or its owner has
/// unsubscribed.
#[derive(Debug, Args)]
pub(super) struct SuppressionsCommand {
    #[command(subcommand)]
    action: SuppressionsSubcommand,
}

#[derive(Debug, Subcommand)]
enum SuppressionsSubcommand {
    /// Lists them, newest first.
    List {
        /// 1 to 1000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// Show addresses in full.
        #[arg(long)]
        show: bool,
        /// As JSON, with addresses in full.
        #[arg(long)]
        json: bool,
    },
    /// Lets an address get messages again. Example: `herald suppressions lift asha@example.com`
    Lift {
        address: String,
        #[arg(long, default_value = "email")]
        channel: String,
    },
}

impl SuppressionsCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        match self.action {
            SuppressionsSubcommand::List { limit, show, json } => {
                let rows = address_suppression::newest(&engine.store, "", limit).await?;
                for row in &rows {
                    let masked = EmailAddress::parse(&row.address)
                        .map_or_else(|_| "…".to_owned(), |it| it.to_string());
                    let address = if show { &row.address } else { &masked };
                    let detail = row.detail.as_deref().unwrap_or_default();
                    if json {
                        say(json!({ "channel": row.channel, "address": row.address, "reason": row.reason,
                            "detail": row.detail, "since": row.created_at.to_string() }).to_string());
                    } else {
                        say(format!(
                            "{}  {}  {address}  {}  {detail}",
                            row.created_at, row.channel, row.reason
                        ));
                    }
                }
                if rows.is_empty() && !json {
                    say("No address is suppressed.");
                }
                Ok(())
            }
            SuppressionsSubcommand::Lift { address, channel } => {
                let channel =
                    MessageChannel::parse(&channel).context("--channel: such as email")?;
                let actor = format!("cli:{}", operator()?);
                let now = Clock::System.now();
                let is_lifted =
                    suppressions::lift(&engine, channel, address.trim(), &actor, now).await?;
                ensure!(
                    is_lifted,
                    "this address is not suppressed: herald suppressions list --show has those that are"
                );
                say("It gets messages again. Those that were skipped are not sent.");
                Ok(())
            }
        }
    }
}
