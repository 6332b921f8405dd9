//! Worker that stores direct requests, until the channel is closed.

use std::sync::Arc;

use tokio::time::Instant;

use super::still_apart;
use crate::{
    engine::{Engine, intake::NotificationRequestQueue},
    state::Clock,
};

/// Stores requests as they gather.
pub async fn run(engine: Arc<Engine>, mut queue: NotificationRequestQueue, clock: Clock) {
    let mut begun_at = None;
    while queue.ready().await {
        tokio::time::sleep(still_apart(begun_at, Instant::now())).await;
        begun_at = Some(Instant::now());
        queue.turn(&engine, || clock.now()).await;
    }
}
