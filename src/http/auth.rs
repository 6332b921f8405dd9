//! Who may use the API.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header, web};

use super::problem::Problem;
use crate::{
    engine::access::{Role, key_digest},
    state::{AppState, Caller},
    store::access,
};

/// A caller with a valid API key.
#[derive(Clone, Debug)]
pub struct Client {
    /// The key's id: whose idempotency keys these are.
    pub id: String,
    /// Who that is, for the audit: `key:PREFIX`.
    pub actor: String,
    pub role: Role,
}

/// A caller whose key may change senders and their credentials.
#[derive(Clone, Debug)]
pub struct Admin(pub Client);

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let client = Client::from_request(request, payload);
        Box::pin(async move {
            let client = client.await?;
            match client.role {
                Role::Admin => Ok(Self(client)),
                Role::Product => Err(Problem::Forbidden),
            }
        })
    }
}

impl FromRequest for Client {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Looked up before the request was read.
        if let Some(client) = request.extensions().get::<Self>().cloned() {
            return Box::pin(async move { Ok(client) });
        }
        let state = request.app_data::<web::Data<AppState>>().cloned();
        let caller = request.extensions().get::<Caller>().cloned();
        let digest = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key_digest(key.trim()));
        Box::pin(async move {
            let (Some(state), Some(digest)) = (state, digest) else {
                return Err(Problem::Unauthorized);
            };
            // Looked up by digest: nothing is compared byte by byte.
            match access::key_by_digest(&state.engine.store, &digest).await? {
                Some(key) => {
                    caller.inspect(Caller::prove);
                    Ok(Self {
                        id: key.id.to_string(),
                        actor: format!("key:{}", key.prefix),
                        role: Role::of(&key.role),
                    })
                }
                None => Err(Problem::Unauthorized),
            }
        })
    }
}
