//! Endpoints for notifications: direct requests, lists, details and stories.

pub mod by_hand;
pub mod filter;
pub mod story;
mod view;
mod wait;

pub use view::{
    AttemptView, FollowUpView, NotificationAnswer, NotificationDetail, NotificationPage,
    NotificationSummary, NotificationsAnswer, TimelineView,
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
        content::{FreeContent, InteractiveContent, MediaContent, TextContent},
        field_error::FieldError,
        priority::Priority,
        time::Timestamp,
    },
    engine::{
        catalogue::OneOrMany,
        intake::{
            ClientDirectRequest, DirectRequest, DirectRequestError, DirectRequestRefusal,
            MessageMode, RequestContent, TemplateUse,
        },
    },
    http::{
        api::idempotency,
        auth::{AllowedClient, scope},
        body::JsonBody,
        problem::Problem,
    },
    state::AppState,
    store::notification as notifications,
};

/// A direct request for a message. It is checked completely before anything is stored.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationBody {
    /// A number in E.164, `user:NAME`, `group:NAME` or `contact:NAME`; one or several.
    #[schema(value_type = Vec<String>)]
    to: RecipientsBody,
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
    text: Option<TextBody>,
    /// A picture, video, sound, document or sticker.
    media: Option<MediaContent>,
    /// Buttons, a list, a link, or a request for a place or a number.
    interactive: Option<InteractiveContent>,
    /// The template that replaces `text`, `media` or `interactive`, once, if the recipient has not
    /// written in the last 24 hours.
    fallback: Option<FallbackBody>,
    /// The message that this one answers: its `id` in `GET /api/v1/messages`, or the provider's (`wamid…`).
    reply_to: Option<String>,
    /// RFC 3339: earliest time of sending, at most 90 days from now.
    send_at: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `otp`, `high`, `normal` (default) or `bulk`.
    #[schema(value_type = Option<Priority>)]
    priority: Option<String>,
    expires_in_seconds: Option<i64>,
}

/// Free text, with or without options.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum TextBody {
    Plain(String),
    Full(TextContent),
}

impl<'de> Deserialize<'de> for TextBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextBodyVisitor;
        impl<'de> Visitor<'de> for TextBodyVisitor {
            type Value = TextBody;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or an object with `body` and `preview_url`")
            }

            fn visit_str<E>(self, text: &str) -> Result<TextBody, E> {
                Ok(TextBody::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextBody, A::Error> {
                TextContent::deserialize(MapAccessDeserializer::new(map)).map(TextBody::Full)
            }
        }
        deserializer.deserialize_any(TextBodyVisitor)
    }
}

/// A template and its parameters.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackBody {
    template: String,
    language: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
}

/// One recipient or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RecipientsBody {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for RecipientsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecipientsVisitor;
        impl<'de> Visitor<'de> for RecipientsVisitor {
            type Value = RecipientsBody;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a recipient as a text, or a list of them")
            }

            fn visit_str<E>(self, one: &str) -> Result<RecipientsBody, E> {
                Ok(RecipientsBody::One(one.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<RecipientsBody, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(many)).map(RecipientsBody::Many)
            }
        }
        deserializer.deserialize_any(RecipientsVisitor)
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
fn content(body: &NotificationBody) -> Result<RequestContent, FieldError> {
    let refused = |pointer: &str, rule: &str| {
        Err(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        })
    };
    let mut free = Vec::new();
    match &body.text {
        Some(TextBody::Plain(text)) => free.push(FreeContent::Text(TextContent {
            body: text.clone(),
            preview_url: false,
        })),
        Some(TextBody::Full(text)) => free.push(FreeContent::Text(text.clone())),
        None => {}
    }
    free.extend(body.media.clone().map(FreeContent::Media));
    free.extend(body.interactive.clone().map(FreeContent::Interactive));
    match (&body.template, free.pop()) {
        (Some(_), Some(other)) => refused(
            &format!("/{}", field(&other)),
            &format!("either `template` or `{}`, not both", field(&other)),
        ),
        (Some(_), None) if body.fallback.is_some() => {
            refused("/fallback", "a template needs none: it arrives at any time")
        }
        (Some(name), None) => Ok(RequestContent::Template(TemplateUse {
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
        (None, Some(content)) => Ok(RequestContent::Free {
            content,
            fallback: body.fallback.clone().map(|fallback| TemplateUse {
                name: fallback.template,
                language: fallback.language,
                params: fallback.params,
            }),
        }),
    }
}

const fn field(content: &FreeContent) -> &'static str {
    match content {
        FreeContent::Text(_) => "text",
        FreeContent::Media(_) => "media",
        FreeContent::Interactive(_) => "interactive",
    }
}

fn check(body: NotificationBody, now: Timestamp) -> Result<DirectRequest, Problem> {
    let content = content(&body);
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        });
    };
    let priority = body.priority.as_deref();
    let priority = priority.map_or(Some(Priority::Normal), Priority::parse);
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
    let mode = body.mode.as_deref().map(MessageMode::parse);
    match mode {
        Some(None) => refuse("/mode", "auto, template or text"),
        Some(Some(_)) if body.template.is_none() => {
            refuse("/mode", "only a template has a mode");
        }
        _ => {}
    }
    let mode = mode.flatten();
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
            Err(Problem::Invalid(wrong))
        }
        (Ok(content), Some(priority)) if wrong.is_empty() => Ok(DirectRequest {
            to: match body.to {
                RecipientsBody::One(one) => OneOrMany::One(one).into(),
                RecipientsBody::Many(many) => OneOrMany::Many(many).into(),
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
        }),
        _ => Err(Problem::Invalid(wrong)),
    }
}

