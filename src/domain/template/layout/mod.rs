//! A whole template: header, body, footer and buttons, and what fills them.

mod check;

pub use check::{check, ttl_bounds};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Body, TemplateError, check_text, filters::LANGUAGE, names_in, one_line, parameter::Declared,
    render_text, variables_of,
};
use crate::domain::{
    content::{MediaKind, Source},
    language::is_akin,
};

/// What a template has beside its body, as a catalogue writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extras {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// What is said of its parameters; nothing, or of every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Declared>,
}

impl Extras {
    pub const fn is_empty(&self) -> bool {
        self.header.is_none()
            && self.footer.is_none()
            && self.buttons.is_empty()
            && self.parameters.is_empty()
    }
}

/// What stands above the body. Every value may hold Jinja2 expressions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Header {
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
pub enum Button {
    QuickReply {
        text: String,
        /// What comes back when it is tapped; its text, if absent.
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
    /// The button of an authentication template: it copies or fills in the code of the body.
    Otp {
        otp_type: OtpType,
        text: Option<String>,
    },
    RequestContactInfo,
}

/// How a one-time password gets into the app (Meta, "Authentication templates").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtpType {
    CopyCode,
    OneTap,
    ZeroTap,
}

/// Variables that Herald fills in: who receives it, and whom it is about.
pub const PROVIDED: [&str; 3] = ["contact", "about", "related_contact_name"];

/// Stands where something secret was.
pub const MASK: &str = "••••••";

/// Limits of Meta, "Template components", in characters.
const MAX_HEADER: usize = 60;
const MAX_URL: usize = 2000;
const MAX_COPY_CODE: usize = 15;
const MAX_OTP: usize = 15;
const MAX_PAYLOAD: usize = 256;
const MAX_BODY: usize = 1024;

/// A template, read and taken apart.
#[derive(Clone, Debug)]
pub struct Layout {
    pub body: Body,
    extras: Extras,
    named: bool,
    authentication: bool,
    /// What it is written in.
    language: String,
}

/// A template with everything filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    pub header: Option<FilledHeader>,
    /// With names when the template's parameters are named.
    pub body: Vec<Parameter>,
    /// Only those that take a parameter.
    pub buttons: Vec<FilledButton>,
}

/// A value, and its name in a template with named parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FilledHeader {
    Text(Parameter),
    Media {
        kind: MediaKind,
        source: Source,
        filename: Option<String>,
    },
    Location {
        latitude: f64,
        longitude: f64,
        name: String,
        address: String,
    },
}

/// The parameter of the button at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledButton {
    pub index: usize,
    pub value: ButtonValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ButtonValue {
    /// What the address ends with.
    UrlEnd(String),
    Payload(String),
    CouponCode(String),
}

impl Layout {
    /// Reads a stored template.
    pub fn parse(
        body: &str,
        extras: Extras,
        named: bool,
        authentication: bool,
        language: &str,
    ) -> Result<Self, TemplateError> {
        for text in texts(&extras) {
            check_text(text)?;
        }
        Ok(Self {
            body: Body::parse(body)?,
            extras,
            named,
            authentication,
            language: language.to_owned(),
        })
    }

    /// The language in which dates and amounts are written: the reader's, whose country
    /// matters, if the text is in it; else the text's.
    fn written_in<'a>(&'a self, context: &'a Value) -> &'a str {
        context
            .pointer("/contact/language")
            .and_then(Value::as_str)
            .filter(|reader| is_akin(reader, &self.language))
            .unwrap_or(&self.language)
    }

