//! Providers' webhooks: the verification handshake and signed callbacks.

use std::{io::ErrorKind, time::Instant};

use actix_web::{HttpRequest, HttpResponse, error::PayloadError, http::header, web};
use bytes::Bytes;
use futures_util::StreamExt;

use super::{limits::RequestLimiter, problem::ApiProblem};
use crate::{
    engine::{
        ingest::inbox::{
            BodyMemoryReservation, CallbackInboxRefusal, CallbackPeerTrust, CallbackStoreOutcome,
        },
        runtime::keyring::ProviderCredentialSet,
    },
    providers::{CallbackProof, ProviderCallbackReceiver},
    state::{AppState, CallbackIngestMode, ClientAddress},
};

/// Meta sends up to 3 MB; slightly more is accepted, so that the limit is ours.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Longest challenge, in bytes.
const MAX_CHALLENGE_BYTES: usize = 1024;

/// Who takes the callbacks of an endpoint.
fn receiver<'a>(
    state: &'a AppState,
    endpoint: &str,
) -> Result<&'a dyn ProviderCallbackReceiver, ApiProblem> {
    state
        .engine
        .providers()
        .receiver(endpoint)
        .ok_or(ApiProblem::NotFound)
}

/// `GET /webhooks/{endpoint}`: answers the challenge when the token is ours.
pub async fn verify(
    state: web::Data<AppState>,
    endpoint: web::Path<String>,
    query: web::Query<Vec<(String, String)>>,
) -> Result<HttpResponse, ApiProblem> {
    let handshake = receiver(&state, &endpoint)?.handshake(&query);
    let fits = |ring: &ProviderCredentialSet| {
        handshake.as_ref().is_some_and(|given| {
            ring.verify_tokens
                .iter()
                .fold(false, |fits, expected| given.is_with(expected) | fits)
        })
    };
    // A person waits for this at a form: a token that was set a moment ago must work.
    let started = Instant::now();
    let token_fits =
        fits(&state.engine.keyring()) || fits(&*state.engine.look_again(started).await?);
    match handshake.map(|handshake| handshake.challenge) {
        Some(challenge) if token_fits && challenge.len() <= MAX_CHALLENGE_BYTES => {
            tracing::info!(event = "webhook.verified", "the webhook was verified");
            Ok(HttpResponse::Ok()
                .content_type("text/plain; charset=utf-8")
                .insert_header(("X-Content-Type-Options", "nosniff"))
                .body(challenge))
        }
        _ => {
            tracing::warn!(
                event = "webhook.verification_failed",
                "a webhook verification failed: check WHATSAPP_WEBHOOK_VERIFY_TOKEN, or the verify token of the sender"
            );
            Err(ApiProblem::Verification)
        }
    }
}

