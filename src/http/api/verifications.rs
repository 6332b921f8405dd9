//! Endpoints for one-time passwords that Herald makes, sends and checks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProblemDocument, idempotency, read_json};
use crate::{
    domain::{
        address,
        channel::MessageChannel,
        field_error::FieldError,
        verification::{
            CODE_LENGTHS, CODE_LIFETIMES, VerificationCheckResult, VerificationStatus, is_own_code,
        },
    },
    engine::verification::{
        self, VerificationCaller, VerificationDetails, VerificationError, VerificationPlan,
        VerificationRequest,
    },
    http::{
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::{AppState, random_bytes},
    store::{notification, sender},
};

const MAX_SHORT_BYTES: usize = 256;

/// Longest name of a purpose, in bytes.
const MAX_PURPOSE_BYTES: usize = 64;

/// Digits of a code, if the request says nothing.
const USUAL_LENGTH: usize = 6;

/// Seconds until the next channel may be tried.
const FALLBACK_SECONDS: std::ops::RangeInclusive<i64> = 5..=600;

/// A code. It is kept out of logs, and is never a number: leading zeros count.
#[derive(Clone)]
pub struct CodeInput(SecretString);

impl fmt::Debug for CodeInput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CodeInput")
    }
}

impl<'de> Deserialize<'de> for CodeInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|code| Self(SecretString::from(code)))
    }
}

/// Asks for a one-time password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartVerificationRequestBody {
    /// A number in E.164, `contact:NAME` or `user:NAME`.
    to: String,
    /// The channels in the order in which they are tried, each once. Default: `["whatsapp"]`.
    #[schema(value_type = Option<Vec<MessageChannel>>)]
    channels: Option<Vec<String>>,
    /// A template of the category `authentication`. Its parameter of the kind `code`, or else the one
    /// named `code`, is filled with the code.
    template: String,
    language: Option<String>,
    /// The template's other parameters.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// What the code is for, such as `sign_in`: wrong codes are counted for each address and purpose.
    /// Default: the template's name.
    purpose: Option<String>,
    /// Digits of the code, 6 (default) to 8.
    length: Option<usize>,
    /// Your own code instead of one that Herald makes: 6 to 8 digits or Latin letters.
    #[schema(value_type = Option<String>)]
    code: Option<CodeInput>,
    /// Seconds that the code is valid, 30 to 600. Default: what the template says, or 300.
    expires_in: Option<i64>,
    /// Seconds after which the next channel is tried, unless the code was delivered: 5 to 600. Default:
    /// `HERALD_VERIFICATION_FALLBACK_SECONDS`.
    fallback_after: Option<i64>,
    /// Allows the channel `email`, which NIST SP 800-63B-4 does not accept for one-time passwords: who
    /// can read the mailbox is not who holds the phone.
    #[serde(default)]
    allow_email: bool,
    /// The IP address of the person who asks, as your own server sees it: sends are limited for each.
    client_address: Option<String>,
    /// The name or id of a sender; absent: the default for the channel.
    sender: Option<String>,
    reference: Option<String>,
}

/// Sends the code of a verification again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResendVerificationRequestBody {
    /// One of the verification's channels. Default: the last one.
    #[schema(value_type = Option<MessageChannel>)]
    channel: Option<String>,
}

/// A code that a person has entered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckVerificationRequestBody {
    /// A text, never a number. Blanks and hyphens are ignored.
    #[schema(value_type = String)]
    code: CodeInput,
}

/// What a check came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationCheckView {
    /// `approved`: the code was right, and is used up. `wrong`: `tries_left` says how often another one
    /// may be entered. `expired`, `used` (it was approved before) and `too_many` (no tries are left):
    /// start a new verification.
    status: VerificationCheckResult,
    tries_left: i64,
}

/// A verification. Its code is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationView {
    id: Uuid,
    status: VerificationStatus,
    purpose: String,
    /// As it was given.
    to: String,
    reference: Option<String>,
    channels: Vec<MessageChannel>,
    /// The channel of the last message.
    #[schema(value_type = MessageChannel)]
    channel: String,
    tries_left: i64,
    created_at: String,
    expires_at: String,
    /// When it was approved, or ended otherwise.
    ended_at: Option<String>,
    /// When the next channel is tried unless the code was delivered.
    fallback_at: Option<String>,
    /// The messages that carry the code, oldest first: `GET /api/v1/notifications/{id}` has their story.
    sends: Vec<VerificationSendView>,
}

