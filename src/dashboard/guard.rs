//! Security rules of every page: no foreign scripts, and no form from another site.

use actix_web::{
    Error, HttpRequest, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
};

use super::fault::DashboardScreenError;

/// Only our own files, no inline script or style, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // A form's origin is checked, so it must be sent to ourselves, and to no other site.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers that every page has.
pub async fn headers(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Rejects changes requested by another site's page. Forms also have a token; this check covers the
/// login as well, which has none.
pub async fn only_from_here<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let fault = if !request.method().is_safe() && !is_from_here(request.request()) {
        Some(DashboardScreenError::Foreign)
    } else if has_nul(request.request()) {
        // No stored name contains it.
        Some(DashboardScreenError::NotFound)
    } else {
        None
    };
    // Returned as a response, not as an error: a response gets the headers of all pages.
    if let Some(fault) = fault {
        return Ok(request
            .into_response(fault.error_response())
            .map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Whether an address contains NUL, which PostgreSQL cannot store.
fn has_nul(request: &HttpRequest) -> bool {
    [request.path(), request.query_string()]
        .iter()
        .any(|part| part.contains("%00"))
}

/// Checks `Sec-Fetch-Site` (W3C Fetch Metadata), which no page can set; otherwise `Origin`, which
/// older browsers send with every form.
fn is_from_here(request: &HttpRequest) -> bool {
    let text = |name: HeaderName| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(header::HOST)
}
