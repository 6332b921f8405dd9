//! The frame around every page: menu, user, and the result of the last form.

use actix_session::SessionExt;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::{Deserialize, Serialize};

use super::{
    act::{SignedInUser, error_sentences},
    fault::DashboardScreenError,
    moment::ViewerTimeZone,
};
use crate::{domain::login::DashboardRole, engine::InputError, state::AppState};

/// The frame around a page.
pub struct DashboardLayout {
    pub title: String,
    /// The section of the menu that this page belongs to.
    pub at: &'static str,
    pub name: String,
    pub role: &'static str,
    pub token: String,
    /// Identifies this display of the page: a form sent twice from it takes effect once.
    pub once: String,
    pub zone: ViewerTimeZone,
    /// The result of the form that led here.
    pub done: Option<String>,
    /// Why the form was refused.
    pub refused: Vec<String>,
    pub may_operate: bool,
    pub may_manage: bool,
}

/// The menu: address and name.
pub const MENU: [(&str, &str); 8] = [
    ("/dashboard", "Overview"),
    ("/dashboard/notifications", "Notifications"),
    ("/dashboard/contacts", "Contacts"),
    ("/dashboard/staff", "Staff"),
    ("/dashboard/templates", "Templates"),
    ("/dashboard/callbacks", "Callbacks"),
    ("/dashboard/senders", "Senders"),
    ("/dashboard/audit", "Audit"),
];

impl DashboardLayout {
    pub fn new(
        request: &HttpRequest,
        state: &AppState,
        person: &SignedInUser,
        title: impl Into<String>,
        at: &'static str,
    ) -> Result<Self, DashboardScreenError> {
        let (done, refused) = match said(request)? {
            Some(FlashMessage {
                result: Ok(done), ..
            }) => (Some(done), Vec::new()),
            Some(FlashMessage {
                result: Err(why), ..
            }) => (None, why),
            None => (None, Vec::new()),
        };
        Ok(Self {
            title: title.into(),
            at,
            name: person.name.clone(),
            role: person.role.name(),
            token: person.token.clone(),
            once: uuid::Uuid::new_v4().simple().to_string(),
            zone: ViewerTimeZone::of(request, state.clock.now()),
            done,
            refused,
            may_operate: person.role >= DashboardRole::Operator,
            may_manage: person.role >= DashboardRole::Admin,
        })
    }

    /// The sections of the menu that this user may see.
    pub fn menu(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        MENU.iter()
            .filter(|(address, _)| self.may_manage || *address != "/dashboard/audit")
    }
}

/// Renders a page as a response.
pub fn shown(page: &impl Template) -> Result<HttpResponse, DashboardScreenError> {
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(page.render()?))
}

/// The result of a form, until the next page shows it.
#[derive(Debug, Deserialize, Serialize)]
struct FlashMessage {
    path: String,
    result: Result<String, Vec<String>>,
}

/// Its field in the session.
const SAID: &str = "said";

/// Takes the result that this page has to show, once.
fn said(request: &HttpRequest) -> Result<Option<FlashMessage>, DashboardScreenError> {
    // A page that refreshes itself leaves it to the page that the user was led to.
    if request.headers().contains_key("X-Herald-Refresh") {
        return Ok(None);
    }
    let session = request.get_session();
    let said = session.get::<FlashMessage>(SAID)?;
    let said = said.filter(|said| said.path == request.path());
    if said.is_some() {
        session.remove(SAID);
    }
    Ok(said)
}

/// Redirects to a page that shows the result of a form: it can be reloaded without sending the form
/// again.
pub fn answered(
    request: &HttpRequest,
    address: &str,
    result: Result<String, Vec<String>>,
) -> Result<HttpResponse, DashboardScreenError> {
    let path = address.split('?').next().unwrap_or(address).to_owned();
    request
        .get_session()
        .insert(SAID, FlashMessage { path, result })?;
    Ok(on_to(address))
}

/// The same for what was changed, or which fields are wrong.
pub fn answered_change(
    request: &HttpRequest,
    address: &str,
    result: Result<&str, InputError>,
) -> Result<HttpResponse, DashboardScreenError> {
    let said = match result {
        Ok(done) => Ok(done.to_owned()),
        Err(InputError::Invalid(wrong)) => Err(error_sentences(&wrong)),
        Err(InputError::Store(error)) => return Err(error.into()),
    };
    answered(request, address, said)
}

/// Redirects to another page.
pub fn on_to(address: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header(("Location", address))
        .finish()
}
