//! Endpoints for addresses that get nothing by a channel.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{access::AccessBounds, channel::MessageChannel},
    engine::people::suppressions,
    http::{
        api::{ProblemDocument, page_size},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::address_suppression::{self, SuppressedAddress},
};

/// An address that gets nothing by a channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressedAddressView {
    #[schema(value_type = MessageChannel)]
    channel: String,
    /// In lower case.
    address: String,
    /// `bounced`: there is no such mailbox. `unsubscribed`: its owner wants only what cannot be
    /// refused.
    reason: String,
    /// What the mail server said.
    detail: Option<String>,
    since: String,
}

impl From<SuppressedAddress> for SuppressedAddressView {
    fn from(row: SuppressedAddress) -> Self {
        Self {
            channel: row.channel,
            address: row.address,
            reason: row.reason,
            detail: row.detail,
            since: row.created_at.to_string(),
        }
    }
}

/// How many are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SuppressedAddressesQuery {
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// Addresses that get nothing by a channel, newest first.
///
/// They are known to all products, so the list is empty for a key that is bound to one.
#[utoipa::path(
    get, path = "/api/v1/suppressed-addresses", operation_id = "list_suppressed_addresses", tag = "contacts",
    params(SuppressedAddressesQuery),
    responses((status = 200, body = Vec<SuppressedAddressView>), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    query: web::Query<SuppressedAddressesQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let found: Vec<SuppressedAddressView> = match caller.bounds {
        AccessBounds::All => address_suppression::newest(&state.engine.store, "", limit)
            .await?
            .into_iter()
            .map(Into::into)
            .collect(),
        AccessBounds::Product(_) => Vec::new(),
    };
    Ok(HttpResponse::Ok().json(found))
}

/// Lifts the suppression of an address: it gets messages by this channel again.
#[utoipa::path(
    delete, path = "/api/v1/suppressed-addresses/{channel}/{address}", operation_id = "lift_suppression", tag = "contacts",
    params(("channel" = String, Path, description = "`email`"), ("address" = String, Path, description = "The address")),
    responses((status = 204, description = "Lifted"), (status = 404, body = ProblemDocument))
)]
pub async fn lift(
    caller: AuthorizedApiClient<scope::ContactsWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiProblem> {
    let (channel, address) = path.into_inner();
    let channel = MessageChannel::parse(&channel).ok_or(ApiProblem::NotFound)?;
    if !matches!(caller.bounds, AccessBounds::All) {
        return Err(ApiProblem::NotFound);
    }
    let now = state.clock.now();
    if suppressions::lift(&state.engine, channel, &address, &caller.actor, now).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(ApiProblem::NotFound)
    }
}
