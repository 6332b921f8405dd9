//! Fills a template: the provider's parameters, and the text that people read.

use serde_json::Value;

use super::{
    MASK, MAX_BODY, MAX_HEADER, MAX_URL, PROVIDED, TemplateButton, TemplateHeader, TemplateLayout,
};
use crate::domain::{
    content::{MediaKind, MediaSource},
    template::{
        RenderContext, TemplateBody, TemplateError, UnreadableFilterValue,
        filters::{LANGUAGE, ZONE},
        one_line, render_for_people,
    },
};

/// Limits of Meta, "Template components", in characters.
const MAX_COPY_CODE: usize = 15;
const MAX_OTP: usize = 15;
const MAX_PAYLOAD: usize = 256;

/// The name of a header's content in errors.
const HEADER_ID: &str = "the header's id";
const HEADER_LINK: &str = "the header's link";
const HEADER_FILENAME: &str = "the header's filename";

/// A filled template.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledTemplate {
    pub header: Option<FilledTemplateHeader>,
    /// With names if the template's parameters are named.
    pub body: Vec<FilledTemplateParameter>,
    /// Only those that take a parameter.
    pub buttons: Vec<FilledTemplateButton>,
    /// Values that a filter, or the kind of a parameter, could not read; they are shown unchanged.
    pub unread: Vec<UnreadableFilterValue>,
}

/// A value, and its name in a template with named parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledTemplateParameter {
    pub name: Option<String>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FilledTemplateHeader {
    Text(FilledTemplateParameter),
    Media {
        kind: MediaKind,
        source: MediaSource,
        filename: Option<String>,
    },
    Location {
        latitude: f64,
        longitude: f64,
        name: String,
        address: String,
    },
}

/// The parameter of the button at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledTemplateButton {
    pub index: usize,
    pub value: FilledTemplateButtonValue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilledTemplateButtonValue {
    /// The end of the address.
    UrlEnd(String),
    Payload(String),
    CouponCode(String),
}

impl TemplateLayout {
    /// The text as others than the recipient may read it.
    pub fn masked_text(&self, parameters: &[FilledTemplateParameter]) -> String {
        let shown: Vec<FilledTemplateParameter> = parameters
            .iter()
            .zip(&self.secret_places)
            .map(|(parameter, is_secret)| {
                let mut shown = parameter.clone();
                if *is_secret {
                    MASK.clone_into(&mut shown.text);
                }
                shown
            })
            .collect();
        self.text(&shown)
    }

    /// Fills in the examples, which must all be valid.
    pub fn example(&self) -> Result<FilledTemplate, TemplateError> {
        self.filled(&self.example_context(), true)
    }

    /// The examples of its parameters, and an example name for the variables that Herald fills in.
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

    /// The context of a rendering: given values, defaults for missing ones, and the language of the
    /// reader.
    pub(super) fn prepared(
        &self,
        context: &Value,
        is_strict: bool,
        unread: &mut Vec<UnreadableFilterValue>,
    ) -> Result<RenderContext, TemplateError> {
        let mut context = context.clone();
        let language = Value::from(self.written_in(&context));
        if let Some(variables) = context.as_object_mut() {
            variables.insert(LANGUAGE.to_owned(), language);
            variables.insert(ZONE.to_owned(), Value::from(self.extras.time_zone.clone()));
            for declared in &self.extras.parameters {
                if variables.get(&declared.name).is_none_or(is_blank) {
                    let name = declared.name.clone();
                    match (&declared.default, declared.required) {
                        (Some(default), _) => {
                            variables.insert(name, Value::from(default.as_str()));
                        }
                        (None, Some(true)) => return Err(TemplateError::Missing(name)),
                        // The text has a default of its own, which applies only to missing values.
                        (None, Some(false)) => drop(variables.remove(&name)),
                        (None, None) => {}
                    }
                }
                if let Some(value) = variables.get(&declared.name) {
                    match declared.kind.check(value) {
                        Ok(()) => {}
                        Err(rule) if is_strict || is_blank(value) || !declared.kind.is_shown() => {
                            return Err(TemplateError::Parameter(declared.name.clone(), rule));
                        }
                        Err(rule) => unread.push(UnreadableFilterValue {
                            place: declared.name.clone(),
                            rule: rule.to_owned(),
                        }),
                    }
                }
            }
        }
        Ok(RenderContext::of_params(&context, is_strict))
    }

