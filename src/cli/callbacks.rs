//! `herald callbacks list|show|replay`: the inbox of callbacks.

use anyhow::ensure;
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    domain::time::Timestamp,
    engine::ingest::{self, CallbackReplayOutcome},
    state::Clock,
    store::{Store, callback, dead_letter},
};

/// The inbox of callbacks and its dead letters.
#[derive(Debug, Args)]
pub(super) struct CallbacksCommand {
    #[command(subcommand)]
    action: CallbacksSubcommand,
}

#[derive(Debug, Subcommand)]
enum CallbacksSubcommand {
    /// Lists the newest callbacks, or the open dead letters.
    List {
        /// Dead letters instead: items that could not be applied.
        #[arg(long)]
        dead: bool,
        #[arg(long, default_value_t = 20)]
        limit: u32,
        #[arg(long)]
        json: bool,
    },
    /// Shows one callback: when it was received, its state, and its body. Example: `herald
    /// callbacks show 01a1fd51-1932-7b47-8061-a8647eec1a86`
    Show {
        /// The callback's id, as `list` shows it.
        id: Uuid,
    },
    /// Applies callbacks again; applying twice changes nothing.
    /// Example: `herald callbacks replay --since 2026-01-01T00:00:00Z --until 2026-01-01T01:00:00Z`
    Replay {
        /// The ids of callbacks.
        #[arg(required_unless_present_any = ["all_dead", "since"])]
        ids: Vec<Uuid>,
        /// Every callback with an open dead letter.
        #[arg(long)]
        all_dead: bool,
        /// Every callback received at or after this time (RFC 3339).
        #[arg(long, value_parser = instant)]
        since: Option<Timestamp>,
        /// With --since: only those received before this time.
        #[arg(long, value_parser = instant, requires = "since")]
        until: Option<Timestamp>,
    },
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .ok_or_else(|| "an instant such as 2026-01-01T00:00:00Z".to_owned())
}

async fn show(store: &Store, id: Uuid) -> anyhow::Result<()> {
    let Some(listed) = callback::one(store, id).await? else {
        anyhow::bail!("there is no callback {id}");
    };
    say(format!("callback   {}", listed.id));
    say(format!("received   {}", listed.received_at));
    say(format!("size       {} bytes", listed.size_bytes));
    say(format!(
        "processed  {}, {} items, {} dead",
        if listed.processed { "yes" } else { "no" },
        listed.items.unwrap_or(0),
        listed.dead_items.unwrap_or(0)
    ));
    for letter in dead_letter::open(store, Some(id), 1000).await? {
        say(format!("dead       {}  {}", letter.pointer, letter.reason));
    }
    match callback::body(store, id).await? {
        None => say("body       deleted after its retention time"),
        Some(body) if body.content.is_erased => say(format!("body       {}", ingest::ERASED)),
        Some(body) => {
            let pretty = serde_json::from_slice::<serde_json::Value>(&body.content.body)
                .ok()
                .and_then(|value| serde_json::to_string_pretty(&value).ok());
            say(pretty.unwrap_or_else(|| String::from_utf8_lossy(&body.content.body).into_owned()));
        }
    }
    Ok(())
}

impl CallbacksCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        match self.action {
            CallbacksSubcommand::List {
                dead: true,
                limit,
                json,
            } => {
                for letter in dead_letter::open(&store, None, u64::from(limit)).await? {
                    let at = Timestamp::from_micros(letter.created_at);
                    if json {
                        say(serde_json::json!({
                            "callback": letter.callback_id, "pointer": letter.pointer, "reason": letter.reason, "at": at.to_string(),
                        }).to_string());
                    } else {
                        let pointer = if letter.pointer.is_empty() {
                            "(the whole body)"
                        } else {
                            &letter.pointer
                        };
                        say(format!(
                            "{at}  {}  {pointer}\n    {}",
                            letter.callback_id, letter.reason
                        ));
                    }
                }
            }
            CallbacksSubcommand::List {
                dead: false,
                limit,
                json,
            } => {
                for listed in callback::newest(&store, i64::from(limit)).await? {
                    if json {
                        say(serde_json::to_string(&listed)?);
                    } else {
                        let state = match (listed.erased, listed.processed) {
                            (true, _) => "erased",
                            (false, true) => "processed",
                            (false, false) => "waiting",
                        };
                        say(format!(
                            "{}  {}  {:>8} bytes  {state:<9}  {} items, {} dead",
                            listed.received_at,
                            listed.id,
                            listed.size_bytes,
                            listed.items.unwrap_or(0),
                            listed.dead_items.unwrap_or(0)
                        ));
                    }
                }
                let waiting = callback::waiting(store.inbox().reader(), store.reader())
                    .await?
                    .callbacks;
                if !json && waiting > 0 {
                    say(format!("{waiting} callbacks wait to be processed."));
                }
            }
            CallbacksSubcommand::Show { id } => show(&store, id).await?,
            CallbacksSubcommand::Replay {
                mut ids,
                all_dead,
                since,
                until,
            } => {
                let engine = app::command_engine(&config, store.clone()).await?;
                if let Some(since) = since {
                    let until = until.unwrap_or_else(|| Clock::System.now());
                    ids.extend(callback::between(&store, since, until).await?);
                }
                if all_dead {
                    ids.extend(
                        dead_letter::open(&store, None, 10_000)
                            .await?
                            .into_iter()
                            .map(|letter| letter.callback_id),
                    );
                    ids.sort_unstable();
                    ids.dedup();
                }
                let mut still_dead = 0;
                for id in ids {
                    match ingest::replay(&engine, id, Clock::System.now()).await? {
                        CallbackReplayOutcome::NotFound => {
                            anyhow::bail!("there is no callback {id}, or its body was deleted")
                        }
                        CallbackReplayOutcome::Erased => say(format!("{id}: {}", ingest::ERASED)),
                        CallbackReplayOutcome::Applied(applied) => {
                            still_dead += applied.dead;
                            say(format!(
                                "{id}: {} items applied, {} dead",
                                applied.items, applied.dead
                            ));
                        }
                    }
                }
                ensure!(
                    still_dead == 0,
                    "{still_dead} items still cannot be applied: see `herald callbacks list --dead`"
                );
            }
        }
        Ok(())
    }
}
