//! Stores direct requests, until nobody can ask any more.

use std::sync::Arc;

use crate::{
    engine::{Engine, accept::Queue},
    state::Clock,
};

/// Stores what has gathered, again and again.
pub async fn run(engine: Arc<Engine>, mut queue: Queue, clock: Clock) {
    while queue.turn(&engine, || clock.now()).await.is_some() {}
}