    /// Fills everything in. A value that cannot be read is shown unchanged, unless the template is
    /// `strict`.
    pub fn fill(&self, context: &Value) -> Result<FilledTemplate, TemplateError> {
        self.filled(context, self.extras.strict)
    }

    fn filled(&self, context: &Value, is_strict: bool) -> Result<FilledTemplate, TemplateError> {
        let mut unread = Vec::new();
        let context = self.prepared(context, is_strict, &mut unread)?;
        let mut filling = TemplateFiller {
            context: &context,
            unread: Vec::new(),
        };
        let values = self.body.values(&context, &mut filling.unread)?;
        let body: Vec<FilledTemplateParameter> = self
            .body
            .expressions
            .iter()
            .zip(values)
            .map(|(expression, text)| FilledTemplateParameter {
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
            // The code appears in the text and in the button (Meta, "Authentication templates").
            if let Some(code) = body.first() {
                if code.text.chars().count() > MAX_OTP {
                    return Err(TemplateError::TooLongFor("a one-time password", MAX_OTP));
                }
                buttons.push(FilledTemplateButton {
                    index: 0,
                    value: FilledTemplateButtonValue::UrlEnd(code.text.clone()),
                });
            }
        } else {
            for (index, button) in self.extras.buttons.iter().enumerate() {
                if let Some(value) = filling.button(button)? {
                    buttons.push(FilledTemplateButton { index, value });
                }
            }
        }
        let header = match &self.extras.header {
            Some(header) => filling.header(header, self.named)?,
            None => None,
        };
        // A value reported by a filter is not reported again for its parameter.
        for found in filling.unread {
            unread.retain(|known| known.rule != found.rule);
            unread.push(found);
        }
        Ok(FilledTemplate {
            header,
            body,
            buttons,
            unread,
        })
    }

    /// The whole as one text, including header and footer; `None` if it has buttons or a file, or
    /// cannot be filled.
    pub fn plain_text(&self, context: &Value) -> Option<String> {
        let plain = matches!(self.extras.header, None | Some(TemplateHeader::Text { .. }));
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

    /// The text of its header, if it has a text header.
    pub fn header_text(&self, context: &Value) -> Option<String> {
        match &self.extras.header {
            Some(TemplateHeader::Text { text }) => {
                let context = self.prepared(context, self.extras.strict, &mut Vec::new());
                render_for_people(text, &context.ok()?, "", &mut Vec::new()).ok()
            }
            _ => None,
        }
    }

    /// The text as the recipient reads it.
    pub fn text(&self, parameters: &[FilledTemplateParameter]) -> String {
        let values: Vec<String> = parameters
            .iter()
            .map(|parameter| parameter.text.clone())
            .collect();
        self.body.fill(&values)
    }
}

/// Whether a value is empty: Meta takes no empty parameter.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A template being filled.
struct TemplateFiller<'a> {
    context: &'a RenderContext,
    unread: Vec<UnreadableFilterValue>,
}

impl TemplateFiller<'_> {
    fn value(&mut self, what: &'static str, text: &str) -> Result<String, TemplateError> {
        let value = one_line(&render_for_people(
            text,
            self.context,
            what,
            &mut self.unread,
        )?);
        if value.trim().is_empty() {
            return Err(TemplateError::EmptyParameter(what.to_owned()));
        }
        Ok(value)
    }

    fn bounded(
        &mut self,
        what: &'static str,
        most: usize,
        text: &str,
    ) -> Result<String, TemplateError> {
        let value = self.value(what, text)?;
        if value.chars().count() > most {
            return Err(TemplateError::TooLongFor(what, most));
        }
        Ok(value)
    }

