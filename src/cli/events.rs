//! `herald events list|show|replay`: events that products have posted.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app, config,
    domain::{access::AccessBounds, time::Timestamp},
    engine::intake::{self, EventReplayOutcome, EventRouteResult},
    state::Clock,
    store::event,
};

/// Events that products have posted, and the results of their routes.
#[derive(Debug, Args)]
pub(super) struct EventsCommand {
    #[command(subcommand)]
    action: EventsSubcommand,
}

#[derive(Debug, Subcommand)]
enum EventsSubcommand {
    /// Lists events, newest first. Example: `herald events list --errors`
    List {
        /// Only of this type.
        #[arg(long = "type")]
        kind: Option<String>,
        /// Only those with a route that could not be evaluated.
        #[arg(long)]
        errors: bool,
        /// Only those whose type has no route.
        #[arg(long)]
        unrouted: bool,
        /// 1 to 1000.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one event: the results of its routes, and its messages.
    Show {
        id: Uuid,
        /// Show its data; sensitive data are never shown.
        #[arg(long)]
        show: bool,
    },
    /// Runs those routes again that did not fire or could not be evaluated, after the catalogue was
    /// corrected. No recipient gets a message twice.
    Replay { id: Uuid },
}

fn results(row: &entity::event::Model) -> Vec<EventRouteResult> {
    serde_json::from_str(&row.routes).unwrap_or_default()
}

fn line(result: &EventRouteResult) -> String {
    let made = match (result.notifications, result.skipped) {
        (0, _) => String::new(),
        (many, 0) => format!(", messages: {many}"),
        (many, skipped) => format!(", messages: {many}, {skipped} of them skipped"),
    };
    let reason = result
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    let duplicates = match result.duplicates.len() {
        0 => String::new(),
        many => format!(", already created before: {many}"),
    };
    format!(
        "  {}: {}{made}{duplicates}{reason}",
        result.route,
        result.outcome.text()
    )
}

impl EventsCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        match self.action {
            EventsSubcommand::List {
                kind,
                errors,
                unrouted,
                limit,
                json,
            } => {
                let found = event::newest(
                    &store,
                    &AccessBounds::All,
                    kind.as_deref(),
                    event::EventListFilter { errors, unrouted },
                    limit,
                )
                .await?;
                if json {
                    let all: Vec<Value> = found
                        .iter()
                        .map(|row| {
                            json!({
                                "id": row.id, "source": row.source, "external_id": row.external_id,
                                "type": row.event_type, "state": row.state, "routes": results(row),
                                "at": Timestamp::from_micros(row.created_at).to_string(),
                            })
                        })
                        .collect();
                    say(json!(all).to_string());
                    return Ok(());
                }
                for row in &found {
                    say(format!(
                        "{}  {}  {} ({} of {}){}",
                        row.id,
                        Timestamp::from_micros(row.created_at),
                        row.event_type,
                        row.external_id,
                        row.source,
                        if row.state == "expanding" {
                            ", its messages are still being created"
                        } else {
                            ""
                        }
                    ));
                    for result in results(row) {
                        say(line(&result));
                    }
                }
            }
            EventsSubcommand::Show { id, show } => {
                let Some(row) = event::shown(&store, &AccessBounds::All, id).await? else {
                    bail!("there is no event {id}");
                };
                say(format!(
                    "{} ({} of {}), {}",
                    row.event_type,
                    row.external_id,
                    row.source,
                    Timestamp::from_micros(row.created_at)
                ));
                for result in results(&row) {
                    say(line(&result));
                }
                for id in event::notifications(&store, &AccessBounds::All, row.id, 100).await? {
                    say(format!("  notification {id}"));
                }
                if show {
                    say(match (row.sealed, row.data.as_str()) {
                        (true, _) => {
                            "  its data are sensitive: they are encrypted, and not shown".to_owned()
                        }
                        (false, "") => "  its data were sensitive, and have been wiped".to_owned(),
                        (false, data) => format!("  {data}"),
                    });
                }
            }
            EventsSubcommand::Replay { id } => {
                let engine = app::command_engine(&config, store).await?;
                let actor = format!("cli:{}", config::operator()?);
                match intake::replay(&engine, &AccessBounds::All, id, &actor, Clock::System.now())
                    .await?
                {
                    EventReplayOutcome::NotFound => bail!("there is no event {id}"),
                    EventReplayOutcome::No(why) => bail!("{why}"),
                    EventReplayOutcome::Yes(results) => {
                        for result in results {
                            say(line(&result));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