/// A message that carries the code.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationSendView {
    notification_id: Uuid,
    #[schema(value_type = MessageChannel)]
    channel: String,
    sent_at: String,
    /// Absent once the message was deleted.
    #[schema(value_type = Option<String>)]
    status: Option<String>,
    /// Why it was skipped, failed or waits.
    reason: Option<String>,
}

impl VerificationView {
    fn of(details: VerificationDetails) -> Self {
        let VerificationDetails {
            row,
            status,
            plan,
            sends,
        } = details;
        let is_pending = status == VerificationStatus::Pending;
        Self {
            id: row.id,
            status,
            purpose: row.purpose,
            to: row.recipient,
            reference: row.reference,
            channels: plan.channels,
            channel: row.channel,
            tries_left: if is_pending {
                (row.max_tries - row.tries).max(0)
            } else {
                0
            },
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
            ended_at: row.ended_at.map(|at| at.to_string()),
            fallback_at: row
                .fallback_at
                .filter(|_| is_pending)
                .map(|at| at.to_string()),
            sends: sends
                .into_iter()
                .map(|send| VerificationSendView {
                    notification_id: send.notification_id,
                    channel: send.channel,
                    sent_at: send.created_at.to_string(),
                    status: send.status,
                    reason: notification::read_failure(send.failure.as_deref())
                        .map(|failure| failure.meaning)
                        .or(send.reason),
                })
                .collect(),
        }
    }
}

impl From<VerificationError> for ApiProblem {
    fn from(error: VerificationError) -> Self {
        match error {
            VerificationError::Fields(fields) => Self::Invalid(fields),
            VerificationError::KeyReused => Self::KeyReused,
            VerificationError::NotFound => Self::NotFound,
            VerificationError::Ended(status) => Self::State(match status {
                VerificationStatus::Pending => "the verification is pending",
                VerificationStatus::Approved => {
                    "the code was entered already: start a new verification"
                }
                VerificationStatus::Expired => "the code has expired: start a new verification",
                VerificationStatus::TooMany => "no tries are left: start a new verification",
                VerificationStatus::Cancelled => "the verification was cancelled: start a new one",
            }),
            VerificationError::Limited { rule, wait_seconds } => {
                Self::Limited { rule, wait_seconds }
            }
            VerificationError::Key => Self::NotPossible(
                "the code cannot be sealed or opened: every process needs the same HERALD_SECRET_KEY",
            ),
            VerificationError::Store(error) => error.into(),
        }
    }
}

/// Collects what is wrong with a request.
#[derive(Default)]
struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    fn add(&mut self, pointer: &str, rule: impl Into<String>) {
        self.0.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.into(),
        });
    }
}

fn channels(body: &StartVerificationRequestBody, wrong: &mut FieldErrors) -> Vec<MessageChannel> {
    let Some(words) = &body.channels else {
        return vec![MessageChannel::default()];
    };
    if words.is_empty() {
        wrong.add("/channels", "at least one channel");
    }
    let mut channels = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let pointer = format!("/channels/{index}");
        match MessageChannel::parse(word) {
            None => wrong.add(&pointer, MessageChannel::RULE),
            Some(channel) if channels.contains(&channel) => {
                wrong.add(
                    &pointer,
                    "each channel once: a resend is a request of its own",
                );
            }
            Some(MessageChannel::Email) if !body.allow_email => wrong.add(
                &pointer,
                "e-mail must be allowed by `allow_email`: it does not prove who holds the phone",
            ),
            Some(channel) => channels.push(channel),
        }
    }
    channels
}

/// The client's address as it is counted: of IPv6, the /64 network.
fn client(body: &StartVerificationRequestBody, wrong: &mut FieldErrors) -> Option<IpAddr> {
    let text = body.client_address.as_deref()?;
    match text.trim().parse::<IpAddr>() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) | Err(_) => {
            wrong.add("/client_address", "an IPv4 or IPv6 address, without a port");
            None
        }
        Ok(address) => Some(address::network(address)),
    }
}

