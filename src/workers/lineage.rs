//! Looks whether the database is still the one that was left.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{
    engine::{Engine, runtime::lineage},
    state::Clock,
};

/// What loses commits behind our back is noticed after this, even if nothing is sent; with
/// the next claim, if something is.
const NAP: Duration = Duration::from_secs(5);

/// Compares until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("lineage", stop, NAP, None, async || {
        lineage::turn(&engine, clock.now()).await?;
        Ok(Turn::Idle)
    })
    .await;
}
