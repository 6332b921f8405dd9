//! Endpoints for inbound messages and voice calls.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use actix_web::{HttpResponse, http::header, web};
use entity::inbound_message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{ProblemDocument, cut, instant, page_size, wrong};
use crate::{
    domain::{
        access::{AccessBounds, ApiKeyScope},
        phone::Phone,
        time::Timestamp,
        voice_call::{VoiceCallDirection, VoiceCallState, VoiceCallSummary},
    },
    engine::ingest::voice_call::VoiceCallRecord,
    http::{
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    providers::{MessageSender, ProviderQueryError},
    state::AppState,
    store::{
        Store,
        alias::{self, ContactAlias},
        inbound::{self, InboundListFilter, InboundProviderId},
        notification, people,
    },
};

/// Largest file that is fetched: WhatsApp's own limit for anything but documents.
const MAX_MEDIA_BYTES: usize = 16 * 1024 * 1024;

/// Filter of messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct InboundMessagesQuery {
    /// A number in E.164.
    phone: Option<String>,
    /// A contact's id.
    contact: Option<Uuid>,
    /// Written at or after this time (RFC 3339).
    since: Option<String>,
    /// `next` of the previous page.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// A message of a person, or a voice call.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundMessageView {
    id: Uuid,
    /// The provider's id of it. Absent unless the key has `contacts:read`: a number can be decoded
    /// from it.
    provider_message_id: Option<String>,
    /// The provider's word: `text`, `image`, `button`, …; `call` for a call.
    kind: String,
    /// Its readable text: the text, a caption, the title of a tapped button.
    text: Option<String>,
    /// The payload of a tapped button, or the answers of a form.
    payload: Option<String>,
    /// The object named after the kind, as received; for a call, the list of its reports.
    #[schema(value_type = Object)]
    content: Value,
    /// The state of a call.
    call: Option<VoiceCallView>,
    contact: Option<Uuid>,
    /// The notification it answers, reacts to, or is about.
    notification: Option<Uuid>,
    /// The message that it quotes, reacts to, edits or deletes, if a person wrote that.
    about: Option<Uuid>,
    /// The author of a quoted message, or that it was forwarded.
    #[schema(value_type = Object)]
    context: Value,
    /// The advertisement it came through.
    #[schema(value_type = Object)]
    referral: Value,
    /// Errors that the provider reports for it.
    #[schema(value_type = Object)]
    errors: Value,
    /// The group it was written in.
    group: Option<String>,
    /// A file that `media` fetches, for some days.
    has_media: bool,
    /// The reaction was removed.
    removed: bool,
    sent_at: String,
    received_at: String,
}

/// A voice call.
#[derive(Debug, Serialize, ToSchema)]
pub struct VoiceCallView {
    /// `user_initiated` or `business_initiated`.
    #[schema(value_type = String)]
    direction: VoiceCallDirection,
    /// `ringing`, `accepted`, `rejected`, `missed` (a person called, and it was not answered),
    /// `completed`, or `failed` (we called, and the person did not answer).
    #[schema(value_type = String)]
    state: VoiceCallState,
    offered_at: Option<String>,
    accepted_at: Option<String>,
    ended_at: Option<String>,
    duration_seconds: Option<i64>,
    /// There is a recording, which `media` fetches.
    has_recording: bool,
}

impl From<VoiceCallSummary> for VoiceCallView {
    fn from(summary: VoiceCallSummary) -> Self {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            direction: summary.direction,
            state: summary.state,
            offered_at: text(summary.offered_at),
            accepted_at: text(summary.accepted_at),
            ended_at: text(summary.ended_at),
            duration_seconds: summary.duration_seconds,
            has_recording: summary.recording.is_some(),
        }
    }
}

/// A page of messages, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundMessageListResponse {
    messages: Vec<InboundMessageView>,
    next: Option<Uuid>,
}

