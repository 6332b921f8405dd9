//! Endpoints for people: contacts with their identity, preferences and opt-outs, and staff. What
//! several of them use is here.

pub mod contact_changes;
pub mod contacts;
pub mod identity;
pub mod preferences;
pub mod staff;
pub mod suppressed_addresses;

use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    domain::access::AccessBounds,
    engine::people::PeopleActor,
    http::{auth::AuthenticatedApiClient, problem::ApiProblem},
    state::AppState,
    store::people as rows,
};

/// Number of rows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LimitQuery {
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// The client as the actor of a change.
fn by<'a>(client: &'a AuthenticatedApiClient, state: &AppState) -> PeopleActor<'a> {
    PeopleActor {
        actor: &client.actor,
        now: state.clock.now(),
        bounds: &client.bounds,
    }
}

/// The contact of an id, or the one it was merged into.
async fn known(state: &AppState, bounds: &AccessBounds, id: Uuid) -> Result<Uuid, ApiProblem> {
    let reader = state.engine.store.reader();
    let id = rows::current(reader, id).await?;
    rows::details(reader, bounds, id)
        .await?
        .map(|_| id)
        .ok_or(ApiProblem::NotFound)
}
