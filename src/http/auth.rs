//! Authentication and authorization of the API, before anything else of a request is examined.
//!
//! [`authenticate`] stands before every address below `/api/v1`: without a good key nothing is
//! said of a body, a parameter or an address. A handler then takes an [`AuthorizedApiClient`] first, which
//! names the scope that it needs; one that takes none is no endpoint (see [`AuthorizedHandlerArguments`]).

use std::{
    future::{Ready, ready},
    marker::PhantomData,
    ops::Deref,
    sync::Arc,
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use uuid::Uuid;

use super::problem::ApiProblem;
use crate::{
    domain::access::{AccessBounds, ApiKeyRole, ApiKeyScope, ApiKeyScopes},
    engine::runtime::access::key_digest,
    state::{AppState, ClientAddress},
    store::access,
};

/// A caller with a valid API key.
#[derive(Clone, Debug)]
pub struct AuthenticatedApiClient {
    pub key_id: Uuid,
    /// The owner of its idempotency keys: the product, so that they outlive a key that is replaced;
    /// for a key without bounds, the key itself.
    pub ledger: String,
    /// The actor in the audit log: `key:PREFIX`.
    pub actor: String,
    pub role: ApiKeyRole,
    pub scopes: ApiKeyScopes,
    pub bounds: AccessBounds,
}

/// The client of a request, if its key is valid.
async fn client(request: &ServiceRequest) -> Result<AuthenticatedApiClient, ApiProblem> {
    let state = request.app_data::<web::Data<AppState>>();
    let digest = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key_digest(key.trim()));
    let (Some(state), Some(digest)) = (state, digest) else {
        return Err(ApiProblem::Unauthorized);
    };
    let now = state.clock.now();
    // Looked up by digest: nothing is compared byte by byte.
    let key = access::key_by_digest(&state.engine.store, &digest, now)
        .await?
        .ok_or(ApiProblem::Unauthorized)?;
    state.engine.key_uses.note(key.id, now);
    // The address counts as known from now on.
    let caller = request.extensions().get::<ClientAddress>().cloned();
    caller.inspect(ClientAddress::prove);
    let bounds = access::bounds(&key);
    Ok(AuthenticatedApiClient {
        key_id: key.id,
        ledger: bounds.owner().map_or_else(
            || key.id.to_string(),
            |product| format!("product:{product}"),
        ),
        actor: format!("key:{}", key.prefix),
        role: ApiKeyRole::of(&key.role),
        scopes: access::scopes(&key),
        bounds,
    })
}

/// Refuses every request without a valid key.
pub async fn authenticate(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let client = client(&request).await?;
    request.extensions_mut().insert(Arc::new(client));
    next.call(request).await
}

/// A caller whose key has a scope.
#[derive(Debug)]
pub struct AuthorizedApiClient<S>(Arc<AuthenticatedApiClient>, PhantomData<S>);

impl<S> Deref for AuthorizedApiClient<S> {
    type Target = AuthenticatedApiClient;

    fn deref(&self) -> &AuthenticatedApiClient {
        &self.0
    }
}

/// A scope, as a type.
pub trait RequiredScope: 'static {
    const SCOPE: ApiKeyScope;
}

impl<S: RequiredScope> FromRequest for AuthorizedApiClient<S> {
    type Error = ApiProblem;
    type Future = Ready<Result<Self, ApiProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let client = request
            .extensions()
            .get::<Arc<AuthenticatedApiClient>>()
            .cloned();
        ready(match client {
            None => Err(ApiProblem::Unauthorized),
            Some(client) if client.scopes.has(S::SCOPE) => Ok(Self(client, PhantomData)),
            Some(_) => Err(ApiProblem::Forbidden(format!(
                "the key needs the scope {}",
                S::SCOPE.name()
            ))),
        })
    }
}

/// Every scope as a type: `AllowedClient<scope::EventsRead>`.
pub mod scope {
    use super::{ApiKeyScope, RequiredScope};

    macro_rules! scopes {
        ($($name:ident),* $(,)?) => {$(
            #[doc = concat!("[`ApiKeyScope::", stringify!($name), "`].")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl RequiredScope for $name {
                const SCOPE: ApiKeyScope = ApiKeyScope::$name;
            }
        )*};
    }

    scopes![
        EventsRead,
        EventsWrite,
        NotificationsRead,
        NotificationsWrite,
        MessagesRead,
        MessagesWrite,
        ContactsRead,
        ContactsWrite,
        ContactsDelete,
        ContactsMerge,
        StaffRead,
        StaffWrite,
        CatalogueRead,
        SendersRead,
        SendersWrite,
        AccountRead,
        StatisticsRead,
        AuditRead,
        KeysRead,
        KeysWrite,
        LogWrite,
        HoldRead,
        HoldWrite,
        VerificationsRead,
        VerificationsWrite,
    ];
}

/// Arguments of a handler, of which the first is [`AuthorizedApiClient`]: it is extracted first, so that a
/// key without the scope is refused before its request is checked.
pub trait AuthorizedHandlerArguments {
    /// What the caller's key needs.
    const SCOPE: ApiKeyScope;
}

macro_rules! guarded {
    ($($other:ident),*) => {
        impl<S: RequiredScope, $($other),*> AuthorizedHandlerArguments for (AuthorizedApiClient<S>, $($other,)*) {
            const SCOPE: ApiKeyScope = S::SCOPE;
        }
    };
}

guarded!();
guarded!(A);
guarded!(A, B);
guarded!(A, B, C);
guarded!(A, B, C, D);
guarded!(A, B, C, D, E);
