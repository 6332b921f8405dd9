//! Converts our templates to Meta's definition, and compares them with what Meta has (Meta,
//! "Template components", "Authentication templates").

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        category::TemplateCategory,
        template::{
            TemplateBody,
            layout::{
                FilledTemplate, FilledTemplateHeader, OtpButtonType, TemplateButton,
                TemplateExtras, TemplateHeader, TemplateLayout,
            },
        },
    },
    providers::{OTHER_PARTS, TemplateDefinition as Definition, TemplateDifference},
};

/// Why a template cannot be created over the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateDefinitionError {
    #[error("its parameters have no examples: declare them with [[template.parameter]]")]
    NoExamples,
    #[error(
        "its header is a file: Meta wants to see one (herald templates sync --sample NAME=FILE)"
    )]
    FileHeader,
    #[error("its body {0} a parameter, which Meta refuses")]
    Edge(&'static str),
    #[error("its body has two parameters side by side, which Meta refuses")]
    Adjacent,
}

/// The JSON that creates the template.
pub fn document(definition: Definition<'_>) -> Result<Value, TemplateDefinitionError> {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
    put("name", json!(definition.name));
    put("language", json!(definition.language));
    put("category", json!(definition.category.name().to_uppercase()));
    if definition.named {
        put("parameter_format", json!("NAMED"));
    }
    if let Some(seconds) = definition.ttl_seconds {
        put("message_send_ttl_seconds", json!(seconds));
    }
    put("components", json!(components(definition)?));
    Ok(Value::Object(document))
}

/// Its parts, with examples.
pub fn components(definition: Definition<'_>) -> Result<Vec<Value>, TemplateDefinitionError> {
    let layout = definition.layout;
    let is_code = definition.category == TemplateCategory::Authentication;
    if !is_code && layout.example().is_err() && !layout.variables().is_empty() {
        return Err(TemplateDefinitionError::NoExamples);
    }
    if !is_code && let Some(edge) = layout.body.edge() {
        return Err(TemplateDefinitionError::Edge(edge));
    }
    if !is_code && layout.body.has_neighbours() {
        return Err(TemplateDefinitionError::Adjacent);
    }
    let has_file = matches!(
        layout.extras().header,
        Some(
            TemplateHeader::Image { .. }
                | TemplateHeader::Video { .. }
                | TemplateHeader::Document { .. }
        )
    );
    if has_file && definition.sample.is_none() {
        return Err(TemplateDefinitionError::FileHeader);
    }
    Ok(compared(definition))
}

/// Its parts for comparison, whether Meta would accept them or not: without unknown data, such as
/// examples.
pub fn compared(definition: Definition<'_>) -> Vec<Value> {
    let layout = definition.layout;
    let extras = layout.extras();
    if definition.category == TemplateCategory::Authentication {
        return authentication(extras);
    }
    let filled = layout.example().unwrap_or_else(|_none| FilledTemplate {
        header: None,
        body: Vec::new(),
        buttons: Vec::new(),
        unread: Vec::new(),
    });
    let mut all = Vec::new();
    match &extras.header {
        None => {}
        Some(TemplateHeader::Text { text }) => all.push(header(text, &filled, definition.named)),
        Some(TemplateHeader::Location { .. }) => {
            all.push(json!({ "type": "HEADER", "format": "LOCATION" }));
        }
        Some(
            file @ (TemplateHeader::Image { .. }
            | TemplateHeader::Video { .. }
            | TemplateHeader::Document { .. }),
        ) => {
            let format = match file {
                TemplateHeader::Image { .. } => "IMAGE",
                TemplateHeader::Video { .. } => "VIDEO",
                _ => "DOCUMENT",
            };
            let mut header = json!({ "type": "HEADER", "format": format });
            if let (Some(sample), Some(header)) = (definition.sample, header.as_object_mut()) {
                header.insert("example".to_owned(), json!({ "header_handle": [sample] }));
            }
            all.push(header);
        }
    }
    all.push(body(layout, &filled, definition.named));
    if let Some(footer) = &extras.footer {
        all.push(json!({ "type": "FOOTER", "text": footer }));
    }
    if !extras.buttons.is_empty() {
        let context = layout.example_context();
        let buttons: Vec<Value> = extras
            .buttons
            .iter()
            .map(|it| button(it, &context))
            .collect();
        all.push(json!({ "type": "BUTTONS", "buttons": buttons }));
    }
    all
}

