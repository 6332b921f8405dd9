//! Stores direct requests, until nobody can ask any more.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    engine::{Engine, accept::Queue},
    state::Clock,
};

/// Transactions begin at least so far apart: the first request is stored at once, those
/// that come after it are stored together.
const APART: Duration = Duration::from_millis(6);

/// Stores what has gathered, again and again.
pub async fn run(engine: Arc<Engine>, mut queue: Queue, clock: Clock) {
    let mut next = Instant::now();
    while queue.ready().await {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + APART;
        queue.turn(&engine, || clock.now()).await;
    }
}
