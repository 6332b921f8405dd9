//! Endpoints for notifications: direct requests, lists, details and stories.

pub mod by_hand;
pub mod filter;
pub mod story;
mod view;
mod wait;

pub use view::{
    AttemptView, FollowUpView, NotificationDetail, NotificationListResponse, NotificationSummary,
    SendNotificationResponse, SendNotificationResponseItem, TimelineEntryView,
};
use view::{detail, summary};

use std::{collections::BTreeMap, fmt};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::ProblemDocument;
use crate::{
    domain::{
        channel::MessageChannel,
        content::{FreeFormMessageContent, InteractiveContent, MediaContent, TextContent},
        field_error::FieldError,
        priority::MessagePriority,
        time::Timestamp,
    },
    engine::{
        catalogue::CatalogueRecipientList,
        intake::{
            ClientNotificationRequest, MessageContentMode, NotificationRequest,
            NotificationRequestContent, NotificationRequestError, NotificationRequestRefusal,
            RequestedTemplate, idempotency::IdempotencyKey,
        },
    },
    http::{
        api::idempotency,
        auth::{AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::AppState,
    store::notification as notifications,
};

/// A direct request for a message. It is checked completely before anything is stored.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendNotificationRequestBody {
    /// A number in E.164, an e-mail address (which gets only e-mail), `user:NAME`, `group:NAME` or
    /// `contact:NAME`; one or several.
    #[schema(value_type = Vec<String>)]
    to: RecipientsInput,
    /// The subject of the message, if it is not its recipient.
    about: Option<String>,
    /// The name or id of a sender; absent: the default.
    sender: Option<String>,
    /// A template's name, with `params`; or `text`.
    template: Option<String>,
    language: Option<String>,
    /// Form of the template: `template` (default); `auto`: its text while the service window is
    /// open, which costs nothing; `text`: never as a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    /// The kind of message, which recipients may turn off: a catalogue's `[[kind]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_kind: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Free text, as a string or as `{"body", "preview_url"}`. Like `media` and `interactive` it is
    /// deliverable only within 24 hours of the recipient's last message.
    #[schema(value_type = Option<String>)]
    text: Option<FreeTextInput>,
    /// A picture, video, sound, document or sticker.
    media: Option<MediaContent>,
    /// Buttons, a list, a link, or a request for a place or a number.
    interactive: Option<InteractiveContent>,
    /// The template that replaces `text`, `media` or `interactive`, once, if the recipient has not
    /// written in the last 24 hours.
    fallback: Option<FallbackTemplateInput>,
    /// The message that this one answers: its `id` in `GET /api/v1/messages`, or the provider's (`wamid…`).
    /// Without `sender`, it leaves from the one that this message was written to.
    reply_to: Option<String>,
    /// RFC 3339: earliest time of sending, at most 90 days from now.
    send_at: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `otp`, `high`, `normal` (default) or `bulk`.
    #[schema(value_type = Option<MessagePriority>)]
    priority: Option<String>,
    expires_in_seconds: Option<i64>,
    /// The channels in the order in which they are tried, such as `["whatsapp", "email"]`. Default:
    /// that of the sender alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<MessageChannel>>)]
    channels: Vec<String>,
    /// Seconds after which a message that was not delivered goes by the next channel: 10 to 604800.
    /// Default: `HERALD_FALLBACK_SECONDS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback_after_seconds: Option<i64>,
}

/// Free text, with or without options.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum FreeTextInput {
    Plain(String),
    Full(TextContent),
}

impl<'de> Deserialize<'de> for FreeTextInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FreeTextInputVisitor;
        impl<'de> Visitor<'de> for FreeTextInputVisitor {
            type Value = FreeTextInput;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or an object with `body` and `preview_url`")
            }

            fn visit_str<E>(self, text: &str) -> Result<FreeTextInput, E> {
                Ok(FreeTextInput::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FreeTextInput, A::Error> {
                TextContent::deserialize(MapAccessDeserializer::new(map)).map(FreeTextInput::Full)
            }
        }
        deserializer.deserialize_any(FreeTextInputVisitor)
    }
}

/// A template and its parameters.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackTemplateInput {
    template: String,
    language: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

/// One recipient or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RecipientsInput {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for RecipientsInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecipientsInputVisitor;
        impl<'de> Visitor<'de> for RecipientsInputVisitor {
            type Value = RecipientsInput;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a recipient as a text, or a list of them")
            }

            fn visit_str<E>(self, one: &str) -> Result<RecipientsInput, E> {
                Ok(RecipientsInput::One(one.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<RecipientsInput, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(many)).map(RecipientsInput::Many)
            }
        }
        deserializer.deserialize_any(RecipientsInputVisitor)
    }
}