/// Kinds of parts in a template of Meta's that a catalogue cannot express, such as `CAROUSEL`.
pub fn unknown_parts(components: &[Value]) -> Vec<String> {
    let kinds = components.iter().filter_map(|it| it.get("type")?.as_str());
    kinds
        .map(str::to_uppercase)
        .filter(|it| !PARTS.iter().any(|(_, kind)| kind == it))
        .collect()
}

/// Our names of a template's parts, and Meta's.
const PARTS: [(&str, &str); 4] = [
    ("header", "HEADER"),
    ("body", "BODY"),
    ("footer", "FOOTER"),
    ("buttons", "BUTTONS"),
];

/// Meta writes the text of an authentication template itself.
fn authentication(extras: &TemplateExtras) -> Vec<Value> {
    let otp = extras
        .buttons
        .iter()
        .find_map(|it| match it {
            TemplateButton::Otp(otp) => Some(otp.clone()),
            _ => None,
        })
        .unwrap_or_default();
    let kind = match otp.otp_type {
        OtpButtonType::CopyCode => "COPY_CODE",
        OtpButtonType::OneTap => "ONE_TAP",
        OtpButtonType::ZeroTap => "ZERO_TAP",
    };
    let mut button = json!({ "type": "OTP", "otp_type": kind });
    let said = [
        ("text", otp.text.map(Value::from)),
        ("autofill_text", otp.autofill_text.map(Value::from)),
        (
            "supported_apps",
            (!otp.supported_apps.is_empty()).then(|| json!(otp.supported_apps)),
        ),
        (
            "zero_tap_terms_accepted",
            otp.zero_tap_terms_accepted.then_some(Value::Bool(true)),
        ),
    ];
    if let Some(button) = button.as_object_mut() {
        for (field, value) in said {
            if let Some(value) = value {
                button.insert(field.to_owned(), value);
            }
        }
    }
    let recommends = extras.add_security_recommendation;
    let mut all = vec![json!({ "type": "BODY", "add_security_recommendation": recommends })];
    if let Some(minutes) = extras.code_expiration_minutes {
        all.push(json!({ "type": "FOOTER", "code_expiration_minutes": minutes }));
    }
    all.push(json!({ "type": "BUTTONS", "buttons": [button] }));
    all
}

/// The placeholder of each expression: `{{1}}`, or its name.
fn places(body: &TemplateBody, named: bool) -> Vec<String> {
    body.expressions
        .iter()
        .enumerate()
        .map(|(index, expression)| {
            if named {
                format!("{{{{{expression}}}}}")
            } else {
                format!("{{{{{}}}}}", index + 1)
            }
        })
        .collect()
}

fn header(text: &str, filled: &FilledTemplate, named: bool) -> Value {
    let written = TemplateBody::parse(text).map_or_else(
        |_unreadable| text.to_owned(),
        |parsed| parsed.fill(&places(&parsed, named)),
    );
    let mut component = json!({ "type": "HEADER", "format": "TEXT", "text": written });
    if let (Some(FilledTemplateHeader::Text(parameter)), Some(component)) =
        (&filled.header, component.as_object_mut())
    {
        let example = match &parameter.name {
            Some(name) => {
                json!({ "header_text_named_params": [{ "param_name": name, "example": parameter.text }] })
            }
            None => json!({ "header_text": [parameter.text] }),
        };
        component.insert("example".to_owned(), example);
    }
    component
}

