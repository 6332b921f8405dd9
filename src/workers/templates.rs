//! Worker that polls the accounts for the status of their templates: callbacks report it, too, but
//! not what happened before we were subscribed.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    engine::{Engine, delivery::templates},
    providers::HttpClient,
    state::Clock,
};

/// Meta limits these calls: 200 an hour for an account, and each process polls.
const NAP: Duration = Duration::from_mins(30);

/// Polls until stopped.
pub async fn run(engine: Arc<Engine>, http: HttpClient, clock: Clock, stop: CancellationToken) {
    super::run("templates", stop, NAP, None, async || {
        for (sender, why) in templates::refresh(&engine, &http, clock.now())
            .await?
            .unread
        {
            tracing::warn!(
                event = "templates.unreadable",
                sender.name = sender,
                why,
                "templates of the account could not be read"
            );
        }
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}
