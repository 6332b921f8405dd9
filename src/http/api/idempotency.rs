//! The `Idempotency-Key` header.

use actix_web::HttpRequest;
use sha2::{Digest, Sha256};

use crate::{
    engine::intake::idempotency::IdempotencyKey,
    http::{auth::AuthenticatedApiClient, problem::ApiProblem},
};

const MAX_KEY_BYTES: usize = 256;

/// The key of a request, if it has one.
pub fn key(request: &HttpRequest) -> Result<Option<String>, ApiProblem> {
    match request
        .headers()
        .get("Idempotency-Key")
        .map(|key| key.to_str())
    {
        Some(Ok(key)) if !key.is_empty() && key.len() <= MAX_KEY_BYTES => Ok(Some(key.to_owned())),
        Some(_) => Err(ApiProblem::Malformed(
            "Idempotency-Key: 1 to 256 visible characters".to_owned(),
        )),
        None => Ok(None),
    }
}

/// The key of a request with its owner, and a digest of its address and body.
pub fn whole(
    request: &HttpRequest,
    client: &AuthenticatedApiClient,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, ApiProblem> {
    let mut digest = Sha256::new();
    digest.update(request.path().as_bytes());
    digest.update([0]);
    digest.update(body);
    Ok(key(request)?.map(|key| IdempotencyKey {
        client: client.ledger.clone(),
        key,
        fingerprint: digest.finalize().to_vec(),
    }))
}
