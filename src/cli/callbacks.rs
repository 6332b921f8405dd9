//! `herald callbacks list|replay`

use anyhow::ensure;
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    domain::time::Timestamp,
    engine::apply,
    state::Clock,
    store::{callback, dead_letter},
};

/// The inbox of callbacks and its dead letters.
#[derive(Debug, Args)]
pub(super) struct Callbacks {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
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
    /// Applies a callback again; applying twice changes nothing.
    Replay {
        /// The callback's id.
        #[arg(required_unless_present = "all_dead")]
        id: Option<Uuid>,
        /// Every callback with an open dead letter.
        #[arg(long)]
        all_dead: bool,
    },
}

impl Callbacks {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        match self.action {
            Action::List {
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
            Action::List {
                dead: false,
                limit,
                json,
            } => {
                for listed in callback::newest(&store, i64::from(limit)).await? {
                    if json {
                        say(serde_json::to_string(&listed)?);
                    } else {
                        let state = if listed.processed {
                            "processed"
                        } else {
                            "waiting"
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
                let (waiting, _) = callback::waiting(&store).await?;
                if !json && waiting > 0 {
                    say(format!("{waiting} callbacks wait to be processed."));
                }
            }
            Action::Replay { id, all_dead } => {
                let engine = app::command_engine(&config, store.clone());
                let mut ids: Vec<Uuid> = id.into_iter().collect();
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
                    match apply::replay(&engine, id, Clock::System.now()).await? {
                        None => anyhow::bail!("there is no callback {id}, or its body was deleted"),
                        Some(applied) => {
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
                    "{still_dead} items are still dead: see `herald callbacks list --dead`"
                );
            }
        }
        Ok(())
    }
}
