//! The dashboard: pages rendered on the server, updated live, without foreign scripts.

mod act;
mod assets;
mod audit;
mod callbacks;
mod chart;
mod contacts;
mod fault;
mod guard;
mod hold;
mod live;
mod login;
mod message_templates;
mod moment;
mod notification;
mod notifications;
mod overview;
mod senders;
mod session;
mod shell;
mod staff;
mod unsubscribe;

use actix_session::{SessionMiddleware, config::BrowserSession};
use actix_web::{
    HttpResponse,
    cookie::{Key, SameSite, time::Duration},
    http::StatusCode,
    middleware::from_fn,
    web,
};

use crate::{domain::login::SESSION_SECONDS, state::AppState};

/// Settings of sessions and cookies.
#[derive(Clone)]
pub struct DashboardSettings {
    /// Key that seals cookies.
    pub cookie_key: Key,
    /// Cookies travel over TLS only.
    pub secure: bool,
}

impl std::fmt::Debug for DashboardSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DashboardSettings")
            .field("secure", &self.secure)
            .finish_non_exhaustive()
    }
}

/// Configures every page.
pub fn configure(
    config: &mut web::ServiceConfig,
    state: &web::Data<AppState>,
    settings: &DashboardSettings,
) {
    let kept = session::DashboardSessionStore::new(state.clone());
    let sessions = SessionMiddleware::builder(kept, settings.cookie_key.clone())
        .cookie_name("herald_session".to_owned())
        .cookie_path("/dashboard".to_owned())
        .cookie_secure(settings.secure)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .session_lifecycle(BrowserSession::default().state_ttl(Duration::seconds(SESSION_SECONDS)))
        .build();
    config
        .route("/", web::get().to(home))
        .service(
            web::resource("/unsubscribe/{token}")
                .route(web::get().to(unsubscribe::ask))
                .route(web::head().to(unsubscribe::ask))
                .route(web::post().to(unsubscribe::unsubscribe)),
        )
        .service(web::resource("/dashboard/assets/{name}").route(web::get().to(assets::get)))
        .service(
            web::scope("/dashboard")
                .app_data(
                    web::QueryConfig::default()
                        .error_handler(|_, _| fault::DashboardScreenError::NotFound.into()),
                )
                .app_data(
                    web::PathConfig::default()
                        .error_handler(|_, _| fault::DashboardScreenError::NotFound.into()),
                )
                .wrap(sessions)
                .wrap(from_fn(guard::only_from_here))
                .wrap(from_fn(guard::headers))
                .route("", web::get().to(overview::page))
                .route("/login", web::get().to(login::page))
                .route("/login", web::post().to(login::enter))
                .route("/logout", web::post().to(login::leave))
                .route("/enter/{token}", web::get().to(login::link_page))
                .route("/enter/{token}", web::post().to(login::enter_by_link))
                .route("/live", web::get().to(live::stream))
                .route("/notifications", web::get().to(notifications::page))
                .route("/notifications/bulk", web::get().to(notifications::planned))
                .route("/notifications/bulk", web::post().to(notifications::bulk))
                .route("/notifications/{id}", web::get().to(notification::page))
                .route("/notifications/{id}", web::post().to(notification::act))
                .route("/contacts", web::get().to(contacts::page))
                .route("/contacts", web::post().to(contacts::add))
                .route("/contacts/suppressed", web::get().to(contacts::suppressed))
                .route("/contacts/suppressed", web::post().to(contacts::lift))
                .route("/contacts/{id}", web::get().to(contacts::one))
                .route("/contacts/{id}", web::post().to(contacts::act))
                .route("/staff", web::get().to(staff::page))
                .route("/staff", web::post().to(staff::act))
                .route("/staff/groups/{name}", web::get().to(staff::group))
                .route("/templates", web::get().to(message_templates::page))
                .route("/templates/{name}", web::get().to(message_templates::one))
                .route("/callbacks", web::get().to(callbacks::page))
                .route("/callbacks/replay", web::post().to(callbacks::replay))
                .route("/callbacks/{id}", web::get().to(callbacks::one))
                .route("/senders", web::get().to(senders::page))
                .route("/senders/{id}", web::get().to(senders::one))
                .route("/senders/{id}", web::post().to(senders::act))
                .route("/hold", web::get().to(hold::page))
                .route("/hold", web::post().to(hold::act))
                .route("/audit", web::get().to(audit::page))
                .default_service(web::to(nothing_here)),
        );
}

async fn home() -> web::Redirect {
    web::Redirect::to("/dashboard").using_status_code(StatusCode::SEE_OTHER)
}

async fn nothing_here(
    _person: act::SignedInUser,
) -> Result<HttpResponse, fault::DashboardScreenError> {
    Err(fault::DashboardScreenError::NotFound)
}
