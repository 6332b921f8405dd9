//! `herald hold show|start|release`: the hold of all sending.

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{say, settings};
use crate::{
    app,
    config::operator,
    domain::{hold::HoldReason, phone, rule::parse_duration_seconds},
    engine::{
        Engine,
        admin::release::{self, HoldBacklog, HoldReleaseReport},
        runtime::hold::{self, HoldActor},
    },
    state::Clock,
};

/// The hold of all sending: shows it, starts it and releases it.
///
/// During a hold, callbacks and requests are accepted. One-time passwords requested since it began
/// are sent.
#[derive(Debug, Args)]
pub(super) struct SendingHoldCommand {
    #[command(subcommand)]
    action: Option<SendingHoldSubcommand>,
}

#[derive(Debug, Subcommand)]
enum SendingHoldSubcommand {
    /// Shows whether sending is on hold, the reason, and what a release would send.
    Show {
        /// Most messages listed, those that have waited longest first.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(0..=1000))]
        limit: i64,
        /// Show numbers and names in full.
        #[arg(long)]
        show: bool,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Holds sending. Example: `herald hold start --reason "moving to another machine"`
    Start {
        /// The reason, shown to others.
        #[arg(long)]
        reason: String,
    },
    /// Releases the hold. Example: `herald hold release --cancel-older-than 2h --dry-run`
    Release {
        /// Cancel messages requested longer ago than this: after a restore they may have been sent
        /// already.
        #[arg(long, value_name = "2h")]
        cancel_older_than: Option<String>,
        /// Only report what would be cancelled.
        #[arg(long)]
        dry_run: bool,
    },
}

impl SendingHoldCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        let actor = format!("cli:{}", operator()?);
        let by = HoldActor {
            actor: &actor,
            now: Clock::System.now(),
        };
        let action = self.action.unwrap_or(SendingHoldSubcommand::Show {
            limit: 20,
            show: false,
            json: false,
        });
        match action {
            SendingHoldSubcommand::Show { limit, show, json } => {
                let standing = release::standing(&engine, limit, by.now).await?;
                if json {
                    say(document(&standing).to_string());
                } else {
                    print(&standing, show);
                }
                Ok(())
            }
            SendingHoldSubcommand::Start { reason } => {
                let reason = reason.trim();
                ensure!(!reason.is_empty(), "--reason: a reason is needed");
                if hold::begin(&engine, by, HoldReason::Asked, Some(reason)).await? {
                    say(
                        "Sending is on hold. Callbacks and requests are accepted; only one-time passwords requested from now on are sent.",
                    );
                } else {
                    say("Sending was on hold already: herald hold show has the reason.");
                }
                Ok(())
            }
            SendingHoldSubcommand::Release {
                cancel_older_than,
                dry_run,
            } => release(&engine, by, cancel_older_than.as_deref(), dry_run).await,
        }
    }
}

async fn release(
    engine: &Engine,
    by: HoldActor<'_>,
    older_than: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let before = older_than
        .map(|text| {
            parse_duration_seconds(text)
                .map(|seconds| by.now.plus_seconds(-seconds))
                .context("--cancel-older-than: a number and s, m, h or d, such as 2h")
        })
        .transpose()?;
    let HoldReleaseReport {
        was_held,
        messages,
        follow_ups,
        events,
    } = release::release(engine, by, before, dry_run).await?;
    ensure!(was_held, "sending is not on hold");
    let word = if dry_run {
        "would be cancelled"
    } else {
        "cancelled"
    };
    if before.is_some() {
        say(format!(
            "{messages} messages, {follow_ups} follow-ups and the remaining messages of {events} events {word}."
        ));
    }
    if dry_run {
        say("Nothing was changed.");
    } else {
        say("The hold is released.");
    }
    Ok(())
}

fn print(standing: &HoldBacklog, show: bool) {
    match &standing.hold {
        Some(hold) => say(format!("{} Since {}.", hold.summary(), hold.since)),
        None => say("Sending is not on hold."),
    }
    if standing.waiting.is_empty() {
        say("No message is due.");
    } else {
        say("Due messages (number, category, age, template):");
    }
    for waiting in &standing.waiting {
        say(format!(
            "{:>8}  {:<16} {:<18} {}",
            waiting.count,
            waiting.category,
            waiting.age.sentence(),
            waiting.template
        ));
    }
    if standing.follow_ups > 0 || standing.events > 0 {
        say(format!(
            "Also waiting: {} due follow-ups, and {} events whose messages are not all created.",
            standing.follow_ups, standing.events
        ));
    }
    if !standing.messages.is_empty() {
        say("Due messages that have waited longest:");
    }
    for message in &standing.messages {
        let recipient = if show {
            message.recipient.clone()
        } else {
            phone::masked(&message.recipient)
        };
        say(format!(
            "{}  {}  {:<16} {:<24} {recipient}",
            message.id, message.created_at, message.category, message.template
        ));
    }
}

fn document(standing: &HoldBacklog) -> serde_json::Value {
    let waiting: Vec<_> = standing
        .waiting
        .iter()
        .map(|waiting| {
            json!({
                "category": waiting.category, "template": waiting.template,
                "age": waiting.age.name(), "count": waiting.count,
            })
        })
        .collect();
    let messages: Vec<_> = standing
        .messages
        .iter()
        .map(|message| {
            json!({
                "id": message.id, "created_at": message.created_at.to_string(),
                "category": message.category, "template": message.template,
            })
        })
        .collect();
    json!({
        "on_hold": standing.hold.is_some(),
        "reason": standing.hold.as_ref().map(|hold| hold.reason),
        "detail": standing.hold.as_ref().and_then(|hold| hold.detail.clone()),
        "since": standing.hold.as_ref().map(|hold| hold.since.to_string()),
        "waiting": waiting, "messages": messages,
        "follow_ups": standing.follow_ups, "events": standing.events,
    })
}