/// `POST /webhooks/{endpoint}`: 200 means stored, and nothing else does.
pub async fn receive(
    request: HttpRequest,
    state: web::Data<AppState>,
    endpoint: web::Path<String>,
    limiter: web::Data<RequestLimiter>,
    caller: web::ReqData<ClientAddress>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiProblem> {
    let started = Instant::now();
    let receiver = receiver(&state, &endpoint)?;
    let kind = receiver.kind();
    let mut ring = state.engine.keyring();
    if ring.signers_of(kind).is_empty() {
        ring = state.engine.look_again(started).await?;
    }
    if ring.signers_of(kind).is_empty() {
        return Err(no_secret());
    }
    let headers = |name: &str| request.headers().get(name)?.to_str().ok();
    let proof = CallbackProof::new(&headers, request.query_string());
    // A body that is too large or cannot be signed at all is not read.
    let announced = announced(&request)?;
    if !receiver.is_well_formed(&proof) {
        return Err(refuse(&request, &caller, &limiter, started).await);
    }
    let origin = if limiter.peers.is_known(caller.address, started) {
        CallbackPeerTrust::Known
    } else {
        CallbackPeerTrust::Stranger
    };
    let mut room = state.inbox.room(announced, origin);
    let body = read(payload, announced, &mut room).await?;
    let verify = |ring: &ProviderCredentialSet| {
        let signers = ring.signers_of(kind);
        let secrets: Vec<_> = signers.iter().map(|signer| &signer.secret).collect();
        receiver.fitting(&secrets, &proof, &body)
    };
    let mut fitting = verify(&ring);
    if fitting.is_empty() {
        // It may be signed with a secret that another process received.
        ring = state.engine.look_again(started).await?;
        fitting = verify(&ring);
    }
    if fitting.is_empty() {
        // A request that is slowed down must not hold memory meanwhile.
        drop((room, body));
        if ring.unreadable_secrets > 0 {
            // It may be genuine, and we cannot tell: that is no reason to lose it.
            return Err(no_secret());
        }
        return Err(refuse(&request, &caller, &limiter, started).await);
    }
    caller.prove();
    let signature = ring.signed_by(kind, &fitting);
    let bytes = body.len();
    let result = match state.ingest {
        CallbackIngestMode::Durable => state.inbox.submit(receiver, body, signature, room).await,
        CallbackIngestMode::PerRequest => {
            state
                .inbox
                .submit_alone(&state.engine, receiver, body, signature, state.clock.now())
                .await
        }
        CallbackIngestMode::Bare => Ok(CallbackStoreOutcome::Stored),
    };
    metrics::histogram!("herald_ingest_seconds").record(started.elapsed().as_secs_f64());
    match result {
        Ok(receipt) => {
            let result = if receipt == CallbackStoreOutcome::Repeat {
                "repeat"
            } else {
                "stored"
            };
            metrics::counter!("herald_callbacks_total", "result" => result).increment(1);
            tracing::info!(
                event = "callback.received",
                result,
                bytes,
                "a signed callback came and is stored"
            );
            Ok(HttpResponse::Ok().finish())
        }
        Err(reason) => Err(busy(reason)),
    }
}

/// Counts an invalid signature, and slows down an address that keeps sending them.
async fn refuse(
    request: &HttpRequest,
    caller: &ClientAddress,
    limiter: &RequestLimiter,
    now: Instant,
) -> ApiProblem {
    metrics::counter!("herald_callbacks_total", "result" => "bad_signature").increment(1);
    let delay = limiter.peers.note_failure(caller.address, now);
    if !delay.is_zero() {
        metrics::counter!("herald_callbacks_slowed_total").increment(1);
        RequestLimiter::delay(request, delay).await;
    }
    ApiProblem::Signature
}

/// No signature can be checked: callbacks are asked to come again later.
fn no_secret() -> ApiProblem {
    metrics::counter!("herald_callbacks_total", "result" => "no_secret").increment(1);
    tracing::error!(
        event = "webhook.no_secret",
        "callback rejected with 503: the secret that proves it is missing, or encrypted with another HERALD_SECRET_KEY"
    );
    ApiProblem::NoAppSecret
}

/// Counts why a callback was not stored.
fn busy(reason: CallbackInboxRefusal) -> ApiProblem {
    metrics::counter!("herald_callbacks_total", "result" => reason.name()).increment(1);
    ApiProblem::Busy(reason)
}

/// The announced size of a body; the largest possible if none is announced.
fn announced(request: &HttpRequest) -> Result<usize, ApiProblem> {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    match length {
        Some(length) if length > MAX_BODY_BYTES => Err(ApiProblem::TooLarge),
        Some(length) => Ok(length),
        None => Ok(MAX_BODY_BYTES),
    }
}

/// Reads a body, up to its announced size: only as much is in memory as was reserved.
async fn read(
    mut payload: web::Payload,
    announced: usize,
    room: &mut BodyMemoryReservation,
) -> Result<Bytes, ApiProblem> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Io(error) if error.kind() == ErrorKind::TimedOut => late(),
            _ => ApiProblem::Malformed("the body was not complete".to_owned()),
        })?;
        let size = body.len() + chunk.len();
        if size > announced {
            return Err(ApiProblem::TooLarge);
        }
        room.grow(size).await.map_err(busy)?;
        body.extend_from_slice(&chunk);
    }
    room.grow(body.len()).await.map_err(busy)?;
    // A waiting body must not hold more memory than its size.
    body.shrink_to_fit();
    Ok(body.into())
}

/// Counts a body that did not arrive in time.
fn late() -> ApiProblem {
    metrics::counter!("herald_callbacks_total", "result" => "late_body").increment(1);
    ApiProblem::Late
}
