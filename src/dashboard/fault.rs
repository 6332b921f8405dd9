//! Errors of pages, for people.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use askama::Template;

use crate::{error::ErrorChain, store::StoreError};

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DashboardScreenError {
    /// Not signed in: first the login, then back to this path.
    #[error("not signed in")]
    LogIn(String),
    #[error("the role does not allow it")]
    Forbidden(&'static str),
    #[error("there is no such page")]
    NotFound,
    /// The form is of another session, or too old.
    #[error("the form is too old")]
    Old,
    #[error("the form came from another site")]
    Foreign,
    #[error("the form is too large, or not a form")]
    Form,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Render(#[from] askama::Error),
    #[error("the session could not be read or written")]
    Session(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<actix_session::SessionInsertError> for DashboardScreenError {
    fn from(error: actix_session::SessionInsertError) -> Self {
        Self::Session(error.to_string().into())
    }
}

impl From<actix_session::SessionGetError> for DashboardScreenError {
    fn from(error: actix_session::SessionGetError) -> Self {
        Self::Session(error.to_string().into())
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct ErrorScreen {
    title: &'static str,
    text: String,
}

impl DashboardScreenError {
    fn page(&self) -> ErrorScreen {
        let (title, text) = match self {
            Self::LogIn(_) => ("Please sign in", String::new()),
            Self::Forbidden(needed) => (
                "Permission denied",
                format!("This needs the role {needed}. An admin can give it to you: herald users role."),
            ),
            Self::NotFound => (
                "Page not found",
                "The address is wrong, or the record is past its retention time.".to_owned(),
            ),
            Self::Old => (
                "Form expired",
                "You have signed in again since it was shown. Go back, reload the page and submit it again. Nothing was changed.".to_owned(),
            ),
            Self::Foreign => (
                "Cross-site form rejected",
                "Nothing was changed. If you came here by a bookmark or through a proxy that removes the headers Origin and Sec-Fetch-Site, open the page directly.".to_owned(),
            ),
            Self::Form => (
                "Invalid form",
                "It could not be read, or was sent before. Go back and reload the page to see what was done before you submit it again.".to_owned(),
            ),
            Self::Store(_) | Self::Session(_) => (
                "Database unavailable",
                "Stored messages are safe, and Meta repeats callbacks that could not be stored. Try again in a moment; herald check says more.".to_owned(),
            ),
            Self::Render(_) => (
                "Internal error",
                "The log has the details.".to_owned(),
            ),
        };
        ErrorScreen { title, text }
    }
}

impl ResponseError for DashboardScreenError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::LogIn(_) => StatusCode::SEE_OTHER,
            Self::Forbidden(_) | Self::Old | Self::Foreign => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Form => StatusCode::BAD_REQUEST,
            Self::Store(_) | Self::Session(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Render(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::LogIn(next) => {
                let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
                return response
                    .insert_header((header::LOCATION, format!("/dashboard/login?next={next}")))
                    .finish();
            }
            Self::Store(_) | Self::Session(_) | Self::Render(_) => {
                tracing::error!(event = "dashboard.error", error = %ErrorChain(self), "a request to the dashboard failed: its user saw an error page");
            }
            _ => {}
        }
        response
            .content_type("text/html; charset=utf-8")
            .body(self.page().render().unwrap_or_default())
    }
}