const MAX_LABELS: usize = 8;
const MAX_EXPIRY_SECONDS: i64 = 30 * 24 * 60 * 60;
const MAX_SHORT_BYTES: usize = 256;

/// Whether this may identify a message: our id of it, or the provider's.
fn is_message_id(id: &str) -> bool {
    id.len() <= MAX_SHORT_BYTES && (id.starts_with("wamid.") || Uuid::parse_str(id).is_ok())
}
const MAX_AHEAD_SECONDS: i64 = 90 * 24 * 60 * 60;

/// The content of a request: exactly one kind.
fn content(body: &SendNotificationRequestBody) -> Result<NotificationRequestContent, FieldError> {
    let refused = |pointer: &str, rule: &str| {
        Err(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        })
    };
    let mut free = Vec::new();
    match &body.text {
        Some(FreeTextInput::Plain(text)) => free.push(FreeFormMessageContent::Text(TextContent {
            body: text.clone(),
            preview_url: false,
        })),
        Some(FreeTextInput::Full(text)) => free.push(FreeFormMessageContent::Text(text.clone())),
        None => {}
    }
    free.extend(body.media.clone().map(FreeFormMessageContent::Media));
    free.extend(
        body.interactive
            .clone()
            .map(FreeFormMessageContent::Interactive),
    );
    match (&body.template, free.pop()) {
        (Some(_), Some(other)) => refused(
            &format!("/{}", field(&other)),
            &format!("either `template` or `{}`, not both", field(&other)),
        ),
        (Some(_), None) if body.fallback.is_some() => {
            refused("/fallback", "a template needs none: it arrives at any time")
        }
        (Some(name), None) => Ok(NotificationRequestContent::Template(RequestedTemplate {
            name: name.clone(),
            language: body.language.clone(),
            params: body.params.clone(),
        })),
        (None, None) => refused(
            "/template",
            "`template`, `text`, `media` or `interactive` is needed",
        ),
        (None, Some(_)) if !free.is_empty() => {
            refused("/text", "one of `text`, `media` and `interactive`")
        }
        (None, Some(_)) if !body.params.is_empty() => {
            refused("/params", "only a template has parameters")
        }
        (None, Some(content)) => Ok(NotificationRequestContent::Free {
            content,
            fallback: body.fallback.clone().map(|fallback| RequestedTemplate {
                name: fallback.template,
                language: fallback.language,
                params: fallback.params,
            }),
        }),
    }
}

const fn field(content: &FreeFormMessageContent) -> &'static str {
    match content {
        FreeFormMessageContent::Text(_) => "text",
        FreeFormMessageContent::Media(_) => "media",
        FreeFormMessageContent::Interactive(_) => "interactive",
    }
}