    /// A file: by its id or its link.
    fn media(
        &mut self,
        kind: MediaKind,
        id: Option<&str>,
        link: Option<&str>,
        filename: Option<&str>,
    ) -> Result<Option<FilledTemplateHeader>, TemplateError> {
        let mut of = |text: Option<&str>, what| {
            text.map(|text| self.bounded(what, MAX_URL, text))
                .transpose()
        };
        let source = MediaSource::new(of(id, HEADER_ID)?, of(link, HEADER_LINK)?)
            .map_err(|rule| TemplateError::Header(rule.to_owned()))?;
        Ok(Some(FilledTemplateHeader::Media {
            kind,
            source,
            filename: of(filename, HEADER_FILENAME)?,
        }))
    }

    fn degrees(&mut self, what: &'static str, text: &str, most: f64) -> Result<f64, TemplateError> {
        self.value(what, text)?
            .parse::<f64>()
            .ok()
            .filter(|degrees| degrees.abs() <= most)
            .ok_or_else(|| TemplateError::Header(format!("{what}: degrees, at most {most}")))
    }

    fn header(
        &mut self,
        header: &TemplateHeader,
        named: bool,
    ) -> Result<Option<FilledTemplateHeader>, TemplateError> {
        match header {
            TemplateHeader::Text { text } => {
                let parsed = TemplateBody::parse(text)?;
                let values = parsed.values(self.context, &mut self.unread)?;
                if parsed.fill(&values).chars().count() > MAX_HEADER {
                    return Err(TemplateError::TooLongFor("the header", MAX_HEADER));
                }
                Ok(parsed
                    .expressions
                    .into_iter()
                    .zip(values)
                    .next()
                    .map(|(expression, text)| {
                        FilledTemplateHeader::Text(FilledTemplateParameter {
                            name: named.then_some(expression),
                            text,
                        })
                    }))
            }
            TemplateHeader::Image { id, link } => {
                self.media(MediaKind::Image, id.as_deref(), link.as_deref(), None)
            }
            TemplateHeader::Video { id, link } => {
                self.media(MediaKind::Video, id.as_deref(), link.as_deref(), None)
            }
            TemplateHeader::Document { id, link, filename } => self.media(
                MediaKind::Document,
                id.as_deref(),
                link.as_deref(),
                filename.as_deref(),
            ),
            TemplateHeader::Location {
                latitude,
                longitude,
                name,
                address,
            } => Ok(Some(FilledTemplateHeader::Location {
                latitude: self.degrees("the latitude", latitude, 90.0)?,
                longitude: self.degrees("the longitude", longitude, 180.0)?,
                name: self.value("the place's name", name)?,
                address: self.value("the place's address", address)?,
            })),
        }
    }