async fn check_body(
    state: &AppState,
    client_key: &AuthenticatedApiClient,
    body: StartVerificationRequestBody,
) -> Result<VerificationRequest, ApiProblem> {
    let mut wrong = FieldErrors::default();
    let channels = channels(&body, &mut wrong);
    let client = client(&body, &mut wrong);
    if body
        .length
        .is_some_and(|length| !CODE_LENGTHS.contains(&length))
    {
        wrong.add("/length", "6 to 8");
    }
    if let Some(CodeInput(code)) = &body.code {
        use secrecy::ExposeSecret;
        if !is_own_code(code.expose_secret()) {
            wrong.add("/code", "6 to 8 digits or Latin letters");
        }
        if body.length.is_some() {
            wrong.add("/length", "either `length` or `code`");
        }
    }
    if body
        .expires_in
        .is_some_and(|it| !CODE_LIFETIMES.contains(&it))
    {
        wrong.add("/expires_in", "30 to 600 seconds");
    }
    if body
        .fallback_after
        .is_some_and(|it| !FALLBACK_SECONDS.contains(&it))
    {
        wrong.add("/fallback_after", "5 to 600 seconds");
    }
    let purpose = body.purpose.unwrap_or_else(|| body.template.clone());
    if purpose.is_empty() || purpose.len() > MAX_PURPOSE_BYTES {
        wrong.add("/purpose", "1 to 64 bytes");
    }
    let reference = body.reference.as_ref();
    if reference.is_some_and(|reference| reference.len() > MAX_SHORT_BYTES) {
        wrong.add("/reference", "at most 256 bytes");
    }
    let mut from = None;
    if let Some(named) = &body.sender {
        let found = sender::named(state.engine.store.by_index(), named).await?;
        from = found.filter(|row| client_key.bounds.has_sender(row.id));
        if from.is_none() {
            wrong.add("/sender", "no sender has this name");
        }
    }
    if !wrong.0.is_empty() {
        return Err(ApiProblem::Invalid(wrong.0));
    }
    let usual = state.engine.settings.verification.fallback_seconds;
    Ok(VerificationRequest {
        to: body.to,
        purpose,
        plan: VerificationPlan {
            channels,
            template: body.template,
            language: body.language,
            params: body.params,
            sender_id: from.as_ref().map(|row| row.id),
            sender_channel: from
                .as_ref()
                .map(|row| state.engine.channel_of_kind(&row.kind)),
            senders: client_key.bounds.senders().to_vec(),
            client,
            fallback_seconds: body.fallback_after.unwrap_or(usual),
        },
        length: body.length.unwrap_or(USUAL_LENGTH),
        code: body.code.map(|CodeInput(code)| code),
        lifetime_seconds: body.expires_in,
        reference: body.reference,
    })
}

async fn view(
    state: &AppState,
    client: &AuthenticatedApiClient,
    id: Uuid,
) -> Result<VerificationView, ApiProblem> {
    let now = state.clock.now();
    let found = verification::details(&state.engine, &client.bounds, id, now).await?;
    found.map(VerificationView::of).ok_or(ApiProblem::NotFound)
}

/// Makes a one-time password and sends it.
///
/// The answer does not wait for the provider. If the code was not delivered after `fallback_after`
/// seconds, or its message fails, it is sent by the next of `channels`. With an `Idempotency-Key`, a
/// repeat gets the same verification and sends nothing. 429, with `Retry-After`: too many codes were
/// sent lately to this address, to numbers that begin alike, or for this `client_address`.
#[utoipa::path(
    post, path = "/api/v1/verifications", operation_id = "start_verification", tag = "verifications",
    request_body = StartVerificationRequestBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, body = VerificationView),
        (status = 200, description = "A repeat: nothing was sent", body = VerificationView),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, description = "The Idempotency-Key was used with another body", body = ProblemDocument),
        (status = 422, body = ProblemDocument),
        (status = 429, description = "Too many codes were sent lately: Retry-After says when to try again", body = ProblemDocument),
        (status = 503, body = ProblemDocument)
    )
)]
pub async fn start(
    caller: AuthorizedApiClient<scope::VerificationsWrite>,
    http_request: HttpRequest,
    state: web::Data<AppState>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::whole(&http_request, &caller, &body)?;
    let body: StartVerificationRequestBody = read_json(&body)?;
    let request = check_body(&state, &caller, body).await?;
    let asker = VerificationCaller {
        bounds: caller.bounds.clone(),
        key,
    };
    let random = u64::from_le_bytes(random_bytes().map_err(|_no_random| ApiProblem::Internal)?);
    let now = state.clock.now();
    let started = verification::start(&state.engine, &asker, &request, random, now).await?;
    let view = view(&state, &caller, started.id).await?;
    Ok(if started.is_new {
        HttpResponse::Created().json(view)
    } else {
        HttpResponse::Ok().json(view)
    })
}

