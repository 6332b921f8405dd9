//! Extractors: the current dashboard user, and a form protected against CSRF.

use std::{collections::HashMap, future::Future, pin::Pin};

use actix_session::SessionExt;
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{
    fault::DashboardScreenError,
    session::{LOGIN, TOKEN},
};
use crate::{
    domain::{field_error::FieldError, login::DashboardRole, phone},
    engine::intake::idempotency::IdempotencyKey,
    state::{AppState, ClientAddress},
    store::login,
};

/// A signed-in dashboard user.
#[derive(Clone, Debug)]
pub struct SignedInUser {
    pub name: String,
    pub role: DashboardRole,
    /// The CSRF token of this session's forms.
    pub token: String,
}

impl SignedInUser {
    /// # Errors
    ///
    /// [`DashboardScreenError::Forbidden`] if the role is not sufficient.
    pub fn needs(&self, role: DashboardRole) -> Result<(), DashboardScreenError> {
        if self.role >= role {
            Ok(())
        } else {
            Err(DashboardScreenError::Forbidden(role.name()))
        }
    }

    /// Whether numbers and texts are shown to this user.
    pub fn sees_people(&self) -> bool {
        self.role >= DashboardRole::Operator
    }

    /// A person's name or number, masked unless this user may see it.
    pub fn sees(&self, whom: String) -> String {
        if self.sees_people() {
            whom
        } else {
            phone::masked(&whom)
        }
    }

    /// The actor in the audit log.
    pub fn actor(&self) -> String {
        format!("login:{}", self.name)
    }
}

async fn who(request: HttpRequest) -> Result<SignedInUser, DashboardScreenError> {
    let session = request.get_session();
    let next = request
        .uri()
        .path_and_query()
        .map_or("/dashboard", |path| path.as_str())
        .to_owned();
    let state = request.app_data::<web::Data<AppState>>().cloned();
    let (Some(id), Some(token), Some(state)) = (
        session.get::<Uuid>(LOGIN)?,
        session.get::<String>(TOKEN)?,
        state,
    ) else {
        return Err(DashboardScreenError::LogIn(next));
    };
    // Read for each request: a role that is taken away is gone at once.
    let found = login::find(state.engine.store.reader(), id).await?;
    match found.filter(|login| login.off_at.is_none()) {
        Some(login) => {
            if let Some(caller) = request.extensions().get::<ClientAddress>() {
                caller.prove();
            }
            Ok(SignedInUser {
                role: DashboardRole::parse(&login.role).unwrap_or(DashboardRole::Viewer),
                name: login.name,
                token,
            })
        }
        None => Err(DashboardScreenError::LogIn(next)),
    }
}

impl FromRequest for SignedInUser {
    type Error = DashboardScreenError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, DashboardScreenError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(who(request.clone()))
    }
}

/// A form sent by a signed-in user from a page of this session.
#[derive(Debug)]
pub struct DashboardForm {
    pub person: SignedInUser,
    fields: HashMap<String, String>,
}

impl DashboardForm {
    /// A trimmed field; `None` if it is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Whether the form has this field, even if it is empty.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// An idempotency key for this form: if it is sent twice from one display of its page, it takes
    /// effect once, as a double click must not send a message twice. `what` identifies the action.
    pub fn once(&self, what: &str) -> Option<IdempotencyKey> {
        let once = self.text("once")?;
        Some(IdempotencyKey {
            client: self.person.actor(),
            key: format!("{once}/{what}"),
            fingerprint: Sha256::digest(what.as_bytes()).to_vec(),
        })
    }

    /// Removes a field, for parsers that take a whole filter.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.fields
            .remove(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }
}

/// The fields of a form. NUL, which PostgreSQL cannot store, is replaced.
pub fn fields(form: web::Form<HashMap<String, String>>) -> HashMap<String, String> {
    let storable = |text: String| text.replace('\0', "\u{fffd}");
    let fields = form.into_inner().into_iter();
    fields
        .map(|(name, value)| (storable(name), storable(value)))
        .collect()
}

/// The errors of a form, in words.
pub fn error_sentences(wrong: &[FieldError]) -> Vec<String> {
    wrong
        .iter()
        .map(|it| {
            let field = it.pointer.trim_start_matches('/').replace('_', " ");
            if field.is_empty() {
                it.rule.clone()
            } else {
                format!("{field}: {}", it.rule)
            }
        })
        .collect()
}

impl FromRequest for DashboardForm {
    type Error = DashboardScreenError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, DashboardScreenError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let fields = web::Form::<HashMap<String, String>>::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let person = match who(request.clone()).await {
                // The form is lost: back to the page it was sent from.
                Err(DashboardScreenError::LogIn(_)) => {
                    return Err(DashboardScreenError::LogIn("/dashboard".to_owned()));
                }
                person => person?,
            };
            let fields = self::fields(
                fields
                    .await
                    .map_err(|_unreadable| DashboardScreenError::Form)?,
            );
            let given = fields.get(TOKEN).map(String::as_bytes).unwrap_or_default();
            if bool::from(given.ct_eq(person.token.as_bytes())) {
                Ok(Self { person, fields })
            } else {
                Err(DashboardScreenError::Old)
            }
        })
    }
}