    /// The names a caller must provide, each once, in order.
    pub fn variables(&self) -> Vec<String> {
        let mut names = self.body.variables();
        for text in texts(&self.extras) {
            // Anything but a body of Meta's may use what it likes; what it asks for is asked for.
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

    /// What is said of a parameter, if anything is.
    pub fn declared(&self, name: &str) -> Option<&Declared> {
        self.extras.parameters.iter().find(|it| it.name == name)
    }

    /// Whether nobody may see what is given for it: it is declared so, or a one-time password.
    pub fn is_sensitive(&self, name: &str) -> bool {
        if PROVIDED.contains(&name) {
            return false;
        }
        self.authentication || self.declared(name).is_some_and(|it| it.sensitive)
    }

    /// Takes what is secret out of the parameters; [`MASK`] stands in its place.
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

    /// The text as others than the person may read it.
    pub fn masked_text(&self, parameters: &[Parameter]) -> String {
        let shown: Vec<Parameter> = self
            .body
            .expressions
            .iter()
            .zip(parameters)
            .map(|(expression, parameter)| {
                let names = names_in(expression);
                let mut shown = parameter.clone();
                if names.iter().any(|name| self.is_sensitive(name)) {
                    MASK.clone_into(&mut shown.text);
                }
                shown
            })
            .collect();
        self.text(&shown)
    }

    /// What it has beside its body.
    pub const fn extras(&self) -> &Extras {
        &self.extras
    }

    /// Fills in the examples.
    pub fn example(&self) -> Result<Filled, TemplateError> {
        self.fill(&self.example_context())
    }

    /// The examples of its parameters, and somebody's name for what Herald fills in.
    pub fn example_context(&self) -> Value {
        let mut context = serde_json::Map::new();
        for name in PROVIDED {
            let named = serde_json::json!({ "name": "Asha" });
            context.insert(name.to_owned(), named);
        }
        context.insert("related_contact_name".to_owned(), Value::from("Asha"));
        for declared in &self.extras.parameters {
            let example = Value::from(declared.example.as_str());
            context.insert(declared.name.clone(), example);
        }
        Value::Object(context)
    }

    /// Fills everything in.
    pub fn fill(&self, context: &Value) -> Result<Filled, TemplateError> {
        let mut context = context.clone();
        let language = Value::from(self.written_in(&context));
        if let Some(variables) = context.as_object_mut() {
            variables.insert(LANGUAGE.to_owned(), language);
            for declared in &self.extras.parameters {
                if let (Some(default), None | Some(Value::Null)) =
                    (&declared.default, variables.get(&declared.name))
                {
                    variables.insert(declared.name.clone(), Value::from(default.as_str()));
                }
                if let Some(value) = variables.get(&declared.name) {
                    let broken = |rule| TemplateError::Parameter(declared.name.clone(), rule);
                    declared.kind.check(value).map_err(broken)?;
                }
            }
        }
        let context = &context;
        let values = self.body.parameters(context)?;
        let body: Vec<Parameter> = self
            .body
            .expressions
            .iter()
            .zip(values)
            .map(|(expression, text)| Parameter {
                name: self.named.then(|| expression.clone()),
                text,
            })
            .collect();
        let rendered = self.text(&body);
        if rendered.chars().count() > MAX_BODY {
            return Err(TemplateError::TooLongFor("the body", MAX_BODY));
        }
        let mut buttons = Vec::new();
        if self.authentication {
            // The code stands in the text and in the button (Meta, "Authentication templates").
            if let Some(code) = body.first() {
                if code.text.chars().count() > MAX_OTP {
                    return Err(TemplateError::TooLongFor("a one-time password", MAX_OTP));
                }
                buttons.push(FilledButton {
                    index: 0,
                    value: ButtonValue::UrlEnd(code.text.clone()),
                });
            }
        } else {
            for (index, button) in self.extras.buttons.iter().enumerate() {
                if let Some(value) = fill_button(button, context)? {
                    buttons.push(FilledButton { index, value });
                }
            }
        }
        Ok(Filled {
            header: match &self.extras.header {
                Some(header) => fill_header(header, self.named, context)?,
                None => None,
            },
            body,
            buttons,
        })
    }

    /// The whole as one text, header and footer with it; `None` when it has buttons or a
    /// file, or cannot be filled.
    pub fn plain_text(&self, context: &Value) -> Option<String> {
        let plain = matches!(self.extras.header, None | Some(Header::Text { .. }));
        if !plain || !self.extras.buttons.is_empty() || self.authentication {
            return None;
        }
        let filled = self.fill(context).ok()?;
        let header = self.header_text(context);
        let parts = [
            header.map(|text| format!("*{text}*")),
            Some(self.text(&filled.body)),
            self.extras.footer.as_ref().map(|text| format!("_{text}_")),
        ];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n"))
    }

    /// The text of its header, if that is one.
    pub fn header_text(&self, context: &Value) -> Option<String> {
        match &self.extras.header {
            Some(Header::Text { text }) => render_text(text, context).ok(),
            _ => None,
        }
    }

    /// The text as the person reads it.
    pub fn text(&self, parameters: &[Parameter]) -> String {
        let values: Vec<String> = parameters
            .iter()
            .map(|parameter| parameter.text.clone())
            .collect();
        self.body.fill(&values)
    }
}

/// Every text that may hold expressions.
fn texts(extras: &Extras) -> Vec<&str> {
    let mut texts = Vec::new();
    match &extras.header {
        None => {}
        Some(Header::Text { text }) => texts.push(text.as_str()),
        Some(Header::Image { id, link } | Header::Video { id, link }) => {
            texts.extend(id.as_deref());
            texts.extend(link.as_deref());
        }
        Some(Header::Document { id, link, filename }) => {
            texts.extend(id.as_deref());
            texts.extend(link.as_deref());
            texts.extend(filename.as_deref());
        }
        Some(Header::Location {
            latitude,
            longitude,
            name,
            address,
        }) => texts.extend([latitude, longitude, name, address].map(String::as_str)),
    }
    for button in &extras.buttons {
        match button {
            Button::QuickReply { payload, .. } => texts.extend(payload.as_deref()),
            Button::Url { url, .. } => texts.push(url),
            Button::CopyCode { code } => texts.push(code),
            Button::PhoneNumber { .. } | Button::Otp { .. } | Button::RequestContactInfo => {}
        }
    }
    texts
}

fn value(what: &'static str, text: &str, context: &Value) -> Result<String, TemplateError> {
    let value = one_line(&render_text(text, context)?);
    if value.is_empty() {
        return Err(TemplateError::EmptyParameter(what.to_owned()));
    }
    Ok(value)
}

fn bounded(
    what: &'static str,
    most: usize,
    text: &str,
    context: &Value,
) -> Result<String, TemplateError> {
    let value = value(what, text, context)?;
    if value.chars().count() > most {
        return Err(TemplateError::TooLongFor(what, most));
    }
    Ok(value)
}

fn fill_header(
    header: &Header,
    named: bool,
    context: &Value,
) -> Result<Option<FilledHeader>, TemplateError> {
    let media = |kind, id: Option<&str>, link: Option<&str>, filename: Option<&str>| {
        let of = |text: Option<&str>, what| {
            text.map(|text| bounded(what, MAX_URL, text, context))
                .transpose()
        };
        let source = Source::new(of(id, "the header's id")?, of(link, "the header's link")?)
            .map_err(|rule| TemplateError::Header(rule.to_owned()))?;
        Ok(Some(FilledHeader::Media {
            kind,
            source,
            filename: of(filename, "the header's filename")?,
        }))
    };
    match header {
        Header::Text { text } => {
            let parsed = Body::parse(text)?;
            let values = parsed.parameters(context)?;
            if parsed.fill(&values).chars().count() > MAX_HEADER {
                return Err(TemplateError::TooLongFor("the header", MAX_HEADER));
            }
            Ok(parsed
                .expressions
                .into_iter()
                .zip(values)
                .next()
                .map(|(expression, text)| {
                    FilledHeader::Text(Parameter {
                        name: named.then_some(expression),
                        text,
                    })
                }))
        }
        Header::Image { id, link } => media(MediaKind::Image, id.as_deref(), link.as_deref(), None),
        Header::Video { id, link } => media(MediaKind::Video, id.as_deref(), link.as_deref(), None),
        Header::Document { id, link, filename } => media(
            MediaKind::Document,
            id.as_deref(),
            link.as_deref(),
            filename.as_deref(),
        ),
        Header::Location {
            latitude,
            longitude,
            name,
            address,
        } => {
            let degrees = |what: &'static str, text: &str, most: f64| {
                value(what, text, context)?
                    .parse::<f64>()
                    .ok()
                    .filter(|degrees| degrees.abs() <= most)
                    .ok_or_else(|| {
                        TemplateError::Header(format!("{what}: degrees, at most {most}"))
                    })
            };
            Ok(Some(FilledHeader::Location {
                latitude: degrees("the latitude", latitude, 90.0)?,
                longitude: degrees("the longitude", longitude, 180.0)?,
                name: value("the place's name", name, context)?,
                address: value("the place's address", address, context)?,
            }))
        }
    }
}

fn fill_button(button: &Button, context: &Value) -> Result<Option<ButtonValue>, TemplateError> {
    Ok(match button {
        Button::QuickReply {
            payload: Some(payload),
            ..
        } => Some(ButtonValue::Payload(bounded(
            "a button's payload",
            MAX_PAYLOAD,
            payload,
            context,
        )?)),
        Button::Url { url, .. } => {
            let parsed = Body::parse(url)?;
            let values = parsed.parameters(context)?;
            if parsed.fill(&values).chars().count() > MAX_URL {
                return Err(TemplateError::TooLongFor("a button's address", MAX_URL));
            }
            values.into_iter().next().map(ButtonValue::UrlEnd)
        }
        Button::CopyCode { code } => Some(ButtonValue::CouponCode(bounded(
            "a button's code",
            MAX_COPY_CODE,
            code,
            context,
        )?)),
        Button::QuickReply { payload: None, .. }
        | Button::PhoneNumber { .. }
        | Button::Otp { .. }
        | Button::RequestContactInfo => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn layout(body: &str, extras: Value, authentication: bool) -> Layout {
        let extras = serde_json::from_value(extras).unwrap();
        Layout::parse(body, extras, false, authentication, "en_US").unwrap()
    }

    #[test]
    fn the_code_stands_in_the_text_and_in_the_button() {
        let filled = layout("{{ code }} is your code.", json!({}), true)
            .fill(&json!({"code": "123456"}))
            .unwrap();
        assert_eq!(filled.body.first().unwrap().text, "123456");
        assert_eq!(
            filled.buttons,
            [FilledButton {
                index: 0,
                value: ButtonValue::UrlEnd("123456".to_owned())
            }]
        );
    }

    #[test]
    fn a_code_of_over_fifteen_characters_is_refused_without_showing_it() {
        let error = layout("{{ code }}", json!({}), true)
            .fill(&json!({"code": "1234567890123456"}))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "a one-time password has over 15 characters"
        );
    }

    #[test]
    fn buttons_keep_their_places_and_only_those_with_a_value_are_named() {
        let extras = json!({"buttons": [
            {"type": "quick_reply", "text": "Yes"},
            {"type": "quick_reply", "text": "No", "payload": "no:{{ id }}"},
            {"type": "url", "text": "See", "url": "https://example.org/{{ id }}"},
            {"type": "phone_number", "text": "Call", "phone_number": "+12025550123"},
            {"type": "copy_code", "code": "{{ coupon }}"}
        ]});
        let layout = layout("Hello", extras, false);
        assert_eq!(layout.variables(), ["id", "coupon"]);
        let filled = layout
            .fill(&json!({"id": "7", "coupon": "SAVE10"}))
            .unwrap();
        let places: Vec<usize> = filled.buttons.iter().map(|button| button.index).collect();
        assert_eq!(places, [1, 2, 4]);
    }

    proptest! {
        /// Issue: any template and parameters either render within the bounds or are refused
        /// with the field named.
        #[test]
        fn what_is_filled_keeps_the_bounds_and_what_is_refused_names_the_parameter(
            before in "[a-zA-Z .]{1,400}",
            one in ".{0,700}",
            two in prop_oneof!["[0-9]{1,9}", ".{0,40}"],
            has_second in any::<bool>(),
        ) {
            let extras = json!({"parameters": [
                {"name": "one", "example": "x"}, {"name": "two", "kind": "number", "example": "1"},
            ]});
            let layout = layout(&format!("{before} {{{{ one }}}} and {{{{ two }}}} end"), extras, false);
            let params = if has_second {
                json!({ "one": one, "two": two })
            } else {
                json!({ "one": one })
            };
            match layout.fill(&params) {
                Ok(filled) => {
                    prop_assert!(layout.text(&filled.body).chars().count() <= MAX_BODY);
                    for parameter in &filled.body {
                        prop_assert!(!parameter.text.is_empty());
                        prop_assert!(!parameter.text.contains(['\n', '\t']) && !parameter.text.contains("  "));
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    let named = ["one", "two", "the body"].iter().any(|name| said.contains(name));
                    prop_assert!(named, "{}", said);
                }
            }
        }
    }

    #[test]
    fn a_header_has_a_link_or_an_id_and_a_link_is_an_address() {
        let header = |link: &str| {
            layout(
                "x",
                json!({"header": {"type": "document", "link": link, "filename": "{{ n }}.pdf"}}),
                false,
            )
            .fill(&json!({"n": "A1"}))
        };
        assert!(matches!(
            header("https://example.org/{{ n }}").unwrap().header,
            Some(FilledHeader::Media { kind: MediaKind::Document, source: Source::Link(link), filename: Some(name) })
                if link == "https://example.org/A1" && name == "A1.pdf"
        ));
        assert!(header("ftp://example.org/{{ n }}").is_err());
    }
}
