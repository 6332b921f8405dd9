//! The layout of a template: header, body, footer and buttons, and their parameters.

mod check;
mod email;
mod fill;
mod otp;
mod preview;

pub use check::{check, ttl_bounds};
pub use email::FilledEmail;
pub use fill::{
    FilledTemplate, FilledTemplateButton, FilledTemplateButtonValue, FilledTemplateHeader,
    FilledTemplateParameter,
};
pub use otp::{OtpAutofillApp, OtpButton, OtpButtonType};
pub use preview::{MessagePreview, PreviewHeader};

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    TemplateBody, TemplateError, asked_by, check_text, names_in,
    parameter::DeclaredTemplateParameter, variables_of,
};
use crate::domain::language::is_akin;

/// The parts of a template besides its body, as written in a catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateExtras {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<TemplateHeader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<TemplateButton>,
    /// Declarations of its parameters: of none or of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<DeclaredTemplateParameter>,
    /// Authentication templates: Meta writes below the text how long the code is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_expiration_minutes: Option<u8>,
    /// Authentication templates: Meta adds the advice not to share the code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub add_security_recommendation: bool,
    /// A value that a filter or the kind of a parameter cannot read prevents sending, instead of
    /// being shown unchanged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Zone of times without one, by its name in the tz database; UTC, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Of an e-mail; without one, the first line of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The HTML part of an e-mail, beside the text. Values are escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

impl TemplateExtras {
    pub const fn is_empty(&self) -> bool {
        self.header.is_none()
            && self.footer.is_none()
            && self.buttons.is_empty()
            && self.parameters.is_empty()
            && self.code_expiration_minutes.is_none()
            && !self.add_security_recommendation
            && !self.strict
            && self.time_zone.is_none()
            && self.subject.is_none()
            && self.html.is_none()
    }
}

/// The part above the body. Every value may hold Jinja2 expressions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TemplateHeader {
    Text {
        text: String,
    },
    Image {
        id: Option<String>,
        link: Option<String>,
    },
    Video {
        id: Option<String>,
        link: Option<String>,
    },
    Document {
        id: Option<String>,
        link: Option<String>,
        filename: Option<String>,
    },
    Location {
        latitude: String,
        longitude: String,
        name: String,
        address: String,
    },
}

/// A button below the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TemplateButton {
    QuickReply {
        text: String,
        /// Returned when it is tapped; its text, if absent.
        payload: Option<String>,
    },
    /// Its address may end with one expression.
    Url {
        text: String,
        url: String,
    },
    PhoneNumber {
        text: String,
        phone_number: String,
    },
    /// Copies a coupon code.
    CopyCode {
        code: String,
    },
    /// Authentication templates: copies or fills in the code of the body.
    Otp(OtpButton),
    RequestContactInfo,
}

/// Variables that Herald fills in: the recipient and the subject.
pub const PROVIDED: [&str; 3] = ["contact", "about", "related_contact_name"];

/// Replaces a secret value.
pub const MASK: &str = "••••••";

/// Limits of Meta, "Template components", in characters.
const MAX_HEADER: usize = 60;
const MAX_URL: usize = 2000;
const MAX_BODY: usize = 1024;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct TemplateLayout {
    pub body: TemplateBody,
    extras: TemplateExtras,
    named: bool,
    authentication: bool,
    /// The language of its text.
    language: String,
    /// For each expression of the body: whether only the recipient may see it.
    secret_places: Vec<bool>,
}

impl TemplateLayout {
    /// Parses a stored template.
    pub fn parse(
        body: &str,
        extras: TemplateExtras,
        named: bool,
        authentication: bool,
        language: &str,
    ) -> Result<Self, TemplateError> {
        for text in texts(&extras) {
            check_text(text)?;
        }
        let mut layout = Self {
            body: TemplateBody::parse(body)?,
            extras,
            named,
            authentication,
            language: language.to_owned(),
            secret_places: Vec::new(),
        };
        // Computed once: a text is filled for every recipient.
        let is_secret = |expression: &String| {
            let asked = names_in(expression);
            asked.iter().any(|name| layout.is_sensitive(name))
        };
        layout.secret_places = layout.body.expressions.iter().map(is_secret).collect();
        Ok(layout)
    }

    /// The language of dates and amounts: the reader's, whose country matters, if the text is in
    /// that language; otherwise the text's.
    fn written_in<'a>(&'a self, context: &'a Value) -> &'a str {
        context
            .pointer("/contact/language")
            .and_then(Value::as_str)
            .filter(|reader| is_akin(reader, &self.language))
            .unwrap_or(&self.language)
    }