fn view(row: inbound_message::Model, about: Option<Uuid>, shows_ids: bool) -> InboundMessageView {
    let item: Value = serde_json::from_str(&row.item).unwrap_or(Value::Null);
    let part = |key: &str| item.get(key).cloned().unwrap_or(Value::Null);
    let provider_id = InboundProviderId::of(&row.provider_message_id);
    let call = match provider_id {
        InboundProviderId::Call(_) => Some(VoiceCallRecord::read(&row.item)),
        InboundProviderId::Message(_) => None,
    };
    let removed = row.kind == "reaction" && row.text.is_none();
    InboundMessageView {
        id: row.id,
        provider_message_id: shows_ids.then(|| provider_id.id().to_owned()),
        content: match &call {
            Some(record) => json!(record.raw()),
            None => part(&row.kind),
        },
        call: call.map(|record| record.summary().into()),
        about,
        context: part("context"),
        referral: part("referral"),
        errors: part("errors"),
        kind: row.kind,
        text: row.text,
        payload: row.payload,
        contact: row.contact_id,
        notification: row.notification_id,
        group: row.group_id,
        has_media: row.media_id.is_some(),
        removed,
        sent_at: Timestamp::from_micros(row.sent_at).to_string(),
        received_at: Timestamp::from_micros(row.created_at).to_string(),
    }
}

/// Inbound messages and voice calls, newest first. Those of deleted people are erased.
#[utoipa::path(
    get, path = "/api/v1/messages", operation_id = "list_messages", tag = "messages", params(InboundMessagesQuery),
    responses((status = 200, body = InboundMessageListResponse), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    caller: AuthorizedApiClient<scope::MessagesRead>,
    state: web::Data<AppState>,
    query: web::Query<InboundMessagesQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let limit = page_size(query.limit)?;
    let since = query
        .since
        .as_deref()
        .map(|since| instant("since", since))
        .transpose()?;
    let mut contact = match query.contact {
        Some(contact) => Some(people::current(store.reader(), contact).await?),
        None => None,
    };
    if let Some(phone) = &query.phone {
        let phone = Phone::parse(phone).map_err(|error| wrong("phone", error.to_string()))?;
        let owner = alias::owner_known(
            store.reader(),
            &caller.bounds,
            &ContactAlias::of_phone(&phone),
        )
        .await?;
        match owner {
            Some(person) if contact.is_none_or(|contact| contact == person) => {
                contact = Some(person);
            }
            _ => {
                return Ok(HttpResponse::Ok().json(InboundMessageListResponse {
                    messages: Vec::new(),
                    next: None,
                }));
            }
        }
    }
    let filter = InboundListFilter {
        contact,
        since,
        before: query.cursor,
    };
    let mut rows = inbound::newest(store, &caller.bounds, filter, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| row.id);
    let messages = views(store, &caller, rows).await?;
    Ok(HttpResponse::Ok().json(InboundMessageListResponse { messages, next }))
}

/// Messages as the caller may see them: other owners' notifications and messages are not named.
async fn views(
    store: &Store,
    caller: &AuthenticatedApiClient,
    mut rows: Vec<inbound_message::Model>,
) -> Result<Vec<InboundMessageView>, ApiProblem> {
    let bounds = &caller.bounds;
    if bounds.product().is_some() {
        let named: Vec<Uuid> = rows.iter().filter_map(|row| row.notification_id).collect();
        let own = notification::find_all(store, bounds, &named).await?;
        let own: HashSet<Uuid> = own.into_iter().map(|row| row.id).collect();
        for row in &mut rows {
            row.notification_id = row.notification_id.filter(|id| own.contains(id));
        }
    }
    let named: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.context_message_id.as_deref())
        .collect();
    let known = inbound::of_provider_ids(store, bounds, &named).await?;
    let known: HashMap<(&str, &str), Uuid> = known
        .iter()
        .map(|row| {
            let provider_id = InboundProviderId::of(&row.provider_message_id);
            ((provider_id.id(), row.endpoint_id.as_str()), row.id)
        })
        .collect();
    let shows_ids = caller.scopes.has(ApiKeyScope::ContactsRead);
    Ok(rows
        .into_iter()
        .map(|row| {
            let named = row.context_message_id.as_deref();
            let about = named.and_then(|id| known.get(&(id, row.endpoint_id.as_str())).copied());
            view(row, about, shows_ids)
        })
        .collect())
}