fn check(
    body: SendNotificationRequestBody,
    now: Timestamp,
) -> Result<NotificationRequest, ApiProblem> {
    let content = content(&body);
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        });
    };
    let priority = body.priority.as_deref();
    let priority = priority.map_or(Some(MessagePriority::Normal), MessagePriority::parse);
    if priority.is_none() {
        refuse("/priority", "otp, high, normal or bulk");
    }
    if body.labels.len() > MAX_LABELS {
        refuse("/labels", "at most 8");
    }
    if body.labels.iter().any(|(name, value)| {
        name.is_empty() || name.len() > MAX_SHORT_BYTES || value.len() > MAX_SHORT_BYTES
    }) {
        refuse(
            "/labels",
            "names and values of at most 256 bytes, names not empty",
        );
    }
    if body
        .reference
        .as_ref()
        .is_some_and(|reference| reference.len() > MAX_SHORT_BYTES)
    {
        refuse("/reference", "at most 256 bytes");
    }
    if body
        .expires_in_seconds
        .is_some_and(|seconds| !(1..=MAX_EXPIRY_SECONDS).contains(&seconds))
    {
        refuse("/expires_in_seconds", "1 to 2592000");
    }
    if body.reply_to.as_ref().is_some_and(|id| !is_message_id(id)) {
        refuse(
            "/reply_to",
            "the id of a message, or the provider's (wamid.…), at most 256 bytes",
        );
    }
    let mode = body.mode.as_deref().map(MessageContentMode::parse);
    match mode {
        Some(None) => refuse("/mode", "auto, template or text"),
        Some(Some(_)) if body.template.is_none() => {
            refuse("/mode", "only a template has a mode");
        }
        _ => {}
    }
    let mode = mode.flatten();
    let mut channels: Vec<MessageChannel> = Vec::new();
    for (index, word) in body.channels.iter().enumerate() {
        let pointer = format!("/channels/{index}");
        match MessageChannel::parse(word) {
            None => refuse(&pointer, MessageChannel::RULE),
            Some(channel) if channels.contains(&channel) => refuse(&pointer, "each channel once"),
            Some(channel) => channels.push(channel),
        }
    }
    if body
        .fallback_after_seconds
        .is_some_and(|seconds| !MessageChannel::FALLBACK_SECONDS.contains(&seconds))
    {
        refuse("/fallback_after_seconds", "10 to 604800");
    }
    let send_at = body.send_at.as_deref().map(Timestamp::parse_rfc3339);
    match send_at {
        Some(None) => refuse("/send_at", "RFC 3339"),
        Some(Some(at)) if at > now.plus_seconds(MAX_AHEAD_SECONDS) => {
            refuse("/send_at", "at most 90 days from now");
        }
        _ => {}
    }
    match (content, priority) {
        (Err(error), _) => {
            wrong.insert(0, error);
            Err(ApiProblem::Invalid(wrong))
        }
        (Ok(content), Some(priority)) if wrong.is_empty() => Ok(NotificationRequest {
            to: match body.to {
                RecipientsInput::One(one) => CatalogueRecipientList::One(one).into(),
                RecipientsInput::Many(many) => CatalogueRecipientList::Many(many).into(),
            },
            about: body.about,
            sender: body.sender,
            content,
            reference: body.reference,
            labels: body.labels,
            priority,
            expires_after_seconds: body.expires_in_seconds,
            send_at: send_at.flatten().filter(|at| *at > now),
            reply_to: body.reply_to,
            message_kind: body.message_kind,
            mode: mode.unwrap_or_default(),
            channels,
            fallback_seconds: body.fallback_after_seconds,
        }),
        _ => Err(ApiProblem::Invalid(wrong)),
    }
}

/// Requests a message.
///
/// With an `Idempotency-Key`, a repeat gets the first answer. With `Prefer: wait=N` the response
/// waits up to N seconds for the provider's answer: 200 if it is there for all notifications,
/// otherwise 202. The message is sent either way.
#[utoipa::path(
    post, path = "/api/v1/notifications", operation_id = "create_notification", tag = "notifications", request_body = SendNotificationRequestBody,
    params(("Idempotency-Key" = Option<String>, Header), ("Prefer" = Option<String>, Header, description = "`wait=N`, 1 to 60 seconds")),
    responses(
        (status = 200, description = "The provider has answered", body = SendNotificationResponse),
        (status = 202, body = SendNotificationResponse),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, description = "The Idempotency-Key was used with another body", body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 503, body = ProblemDocument)
    )
)]
pub async fn post(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    http_request: HttpRequest,
    state: web::Data<AppState>,
    JsonBody(body): JsonBody<SendNotificationRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::key(&http_request)?;
    let wait = wait::preference(&http_request)?;
    let key = key.map(|key| IdempotencyKey {
        client: caller.ledger.clone(),
        key,
        fingerprint: Sha256::digest(json!(body).to_string().as_bytes()).to_vec(),
    });
    let now = state.clock.now();
    let request = check(body, now)?;
    let asked = ClientNotificationRequest {
        bounds: caller.bounds.clone(),
        key,
        request,
    };
    let stored = match state.door.ask(asked).await {
        Ok(stored) => stored,
        Err(NotificationRequestError::Refused(NotificationRequestRefusal::Fields(fields))) => {
            return Err(ApiProblem::Invalid(fields));
        }
        Err(NotificationRequestError::Refused(NotificationRequestRefusal::KeyReused)) => {
            return Err(ApiProblem::KeyReused);
        }
        Err(NotificationRequestError::Later) => return Err(ApiProblem::Unavailable),
        Err(NotificationRequestError::Never) => return Err(ApiProblem::Internal),
    };
    if let Some(seconds) = wait {
        return wait::answer(&state, &caller.bounds, &stored, seconds).await;
    }
    let rows = notifications::find_all(&state.engine.store, &caller.bounds, &stored.ids).await?;
    Ok(HttpResponse::Accepted().json(SendNotificationResponse {
        notifications: rows.iter().map(SendNotificationResponseItem::of).collect(),
    }))
}

/// A notification with attempts, facts, follow-ups and timeline.
#[utoipa::path(
    get, path = "/api/v1/notifications/{id}", operation_id = "get_notification", tag = "notifications", params(("id" = Uuid, Path)),
    responses((status = 200, body = NotificationDetail), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::NotificationsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(detail(&state, &caller.bounds, *id).await?))
}