/// Checks a code.
///
/// The try is counted before the code is compared. 429, with `Retry-After`: too many wrong codes were
/// entered for this address and purpose within an hour, and none is checked for ten minutes.
#[utoipa::path(
    post, path = "/api/v1/verifications/{id}/check", operation_id = "check_verification", tag = "verifications",
    params(("id" = Uuid, Path)), request_body = CheckVerificationRequestBody,
    responses(
        (status = 200, body = VerificationCheckView),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 429, description = "Checks are locked for a while: Retry-After says when to try again", body = ProblemDocument)
    )
)]
pub async fn check(
    caller: AuthorizedApiClient<scope::VerificationsWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    JsonBody(body): JsonBody<CheckVerificationRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let CodeInput(code) = body.code;
    let now = state.clock.now();
    let outcome = verification::check(&state.engine, &caller.bounds, *id, &code, now).await?;
    Ok(HttpResponse::Ok().json(VerificationCheckView {
        status: outcome.result,
        tries_left: outcome.tries_left,
    }))
}

/// Sends the same code again.
///
/// By the same channel, or by another one of the verification. It counts for the same limits as a new
/// one, and neither tries nor the code's time begin anew.
#[utoipa::path(
    post, path = "/api/v1/verifications/{id}/resend", operation_id = "resend_verification", tag = "verifications",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = Option<ResendVerificationRequestBody>,
    responses(
        (status = 200, body = VerificationView),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 409, description = "The verification has ended", body = ProblemDocument), (status = 422, body = ProblemDocument),
        (status = 429, description = "Too many codes were sent lately: Retry-After says when to try again", body = ProblemDocument)
    )
)]
pub async fn resend(
    caller: AuthorizedApiClient<scope::VerificationsWrite>,
    http_request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::whole(&http_request, &caller, &body)?;
    let body: ResendVerificationRequestBody = if body.is_empty() {
        ResendVerificationRequestBody::default()
    } else {
        read_json(&body)?
    };
    let channel = match body.channel.as_deref().map(MessageChannel::parse) {
        None => None,
        Some(Some(channel)) => Some(channel),
        Some(None) => return Err(super::wrong("/channel", MessageChannel::RULE.to_owned())),
    };
    let asker = VerificationCaller {
        bounds: caller.bounds.clone(),
        key,
    };
    let now = state.clock.now();
    verification::resend(&state.engine, &asker, *id, channel, now).await?;
    Ok(HttpResponse::Ok().json(view(&state, &caller, *id).await?))
}

/// A verification and the messages that carry its code.
#[utoipa::path(
    get, path = "/api/v1/verifications/{id}", operation_id = "get_verification", tag = "verifications",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = VerificationView), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::VerificationsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(view(&state, &caller, *id).await?))
}

/// Gives a verification up.
///
/// Its code is wiped, and what has not been sent is cancelled.
#[utoipa::path(
    delete, path = "/api/v1/verifications/{id}", operation_id = "cancel_verification", tag = "verifications",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 409, description = "The verification has ended", body = ProblemDocument)
    )
)]
pub async fn cancel(
    caller: AuthorizedApiClient<scope::VerificationsWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let now = state.clock.now();
    verification::cancel(&state.engine, &caller.bounds, *id, now).await?;
    Ok(HttpResponse::NoContent().finish())
}
