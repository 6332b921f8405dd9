//! Tells open pages of changes, while there are any.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{
    engine::{Engine, runtime::live_pages},
    state::Clock,
};

/// Pages are told no more often.
const NAP: Duration = Duration::from_secs(1);

/// Looks until stopped; then lets all listeners go.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("live", stop, NAP, Some(&engine.live.opened), async || {
        live_pages::turn(&engine, clock.now()).await?;
        Ok(Turn::Idle)
    })
    .await;
    engine.live.end();
}