async fn found(
    state: &AppState,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<inbound_message::Model, ApiProblem> {
    inbound::find(state.engine.store.reader(), bounds, id)
        .await?
        .ok_or(ApiProblem::NotFound)
}

/// One message.
#[utoipa::path(
    get, path = "/api/v1/messages/{id}", operation_id = "get_message", tag = "messages", params(("id" = Uuid, Path)),
    responses((status = 200, body = InboundMessageView), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::MessagesRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, *id).await?;
    let shown = views(&state.engine.store, &caller, vec![row]).await?;
    let shown = shown.into_iter().next().ok_or(ApiProblem::NotFound)?;
    Ok(HttpResponse::Ok().json(shown))
}

/// The file of a message, fetched from the provider now.
///
/// Always as a download: it comes from a stranger.
#[utoipa::path(
    get, path = "/api/v1/messages/{id}/media", operation_id = "get_message_media", tag = "messages", params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument), (status = 502, body = ProblemDocument),
        (status = 503, body = ProblemDocument))
)]
pub async fn media(
    caller: AuthorizedApiClient<scope::MessagesRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, *id).await?;
    let media = row.media_id.ok_or(ApiProblem::NotFound)?;
    let provider = provider(&state, row.sender_id)?;
    let inbox = provider.inbox().ok_or(ProviderQueryError::Unsupported);
    let media = inbox
        .map_err(asked)?
        .media(&media, MAX_MEDIA_BYTES)
        .await
        .map_err(asked)?;
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("X-Media-Type", media.mime_type))
        .insert_header((header::CONTENT_DISPOSITION, "attachment"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .body(media.content))
}

/// Marks the message, and all before it, as read for the person.
#[utoipa::path(
    post, path = "/api/v1/messages/{id}/read", operation_id = "mark_message_read", tag = "messages", params(("id" = Uuid, Path)),
    responses((status = 200), (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 502, body = ProblemDocument), (status = 503, body = ProblemDocument))
)]
pub async fn read(
    caller: AuthorizedApiClient<scope::MessagesWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, *id).await?;
    let InboundProviderId::Message(message) = InboundProviderId::of(&row.provider_message_id)
    else {
        return Err(ApiProblem::NotPossible("a call cannot be marked as read"));
    };
    let provider = provider(&state, row.sender_id)?;
    let inbox = provider.inbox().ok_or(ProviderQueryError::Unsupported);
    inbox
        .map_err(asked)?
        .mark_read(message)
        .await
        .map_err(asked)?;
    Ok(HttpResponse::Ok().json(json!({ "read": true })))
}

/// The provider that the message came through.
fn provider(state: &AppState, sender: Option<Uuid>) -> Result<Arc<dyn MessageSender>, ApiProblem> {
    let engine = &state.engine;
    let sender = sender.or_else(|| engine.keyring().default_account().map(|it| it.id));
    sender
        .and_then(|sender| engine.provider(sender).ok())
        .ok_or(ApiProblem::State(
            "the sender that the message came to cannot be used now",
        ))
}

fn asked(error: ProviderQueryError) -> ApiProblem {
    match error {
        ProviderQueryError::Gone => {
            ApiProblem::NotPossible("the provider no longer has this file or message")
        }
        ProviderQueryError::TooLarge => ApiProblem::NotPossible("the file is larger than 16 MiB"),
        ProviderQueryError::Unsupported => {
            ApiProblem::NotPossible("this provider does not offer that")
        }
        // It may be possible later: a rate limit, a token, a fault of its own.
        ProviderQueryError::Refused(_) => ApiProblem::State("the provider refused the request"),
        ProviderQueryError::Unreachable => ApiProblem::ProviderUnreachable,
    }
}