/// Requests a message.
///
/// With an `Idempotency-Key`, a repeat gets the first answer. With `Prefer: wait=N` the response
/// waits up to N seconds for the provider's answer: 200 if it is there for all notifications,
/// otherwise 202. The message is sent either way.
#[utoipa::path(
    post, path = "/api/v1/notifications", operation_id = "create_notification", tag = "notifications", request_body = NotificationBody,
    params(("Idempotency-Key" = Option<String>, Header), ("Prefer" = Option<String>, Header, description = "`wait=N`, 1 to 60 seconds")),
    responses(
        (status = 200, description = "The provider has answered", body = NotificationsAnswer),
        (status = 202, body = NotificationsAnswer),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, description = "The Idempotency-Key was used with another body", body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 503, body = ProblemDocument)
    )
)]
pub async fn post(
    caller: AllowedClient<scope::NotificationsWrite>,
    http_request: HttpRequest,
    state: web::Data<AppState>,
    JsonBody(body): JsonBody<NotificationBody>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency::key(&http_request)?;
    let wait = wait::preference(&http_request)?;

    let fingerprint = Sha256::digest(json!(body).to_string().as_bytes()).to_vec();
    let now = state.clock.now();
    let request = check(body, now)?;
    let asked = ClientDirectRequest {
        client: caller.ledger.clone(),
        bounds: caller.bounds.clone(),
        key,
        fingerprint,
        request,
    };
    let stored = match state.door.ask(asked).await {
        Ok(stored) => stored,
        Err(DirectRequestError::Refused(DirectRequestRefusal::Fields(fields))) => {
            return Err(Problem::Invalid(fields));
        }
        Err(DirectRequestError::Refused(DirectRequestRefusal::KeyReused)) => {
            return Err(Problem::KeyReused);
        }
        Err(DirectRequestError::Later) => return Err(Problem::Unavailable),
        Err(DirectRequestError::Never) => return Err(Problem::Internal),
    };
    if let Some(seconds) = wait {
        return wait::answer(&state, &caller.bounds, &stored, seconds).await;
    }
    let rows = notifications::find_all(&state.engine.store, &caller.bounds, &stored.ids).await?;
    Ok(HttpResponse::Accepted().json(NotificationsAnswer {
        notifications: rows.iter().map(NotificationAnswer::of).collect(),
    }))
}

/// A notification with attempts, facts, follow-ups and timeline.
#[utoipa::path(
    get, path = "/api/v1/notifications/{id}", operation_id = "get_notification", tag = "notifications", params(("id" = Uuid, Path)),
    responses((status = 200, body = NotificationDetail), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AllowedClient<scope::NotificationsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(detail(&state, &caller.bounds, *id).await?))
}