    fn button(
        &mut self,
        button: &TemplateButton,
    ) -> Result<Option<FilledTemplateButtonValue>, TemplateError> {
        Ok(match button {
            TemplateButton::QuickReply {
                payload: Some(payload),
                ..
            } => Some(FilledTemplateButtonValue::Payload(self.bounded(
                "a button's payload",
                MAX_PAYLOAD,
                payload,
            )?)),
            TemplateButton::Url { url, .. } => {
                let parsed = TemplateBody::parse(url)?;
                let values = parsed.values(self.context, &mut self.unread)?;
                if parsed.fill(&values).chars().count() > MAX_URL {
                    return Err(TemplateError::TooLongFor("a button's address", MAX_URL));
                }
                values
                    .into_iter()
                    .next()
                    .map(FilledTemplateButtonValue::UrlEnd)
            }
            TemplateButton::CopyCode { code } => Some(FilledTemplateButtonValue::CouponCode(
                self.bounded("a button's code", MAX_COPY_CODE, code)?,
            )),
            TemplateButton::QuickReply { payload: None, .. }
            | TemplateButton::PhoneNumber { .. }
            | TemplateButton::Otp(_)
            | TemplateButton::RequestContactInfo => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn layout(body: &str, extras: Value, authentication: bool) -> TemplateLayout {
        let extras = serde_json::from_value(extras).unwrap();
        TemplateLayout::parse(body, extras, false, authentication, "en_US").unwrap()
    }

    #[test]
    fn the_code_stands_in_the_text_and_in_the_button() {
        let filled = layout("{{ code }} is your code.", json!({}), true)
            .fill(&json!({"code": "123456"}))
            .unwrap();
        assert_eq!(filled.body.first().unwrap().text, "123456");
        assert_eq!(
            filled.buttons,
            [FilledTemplateButton {
                index: 0,
                value: FilledTemplateButtonValue::UrlEnd("123456".to_owned())
            }]
        );
    }

    #[test]
    fn a_header_has_the_defaults_and_the_language_of_its_body() {
        let extras = json!({
            "header": {"type": "text", "text": "For {{ name }}: {{ total | money('INR') }}"},
            "parameters": [
                {"name": "name", "default": "customer", "example": "Asha"},
                {"name": "total", "kind": "number", "example": "1"},
            ],
        });
        let layout = layout("See {{ name }}.", extras, false);
        for given in [
            json!({"name": "", "total": 125_000}),
            json!({"total": 125_000}),
        ] {
            let mut given = given;
            given["contact"] = json!({"language": "en_IN"});
            assert_eq!(
                layout.header_text(&given).unwrap(),
                "For customer: ₹1,25,000"
            );
            assert!(
                layout
                    .plain_text(&given)
                    .unwrap()
                    .starts_with("*For customer: ")
            );
        }
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

    proptest! {
        /// Issue: the same of any template, whatever it has beside its body.
        #[test]
        fn whatever_a_template_has_is_within_its_bounds_or_refused_by_name(
            (has_header, has_address, has_reply, has_coupon) in any::<(bool, bool, bool, bool)>(),
            (named, authentication) in any::<(bool, bool)>(),
            value in prop_oneof![".{0,12}", "[a-z0-9 ]{0,80}", "[a-z0-9]{200,2200}"],
        ) {
            let mut buttons = Vec::new();
            if has_reply {
                buttons.push(json!({"type": "quick_reply", "text": "Yes", "payload": "yes:{{ value }}"}));
            }
            if has_address {
                buttons.push(json!({"type": "url", "text": "See", "url": "https://example.org/{{ value }}"}));
            }
            if has_coupon {
                buttons.push(json!({"type": "copy_code", "code": "{{ value }}"}));
            }
            let mut extras = json!({"parameters": [{"name": "value", "example": "x"}]});
            if !authentication {
                extras["buttons"] = json!(buttons);
                if has_header {
                    extras["header"] = json!({"type": "text", "text": "On {{ value }}"});
                }
            }
            let extras = serde_json::from_value(extras).unwrap();
            let layout = TemplateLayout::parse("See {{ value }} here.", extras, named, authentication, "en").unwrap();
            match layout.fill(&json!({ "value": value })) {
                Ok(filled) => {
                    prop_assert!(layout.text(&filled.body).chars().count() <= MAX_BODY);
                    prop_assert!(filled.body.iter().all(|it| it.name.is_some() == named));
                    if let Some(FilledTemplateHeader::Text(header)) = &filled.header {
                        prop_assert!("On ".len() + header.text.chars().count() <= MAX_HEADER);
                    }
                    for button in &filled.buttons {
                        let (text, most) = match &button.value {
                            FilledTemplateButtonValue::UrlEnd(text) if authentication => (text, MAX_OTP),
                            FilledTemplateButtonValue::UrlEnd(text) => (text, MAX_URL),
                            FilledTemplateButtonValue::Payload(text) => (text, MAX_PAYLOAD),
                            FilledTemplateButtonValue::CouponCode(text) => (text, MAX_COPY_CODE),
                        };
                        prop_assert!(!text.is_empty() && text.chars().count() <= most, "{}", text);
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    let fields = ["value", "the body", "the header", "a button's", "a one-time password"];
                    prop_assert!(fields.iter().any(|field| said.contains(field)), "{}", said);
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
            Some(FilledTemplateHeader::Media { kind: MediaKind::Document, source: MediaSource::Link(link), filename: Some(name) })
                if link == "https://example.org/A1" && name == "A1.pdf"
        ));
        assert!(header("ftp://example.org/{{ n }}").is_err());
    }
}