fn body(layout: &TemplateLayout, filled: &FilledTemplate, named: bool) -> Value {
    let text = layout.body.fill(&places(&layout.body, named));
    let mut component = json!({ "type": "BODY", "text": text });
    if let (false, Some(component)) = (filled.body.is_empty(), component.as_object_mut()) {
        let example = if named {
            let each = filled
                .body
                .iter()
                .map(|it| json!({ "param_name": it.name, "example": it.text }));
            json!({ "body_text_named_params": each.collect::<Vec<_>>() })
        } else {
            let each: Vec<&str> = filled.body.iter().map(|it| it.text.as_str()).collect();
            json!({ "body_text": [each] })
        };
        component.insert("example".to_owned(), example);
    }
    component
}

fn button(button: &TemplateButton, context: &Value) -> Value {
    match button {
        TemplateButton::QuickReply { text, .. } => json!({ "type": "QUICK_REPLY", "text": text }),
        TemplateButton::Url { text, url } => {
            let parsed = TemplateBody::parse(url)
                .ok()
                .filter(|it| !it.expressions.is_empty());
            match parsed {
                None => json!({ "type": "URL", "text": text, "url": url }),
                Some(parsed) => {
                    let example = parsed
                        .parameters(context)
                        .map_or_else(|_none| url.clone(), |values| parsed.fill(&values));
                    json!({
                        "type": "URL", "text": text, "url": parsed.fill(&["{{1}}".to_owned()]),
                        "example": [example],
                    })
                }
            }
        }
        TemplateButton::PhoneNumber { text, phone_number } => {
            json!({ "type": "PHONE_NUMBER", "text": text, "phone_number": phone_number })
        }
        TemplateButton::CopyCode { code } => {
            let example = TemplateBody::parse(code)
                .and_then(|parsed| Ok(parsed.fill(&parsed.parameters(context)?)))
                .unwrap_or_else(|_none| code.clone());
            json!({ "type": "COPY_CODE", "example": example })
        }
        TemplateButton::Otp(_) => json!({ "type": "OTP", "otp_type": "COPY_CODE" }),
        TemplateButton::RequestContactInfo => json!({ "type": "REQUEST_CONTACT_INFO" }),
    }
}

/// The differences between ours and Meta's template. Examples are for Meta's reviewers and are not
/// compared; Meta writes the text of an authentication template, and returns its button as a URL.
pub fn drift(
    ours: &[Value],
    category: TemplateCategory,
    theirs: &[Value],
    their_category: Option<TemplateCategory>,
) -> Vec<TemplateDifference> {
    let mut all = Vec::new();
    if let Some(their_category) = their_category
        && their_category != category
    {
        all.push(TemplateDifference {
            part: "category",
            ours: category.name().to_owned(),
            theirs: their_category.name().to_owned(),
        });
    }
    if theirs.is_empty() || category == TemplateCategory::Authentication {
        return all;
    }
    for (part, kind) in PARTS {
        let (mine, their) = (shown(ours, kind), shown(theirs, kind));
        if mine != their {
            all.push(TemplateDifference {
                part,
                ours: mine,
                theirs: their,
            });
        }
    }
    let other = unknown_parts(theirs);
    if !other.is_empty() {
        all.push(TemplateDifference {
            part: OTHER_PARTS,
            ours: String::new(),
            theirs: other.join(", ").to_lowercase(),
        });
    }
    all
}

/// A part in words.
fn shown(components: &[Value], kind: &str) -> String {
    let text = |value: &Value, key: &str| {
        let found = value.get(key).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let part = components.iter().find(|it| {
        let found = it.get("type").and_then(Value::as_str);
        found.is_some_and(|found| found.eq_ignore_ascii_case(kind))
    });
    let Some(part) = part else {
        return String::new();
    };
    match kind {
        "HEADER" => match text(part, "format").to_uppercase().as_str() {
            "" | "TEXT" => text(part, "text"),
            format => format.to_lowercase(),
        },
        "BUTTONS" => {
            let buttons = part.get("buttons").and_then(Value::as_array);
            let each = buttons.into_iter().flatten().map(|it| {
                let parts = [
                    text(it, "type").to_lowercase(),
                    text(it, "text"),
                    text(it, "url"),
                    text(it, "phone_number"),
                ];
                let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
                parts.join(" ")
            });
            each.collect::<Vec<_>>().join("; ")
        }
        _ => text(part, "text"),
    }
}
