//! Pages for signing in and out, and for one-time links.

use std::collections::HashMap;

use actix_session::Session;
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use secrecy::SecretString;
use serde::Deserialize;

use super::{
    act::{DashboardForm, fields},
    fault::DashboardScreenError,
    session::{LOGIN, TOKEN},
    shell::{on_to, shown},
};
use crate::{
    engine::runtime::logins::{self, DashboardUserError, SignInAttempt, SignInOutcome},
    state::{AppState, ClientAddress, random_bytes},
};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginScreen {
    next: String,
    name: String,
    wrong: Option<String>,
}

#[derive(Template)]
#[template(path = "enter.html")]
struct LoginLinkScreen {
    name: String,
    role: String,
    wrong: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct LoginQuery {
    next: Option<String>,
}

/// The page to show after signing in: one of ours, or the first one.
fn safe(next: Option<&str>) -> &str {
    next.filter(|next| {
        *next == "/dashboard" || next.starts_with("/dashboard/") || next.starts_with("/dashboard?")
    })
    .filter(|next| !next.contains(['\\', '\r', '\n']) && !next.starts_with("/dashboard/log"))
    .unwrap_or("/dashboard")
}

pub async fn page(query: web::Query<LoginQuery>) -> Result<HttpResponse, DashboardScreenError> {
    shown(&LoginScreen {
        next: safe(query.next.as_deref()).to_owned(),
        name: String::new(),
        wrong: None,
    })
}

/// Starts a session of this user, with a new session key.
fn begin(session: &Session, login: &entity::login::Model) -> Result<(), DashboardScreenError> {
    let token: [u8; 32] =
        random_bytes().map_err(|error| DashboardScreenError::Session(error.into()))?;
    session.clear();
    session.renew();
    session.insert(LOGIN, login.id)?;
    session.insert(TOKEN, hex::encode(token))?;
    Ok(())
}

fn again(page: &impl Template, status: StatusCode) -> Result<HttpResponse, DashboardScreenError> {
    let mut response = shown(page)?;
    *response.status_mut() = status;
    Ok(response)
}

/// Retry time in seconds if too many sign-ins are waiting.
const BUSY_SECONDS: i64 = 5;

pub async fn enter(
    request: HttpRequest,
    session: Session,
    state: web::Data<AppState>,
    form: Result<web::Form<HashMap<String, String>>, actix_web::Error>,
) -> Result<HttpResponse, DashboardScreenError> {
    let mut fields = fields(form.map_err(|_unreadable| DashboardScreenError::Form)?);
    let name = fields.remove("name").unwrap_or_default();
    let name = name.trim().to_owned();
    let password = SecretString::from(fields.remove("password").unwrap_or_default());
    let next = safe(fields.get("next").map(String::as_str)).to_owned();
    let attempt = SignInAttempt {
        name: &name,
        password: &password,
        address: request
            .extensions()
            .get::<ClientAddress>()
            .and_then(|caller| caller.address),
    };
    let engine = &state.engine;
    let entry = logins::enter(&engine.store, &engine.passwords, attempt, state.clock.now()).await?;
    let (status, wait, wrong) = match entry {
        SignInOutcome::In(login) => {
            begin(&session, &login)?;
            return Ok(on_to(&next));
        }
        SignInOutcome::Wrong => {
            metrics::counter!("herald_logins_failed_total").increment(1);
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                None,
                "The name or the password is wrong.".to_owned(),
            )
        }
        SignInOutcome::Wait(seconds) => (
            StatusCode::TOO_MANY_REQUESTS,
            Some(seconds),
            format!(
                "Too many failed attempts: wait {seconds} seconds. If you have forgotten the password, an admin can create a link for you: herald users link."
            ),
        ),
        SignInOutcome::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(BUSY_SECONDS),
            "Too many people are signing in: try again in a few seconds.".to_owned(),
        ),
    };
    let mut response = again(
        &LoginScreen {
            next,
            name,
            wrong: Some(wrong),
        },
        status,
    )?;
    if let Some(seconds) = wait {
        let seconds = header::HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    Ok(response)
}

pub async fn leave(session: Session, _form: DashboardForm) -> HttpResponse {
    session.purge();
    on_to("/dashboard/login")
}

pub async fn link_page(
    state: web::Data<AppState>,
    token: web::Path<String>,
) -> Result<HttpResponse, DashboardScreenError> {
    let found = logins::of_link(&state.engine.store, &token, state.clock.now()).await?;
    let page = LoginLinkScreen {
        wrong: found
            .is_none()
            .then(|| DashboardUserError::Link.to_string()),
        name: found
            .as_ref()
            .map(|login| login.name.clone())
            .unwrap_or_default(),
        role: found.map(|login| login.role).unwrap_or_default(),
    };
    if page.wrong.is_some() {
        return again(&page, StatusCode::NOT_FOUND);
    }
    shown(&page)
}

pub async fn enter_by_link(
    session: Session,
    state: web::Data<AppState>,
    token: web::Path<String>,
    form: Result<web::Form<HashMap<String, String>>, actix_web::Error>,
) -> Result<HttpResponse, DashboardScreenError> {
    let mut fields = fields(form.map_err(|_unreadable| DashboardScreenError::Form)?);
    let password = fields
        .remove("password")
        .filter(|password| !password.is_empty())
        .map(SecretString::from);
    let (store, now) = (&state.engine.store, state.clock.now());
    let before = logins::of_link(store, &token, now).await?;
    match logins::enter_by_link(store, &state.engine.passwords, &token, password, now).await {
        Ok(login) => {
            begin(&session, &login)?;
            Ok(on_to("/dashboard"))
        }
        Err(DashboardUserError::Store(error)) => Err(error.into()),
        Err(refused) => again(
            &LoginLinkScreen {
                name: before
                    .as_ref()
                    .map(|login| login.name.clone())
                    .unwrap_or_default(),
                role: before.map(|login| login.role).unwrap_or_default(),
                wrong: Some(refused.to_string()),
            },
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn after_the_login_one_stays_here() {
        for (next, there) in [
            (
                Some("/dashboard/notifications?status=failed"),
                "/dashboard/notifications?status=failed",
            ),
            (Some("/dashboard?x=1"), "/dashboard?x=1"),
            (Some("https://example.org/"), "/dashboard"),
            (Some("//example.org/dashboard/"), "/dashboard"),
            (Some("/dashboardish"), "/dashboard"),
            (Some("/dashboard/\\example.org"), "/dashboard"),
            (Some("/dashboard/logout"), "/dashboard"),
            (None, "/dashboard"),
        ] {
            assert_eq!(safe(next), there, "{next:?}");
        }
    }
}
