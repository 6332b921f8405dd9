//! Security headers on every response, including errors of middleware.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};

/// For a year, over TLS only. Only this host name: the rest of the domain is not ours.
const TLS_ONLY: [(HeaderName, &str); 1] = [(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000")];

/// API responses are no pages, and must not be cached: they contain personal data.
const API: [(HeaderName, &str); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];

/// For a server whose public address is https.
pub async fn tls_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    with(next.call(request).await, &TLS_ONLY)
}

/// For everything below `/api/v1`.
pub async fn api(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    with(next.call(request).await, &API)
}

fn with<B>(
    answer: Result<ServiceResponse<B>, Error>,
    wanted: &[(HeaderName, &'static str)],
) -> Result<ServiceResponse<B>, Error> {
    let add = |headers: &mut HeaderMap| {
        for (name, value) in wanted {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), HeaderValue::from_static(value));
            }
        }
    };
    match answer {
        Ok(mut response) => {
            add(response.headers_mut());
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            add(response.headers_mut());
            Err(InternalError::from_response(error, response).into())
        }
    }
}
