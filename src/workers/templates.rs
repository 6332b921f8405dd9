//! Asks the accounts what has been decided of their templates: callbacks tell of it, too, but
//! not of what happened before we listened.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{
    engine::{Engine, delivery::templates},
    providers::HttpClient,
    state::Clock,
};

/// Meta counts these calls by the hour: 200 for an account, and each process asks.
const NAP: Duration = Duration::from_mins(30);

/// Asks until stopped.
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
        Ok(Turn::Idle)
    })
    .await;
}