    /// The variables that a caller must provide, each once, in order.
    pub fn variables(&self) -> Vec<String> {
        let mut names = self.body.variables();
        for text in texts(&self.extras) {
            // Parts other than the body may use any expression: every variable in them counts.
            let Ok(found) = variables_of(text) else {
                continue;
            };
            for name in found {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// A variable used in rendering that [`Self::variables`] does not list: a caller who provides
    /// it would be refused because there is no such parameter.
    pub fn unseen(&self) -> Option<String> {
        let asked = Arc::default();
        for expression in &self.body.expressions {
            asked_by(&format!("{{{{ {expression} }}}}"), &asked);
        }
        for text in texts(&self.extras) {
            asked_by(text, &asked);
        }
        let known = self.variables();
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_known = |name: &String| known.contains(name) || PROVIDED.contains(&name.as_str());
        asked.into_iter().find(|name| !is_known(name))
    }

    /// The parameter that an error is about: of those in its place, the longest.
    pub fn blamed(&self, error: &TemplateError, params: &Value) -> Option<String> {
        let header = || match &self.extras.header {
            Some(header) => texts_of(header),
            None => Vec::new(),
        };
        let names = match error {
            TemplateError::Parameter(name, _) => return Some(name.clone()),
            TemplateError::Missing(expression)
            | TemplateError::EmptyParameter(expression)
            | TemplateError::Expression(expression, _)
                if !names_in(expression).is_empty() =>
            {
                names_in(expression)
            }
            TemplateError::TooLongFor("the body" | "a one-time password", _) => {
                self.body.variables()
            }
            TemplateError::TooLongFor(what, _) if what.starts_with("the header") => {
                names_of(&header())
            }
            TemplateError::Header(_) => names_of(&header()),
            TemplateError::TooLongFor(..) => names_of(
                &self
                    .extras
                    .buttons
                    .iter()
                    .filter_map(text_of)
                    .collect::<Vec<_>>(),
            ),
            _ => self.variables(),
        };
        let length = |name: &String| match params.get(name) {
            Some(Value::String(text)) => text.chars().count(),
            _ => 0,
        };
        let given = names
            .into_iter()
            .filter(|name| !PROVIDED.contains(&name.as_str()));
        given.max_by_key(length)
    }

    /// The declaration of a parameter, if there is one.
    pub fn declared(&self, name: &str) -> Option<&DeclaredTemplateParameter> {
        self.extras.parameters.iter().find(|it| it.name == name)
    }

    /// Whether its value is secret: it is declared so, or a one-time password.
    pub fn is_sensitive(&self, name: &str) -> bool {
        if PROVIDED.contains(&name) {
            return false;
        }
        self.authentication || self.declared(name).is_some_and(|it| it.sensitive)
    }

    /// Removes secret values from the parameters; [`MASK`] replaces them.
    pub fn take_secrets(&self, params: &mut Value) -> Map<String, Value> {
        let mut secrets = Map::new();
        let Some(params) = params.as_object_mut() else {
            return secrets;
        };
        for (name, value) in params.iter_mut() {
            if self.is_sensitive(name) && !value.is_null() {
                secrets.insert(name.clone(), std::mem::replace(value, MASK.into()));
            }
        }
        secrets
    }

    /// Its parts besides the body.
    pub const fn extras(&self) -> &TemplateExtras {
        &self.extras
    }
}

/// Every text that may hold expressions.
fn texts(extras: &TemplateExtras) -> Vec<&str> {
    let header = extras.header.iter().flat_map(texts_of);
    header
        .chain(extras.buttons.iter().filter_map(text_of))
        .chain(extras.subject.as_deref())
        .chain(extras.html.as_deref())
        .collect()
}

fn texts_of(header: &TemplateHeader) -> Vec<&str> {
    match header {
        TemplateHeader::Text { text } => vec![text.as_str()],
        TemplateHeader::Image { id, link } | TemplateHeader::Video { id, link } => {
            id.iter().chain(link).map(String::as_str).collect()
        }
        TemplateHeader::Document { id, link, filename } => {
            let texts = id.iter().chain(link).chain(filename);
            texts.map(String::as_str).collect()
        }
        TemplateHeader::Location {
            latitude,
            longitude,
            name,
            address,
        } => [latitude, longitude, name, address]
            .map(String::as_str)
            .into(),
    }
}

fn text_of(button: &TemplateButton) -> Option<&str> {
    match button {
        TemplateButton::QuickReply { payload, .. } => payload.as_deref(),
        TemplateButton::Url { url, .. } => Some(url),
        TemplateButton::CopyCode { code } => Some(code),
        TemplateButton::PhoneNumber { .. }
        | TemplateButton::Otp(_)
        | TemplateButton::RequestContactInfo => None,
    }
}

fn names_of(texts: &[&str]) -> Vec<String> {
    let names = texts.iter().filter_map(|text| variables_of(text).ok());
    names.flatten().collect()
}
