//! Endpoints for the hold of all sending.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProblemDocument, read_json, wrong};
use crate::{
    domain::{category::MessageCategory, hold::HoldReason},
    engine::{
        admin::release::{self, HoldBacklog},
        runtime::hold::{self, HoldActor},
    },
    http::{
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::AppState,
};

/// Messages that are listed.
const LISTED: i64 = 100;

/// A reason is at most so long, in characters.
const MAX_REASON: usize = 200;

/// Whether sending is on hold, and what a release would send.
#[derive(Debug, Serialize, ToSchema)]
pub struct SendingHoldView {
    on_hold: bool,
    /// `asked`, `restored`, `copied`, `newer_mark`, `went_back`, `lost_attempt`,
    /// `other_cluster`, `older_timeline` or `mark_unreadable`.
    reason: Option<&'static str>,
    /// The operator's text, or the figures that led to it.
    detail: Option<String>,
    since: Option<String>,
    /// Due messages, by kind and age.
    waiting: Vec<HeldMessageCountView>,
    /// The due messages that have waited longest, up to 100.
    messages: Vec<ReleasableMessageView>,
    /// Due follow-ups, which fire after the release.
    follow_ups: i64,
    /// Events that are not fully expanded.
    events: i64,
}

/// Messages of one kind and age.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldMessageCountView {
    #[schema(value_type = MessageCategory)]
    category: String,
    template: String,
    /// `under_ten_minutes`, `under_an_hour`, `under_six_hours`, `under_a_day` or `older`.
    age: &'static str,
    count: i64,
}

/// A message that a release would send.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleasableMessageView {
    id: Uuid,
    created_at: String,
    #[schema(value_type = MessageCategory)]
    category: String,
    template: String,
}

impl From<HoldBacklog> for SendingHoldView {
    fn from(standing: HoldBacklog) -> Self {
        let hold = standing.hold;
        Self {
            on_hold: hold.is_some(),
            reason: hold.as_ref().map(|hold| hold.reason.name()),
            since: hold.as_ref().map(|hold| hold.since.to_string()),
            detail: hold.and_then(|hold| hold.detail),
            waiting: standing
                .waiting
                .into_iter()
                .map(|waiting| HeldMessageCountView {
                    category: waiting.category,
                    template: waiting.template,
                    age: waiting.age.name(),
                    count: waiting.count,
                })
                .collect(),
            messages: standing
                .messages
                .into_iter()
                .map(|message| ReleasableMessageView {
                    id: message.id,
                    created_at: message.created_at.to_string(),
                    category: message.category,
                    template: message.template,
                })
                .collect(),
            follow_ups: standing.follow_ups,
            events: standing.events,
        }
    }
}

async fn answer(state: &AppState) -> Result<HttpResponse, ApiProblem> {
    let standing = release::standing(&state.engine, LISTED, state.clock.now()).await?;
    Ok(HttpResponse::Ok().json(SendingHoldView::from(standing)))
}

fn by<'a>(state: &AppState, client: &'a AuthenticatedApiClient) -> HoldActor<'a> {
    HoldActor {
        actor: &client.actor,
        now: state.clock.now(),
    }
}

/// Whether sending is on hold, and what a release would send. Needs the scope `hold:read`.
#[utoipa::path(
    get, path = "/api/v1/hold", operation_id = "get_hold", tag = "account",
    responses((status = 200, body = SendingHoldView), (status = 403, body = ProblemDocument))
)]
pub async fn get(
    _caller: AuthorizedApiClient<scope::HoldRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    answer(&state).await
}

/// Why sending is held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalHoldRequestBody {
    reason: String,
}

/// Holds sending.
///
/// Callbacks and requests are accepted, but nothing is sent except one-time passwords requested
/// from now on. Needs the scope `hold:write`.
#[utoipa::path(
    post, path = "/api/v1/hold", operation_id = "start_hold", tag = "account", request_body = GlobalHoldRequestBody,
    responses((status = 200, body = SendingHoldView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn start(
    caller: AuthorizedApiClient<scope::HoldWrite>,
    state: web::Data<AppState>,
    JsonBody(asked): JsonBody<GlobalHoldRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(wrong("/reason", format!("1 to {MAX_REASON} characters")));
    }
    hold::begin(
        &state.engine,
        by(&state, &caller),
        HoldReason::Asked,
        Some(reason),
    )
    .await?;
    answer(&state).await
}

/// Options of a release.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GlobalReleaseRequestBody {
    /// Messages requested longer ago than this, in seconds, are cancelled: they may have been sent
    /// already.
    cancel_older_than_seconds: Option<i64>,
    /// Only report what would be cancelled.
    #[serde(default)]
    dry_run: bool,
}

/// What a release cancelled, or would cancel.
#[derive(Debug, Serialize, ToSchema)]
pub struct GlobalReleaseResponse {
    was_on_hold: bool,
    cancelled_messages: u64,
    cancelled_follow_ups: u64,
    ended_events: u64,
}

/// Releases the hold of all sending. Needs the scope `hold:write`.
#[utoipa::path(
    post, path = "/api/v1/hold/release", operation_id = "release_hold", tag = "account", request_body = GlobalReleaseRequestBody,
    responses((status = 200, body = GlobalReleaseResponse), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn release(
    caller: AuthorizedApiClient<scope::HoldWrite>,
    state: web::Data<AppState>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let asked: GlobalReleaseRequestBody = if body.is_empty() {
        GlobalReleaseRequestBody::default()
    } else {
        read_json(&body)?
    };
    let by = by(&state, &caller);
    let before = match asked.cancel_older_than_seconds {
        Some(seconds) if seconds < 0 => {
            return Err(wrong("/cancel_older_than_seconds", "0 or more".to_owned()));
        }
        seconds => seconds.map(|seconds| by.now.plus_seconds(seconds.saturating_neg())),
    };
    let released = release::release(&state.engine, by, before, asked.dry_run).await?;
    Ok(HttpResponse::Ok().json(GlobalReleaseResponse {
        was_on_hold: released.was_held,
        cancelled_messages: released.messages,
        cancelled_follow_ups: released.follow_ups,
        ended_events: released.events,
    }))
}
