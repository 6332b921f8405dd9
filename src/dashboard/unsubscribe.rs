//! The page behind the links to unsubscribe. It needs no login and nothing but itself, so that a proxy
//! may publish its path alone.
//!
//! Only a POST unsubscribes: scanners of mail open every link. Mail programs send the POST of
//! RFC 8058 themselves; people press the button.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web,
};
use askama::Template;

use crate::{
    engine::people::suppressions::{self, UnsubscribeRequest},
    error::ErrorChain,
    state::AppState,
    store::StoreError,
};

/// Nothing is loaded, and the form goes to where the page came from. No script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

/// What the page says.
enum UnsubscribeScreenState {
    /// Asks for the button; the address is masked.
    Ask(String),
    Done(String),
    /// The link is not one of ours.
    Unknown,
    Unavailable,
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct UnsubscribeScreen {
    title: &'static str,
    state: UnsubscribeScreenState,
}

/// Shows what the link would do.
pub async fn ask(state: web::Data<AppState>, token: web::Path<String>) -> HttpResponse {
    match suppressions::of_link(&state.engine, &token).await {
        Ok(Some(asked)) => shown(UnsubscribeScreenState::Ask(asked.masked())),
        Ok(None) => shown(UnsubscribeScreenState::Unknown),
        Err(error) => unavailable(&error),
    }
}

/// Unsubscribes the address of the link's message. The body is not read: it is the button's, or
/// RFC 8058's.
pub async fn unsubscribe(state: web::Data<AppState>, token: web::Path<String>) -> HttpResponse {
    match stop(&state, &token).await {
        Ok(Some(asked)) => shown(UnsubscribeScreenState::Done(asked.masked())),
        Ok(None) => shown(UnsubscribeScreenState::Unknown),
        Err(error) => unavailable(&error),
    }
}

async fn stop(state: &AppState, token: &str) -> Result<Option<UnsubscribeRequest>, StoreError> {
    let asked = suppressions::of_link(&state.engine, token).await?;
    if let Some(asked) = &asked {
        suppressions::unsubscribe(&state.engine, asked, state.clock.now()).await?;
    }
    Ok(asked)
}

fn unavailable(error: &StoreError) -> HttpResponse {
    tracing::error!(event = "unsubscribe.error", error = %ErrorChain(error), "a link to unsubscribe was not served: the person was asked to try again");
    shown(UnsubscribeScreenState::Unavailable)
}

fn shown(state: UnsubscribeScreenState) -> HttpResponse {
    let (status, title) = match &state {
        UnsubscribeScreenState::Ask(_) => (StatusCode::OK, "Unsubscribe from e\u{2011}mail?"),
        UnsubscribeScreenState::Done(_) => (StatusCode::OK, "You are unsubscribed"),
        UnsubscribeScreenState::Unknown => (StatusCode::NOT_FOUND, "This link does not work"),
        UnsubscribeScreenState::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "This does not work just now",
        ),
    };
    let screen = UnsubscribeScreen { title, state };
    HttpResponseBuilder::new(status)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/html; charset=utf-8")
        .body(screen.render().unwrap_or_default())
}
