//! What is around every page.

use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::{act::Person, fault::Fault, moment::Zone};
use crate::{domain::login::Role, state::AppState};

/// What is around every page.
pub struct Shell {
    pub title: String,
    /// Which part of the menu this page belongs to.
    pub at: &'static str,
    pub name: String,
    pub role: &'static str,
    pub token: String,
    pub zone: Zone,
    /// What came of what was just done, if it was done elsewhere.
    pub done: Option<String>,
    pub may_operate: bool,
    pub may_manage: bool,
}

/// The menu: address and name.
pub const MENU: [(&str, &str); 5] = [
    ("/dashboard", "Overview"),
    ("/dashboard/notifications", "Notifications"),
    ("/dashboard/callbacks", "Callbacks"),
    ("/dashboard/senders", "Senders"),
    ("/dashboard/audit", "Audit"),
];

impl Shell {
    pub fn new(
        request: &HttpRequest,
        state: &AppState,
        person: &Person,
        title: impl Into<String>,
        at: &'static str,
    ) -> Self {
        Self {
            title: title.into(),
            at,
            name: person.name.clone(),
            role: person.role.name(),
            token: person.token.clone(),
            zone: Zone::of(request, state.clock.now()),
            done: None,
            may_operate: person.role >= Role::Operator,
            may_manage: person.role >= Role::Admin,
        }
    }

    /// The parts of the menu that this person may see.
    pub fn menu(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        MENU.iter()
            .filter(|(address, _)| self.may_manage || *address != "/dashboard/audit")
    }
}

/// A page as an answer.
pub fn shown(page: &impl Template) -> Result<HttpResponse, Fault> {
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

/// On to another page, after something was done.
pub fn on_to(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header(("Location", address))
        .finish()
}
