//! Converts a template at Meta to a catalogue entry: placeholders become named parameters, and
//! samples become examples (Meta, "Template components").

use serde_json::Value;

use super::{
    definition,
    inspect::{list, text},
};
use crate::{
    domain::{
        category::TemplateCategory,
        template::{
            layout::{
                OtpAutofillApp, OtpButton, OtpButtonType, PROVIDED, TemplateButton, TemplateExtras,
                TemplateHeader, check, ttl_bounds,
            },
            parameter::{DeclaredTemplateParameter, TemplateParameterKind},
        },
        template_status::TemplateOutlook,
    },
    providers::{PulledTemplate as Pulled, RemoteTemplate as Remote},
};

/// Replaces a sample file of Meta's, whose address does not last.
const SAMPLE_FILE: &str = "https://example.org/sample";

/// Collects parameters while a template is converted.
#[derive(Default)]
struct PulledParameterCollector {
    parameters: Vec<DeclaredTemplateParameter>,
}

impl PulledParameterCollector {
    fn declare(&mut self, name: &str, kind: TemplateParameterKind, example: Option<String>) {
        if self.parameters.iter().any(|it| it.name == name) {
            return;
        }
        self.parameters.push(DeclaredTemplateParameter {
            name: name.to_owned(),
            kind,
            required: None,
            default: None,
            example: example.unwrap_or_else(|| name.replace('_', " ")),
            sensitive: false,
        });
    }

    /// A text whose placeholders are replaced by expressions. Numbered placeholders are named after
    /// `prefix`, and must be in order: ours are numbered by first appearance.
    fn text(
        &mut self,
        source: &str,
        prefix: &str,
        example: impl Fn(usize, &str) -> Option<String>,
    ) -> Result<String, String> {
        let mut written = String::with_capacity(source.len());
        let mut rest = source;
        let mut seen = 0;
        while let Some((before, after)) = rest.split_once("{{") {
            let (place, after) = after
                .split_once("}}")
                .ok_or("a place in its text is not closed")?;
            let place = place.trim();
            let name = match place.parse::<usize>() {
                Err(_) => place.to_owned(),
                Ok(number) if number <= seen => format!("{prefix}_{number}"),
                Ok(number) if number == seen + 1 => {
                    seen = number;
                    format!("{prefix}_{number}")
                }
                Ok(_) => return Err("its parameters are not numbered in their order".to_owned()),
            };
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if name.is_empty() || !is_name {
                return Err("the name of a parameter is not letters, digits and _".to_owned());
            }
            self.declare(
                &name,
                TemplateParameterKind::Text,
                example(seen.saturating_sub(1), place),
            );
            for piece in [before, "{{ ", &name, " }}"] {
                written.push_str(piece);
            }
            rest = after;
        }
        written.push_str(rest);
        Ok(written)
    }

    fn header(&mut self, component: &Value) -> Result<TemplateHeader, String> {
        let format = text(component, "/format").unwrap_or_else(|| "TEXT".to_owned());
        let mut link = |what: &str| {
            let name = format!("header_{what}");
            self.declare(
                &name,
                TemplateParameterKind::Url,
                Some(SAMPLE_FILE.to_owned()),
            );
            Some(format!("{{{{ {name} }}}}"))
        };
        Ok(match format.to_uppercase().as_str() {
            "TEXT" => TemplateHeader::Text {
                text: self.text(
                    &text(component, "/text").unwrap_or_default(),
                    "header",
                    |place, name| {
                        text(component, &format!("/example/header_text/{place}")).or_else(|| {
                            named_example(component, "/example/header_text_named_params", name)
                        })
                    },
                )?,
            },
            "IMAGE" => TemplateHeader::Image {
                id: None,
                link: link("image"),
            },
            "VIDEO" => TemplateHeader::Video {
                id: None,
                link: link("video"),
            },
            "DOCUMENT" => TemplateHeader::Document {
                id: None,
                link: link("document"),
                filename: None,
            },
            "LOCATION" => {
                for (name, kind, example) in [
                    ("latitude", TemplateParameterKind::Number, "37.483307"),
                    ("longitude", TemplateParameterKind::Number, "-122.148981"),
                    ("place", TemplateParameterKind::Text, "Office"),
                    ("address", TemplateParameterKind::Text, "1 Hacker Way"),
                ] {
                    self.declare(name, kind, Some(example.to_owned()));
                }
                TemplateHeader::Location {
                    latitude: "{{ latitude }}".to_owned(),
                    longitude: "{{ longitude }}".to_owned(),
                    name: "{{ place }}".to_owned(),
                    address: "{{ address }}".to_owned(),
                }
            }
            other => {
                return Err(format!(
                    "its header is of a kind that is not known: {other}"
                ));
            }
        })
    }

    fn button(&mut self, index: usize, button: &Value) -> Result<TemplateButton, String> {
        let label = text(button, "/text").unwrap_or_default();
        let kind = text(button, "/type").unwrap_or_default();
        Ok(match kind.to_uppercase().as_str() {
            "QUICK_REPLY" => TemplateButton::QuickReply {
                text: label,
                payload: None,
            },
            "PHONE_NUMBER" => TemplateButton::PhoneNumber {
                text: label,
                phone_number: text(button, "/phone_number").unwrap_or_default(),
            },
            "URL" => {
                let url = text(button, "/url").unwrap_or_default();
                let fixed = url.split("{{").next().unwrap_or_default().to_owned();
                let example = text(button, "/example/0").map(|whole| {
                    let end = whole.strip_prefix(&fixed).map(str::to_owned);
                    end.filter(|end| !end.is_empty()).unwrap_or(whole)
                });
                TemplateButton::Url {
                    text: label,
                    url: self.text(&url, &format!("button_{}", index + 1), |_, _| {
                        example.clone()
                    })?,
                }
            }
            "COPY_CODE" => {
                let example = text(button, "/example").or_else(|| text(button, "/example/0"));
                self.declare("offer_code", TemplateParameterKind::Text, example);
                TemplateButton::CopyCode {
                    code: "{{ offer_code }}".to_owned(),
                }
            }
            "REQUEST_CONTACT_INFO" => TemplateButton::RequestContactInfo,
            other => return Err(format!("its button {other} has no counterpart here")),
        })
    }
}

fn named_example(component: &Value, pointer: &str, name: &str) -> Option<String> {
    list(component, pointer)
        .find(|it| text(it, "/param_name").as_deref() == Some(name))
        .and_then(|it| text(it, "/example"))
}

/// Converts a template to a catalogue entry of this name, or reports what cannot be expressed.
pub fn written(remote: &Remote, name: &str) -> Result<Pulled, String> {
    if remote.status.outlook() == TemplateOutlook::Refused {
        return Err(format!("it is {}", remote.status.phrase()));
    }
    if let Some(other) = definition::unknown_parts(&remote.components).first() {
        return Err(format!("its component {other} has no counterpart here"));
    }
    let category = remote.category.unwrap_or(TemplateCategory::Utility);
    if category == TemplateCategory::Other {
        return Err("its category has no counterpart here".to_owned());
    }
    let part = |kind: &str| {
        remote
            .components
            .iter()
            .find(|it| text(it, "/type").is_some_and(|found| found.eq_ignore_ascii_case(kind)))
    };
    let mut pulled = Pulled {
        name: name.to_owned(),
        language: remote.language.clone(),
        category,
        parameter_format: (remote.parameter_format.as_deref() == Some("NAMED"))
            .then(|| "NAMED".to_owned()),
        body: String::new(),
        footer: None,
        code_expiration_minutes: None,
        add_security_recommendation: false,
        message_send_ttl_seconds: remote.ttl_seconds.filter(|seconds| {
            let (least, most) = ttl_bounds(category);
            (least..=most).contains(seconds)
        }),
        header: None,
        button: Vec::new(),
        parameter: Vec::new(),
    };
    let buttons: Vec<&Value> = part("BUTTONS")
        .into_iter()
        .flat_map(|it| list(it, "/buttons"))
        .collect();
    let Some(body) = part("BODY") else {
        return Err("it has no text".to_owned());
    };
    if category == TemplateCategory::Authentication {
        // Meta writes the text of an authentication template itself, and returns its button as a
        // URL.
        "*{{ code }}* is your verification code.".clone_into(&mut pulled.body);
        pulled.code_expiration_minutes = part("FOOTER")
            .and_then(|it| text(it, "/code_expiration_minutes"))
            .and_then(|minutes| minutes.parse().ok());
        pulled.add_security_recommendation = body
            .get("add_security_recommendation")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        pulled.button = vec![TemplateButton::Otp(
            buttons
                .first()
                .map_or_else(OtpButton::default, |it| otp(it)),
        )];
        pulled.parameter = vec![DeclaredTemplateParameter {
            name: "code".to_owned(),
            kind: TemplateParameterKind::Code,
            required: None,
            default: None,
            example: "123456".to_owned(),
            sensitive: false,
        }];
        return pulled.checked();
    }
    let mut reader = PulledParameterCollector::default();
    pulled.header = part("HEADER").map(|it| reader.header(it)).transpose()?;
    let source = text(body, "/text").unwrap_or_default();
    pulled.body = reader.text(&source, "value", |place, name| {
        text(body, &format!("/example/body_text/0/{place}"))
            .or_else(|| named_example(body, "/example/body_text_named_params", name))
    })?;
    pulled.footer = part("FOOTER").and_then(|it| text(it, "/text"));
    for (index, button) in buttons.into_iter().enumerate() {
        pulled.button.push(reader.button(index, button)?);
    }
    pulled.parameter = reader.parameters;
    pulled.checked()
}

/// The OTP button. What is unknown in it is treated as absent.
fn otp(button: &Value) -> OtpButton {
    let mut otp = OtpButton {
        otp_type: match text(button, "/otp_type").as_deref() {
            Some("ONE_TAP") => OtpButtonType::OneTap,
            Some("ZERO_TAP") => OtpButtonType::ZeroTap,
            _ => OtpButtonType::CopyCode,
        },
        ..OtpButton::default()
    };
    if otp.otp_type == OtpButtonType::CopyCode {
        return otp;
    }
    otp.autofill_text = text(button, "/autofill_text");
    otp.supported_apps = list(button, "/supported_apps")
        .filter_map(|app| {
            Some(OtpAutofillApp {
                package_name: text(app, "/package_name")?,
                signature_hash: text(app, "/signature_hash")?,
            })
        })
        .collect();
    // The terms were accepted when it was created.
    otp.zero_tap_terms_accepted = otp.otp_type == OtpButtonType::ZeroTap;
    otp
}

impl Pulled {
    /// The result as `apply` accepts it, or the reason why it would be refused.
    fn checked(self) -> Result<Self, String> {
        if let Some(taken) = self
            .parameter
            .iter()
            .find(|it| PROVIDED.contains(&it.name.as_str()))
        {
            return Err(format!("Herald fills {} in itself", taken.name));
        }
        let extras = TemplateExtras {
            header: self.header.clone(),
            footer: self.footer.clone(),
            buttons: self.button.clone(),
            parameters: self.parameter.clone(),
            code_expiration_minutes: self.code_expiration_minutes,
            add_security_recommendation: self.add_security_recommendation,
            ..TemplateExtras::default()
        };
        let named = self.parameter_format.is_some();
        let authentication = self.category == TemplateCategory::Authentication;
        match check(&self.body, &extras, named, authentication)
            .into_iter()
            .next()
        {
            None => Ok(self),
            Some(broken) => {
                let field = broken.pointer.trim_start_matches('/');
                Err(format!("{field}: {}", broken.rule))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{
            template::layout::{TemplateExtras, TemplateLayout},
            template_status::TemplateStatus,
        },
        providers::{TemplateDefinition as Definition, meta::definition},
    };

    fn remote(category: TemplateCategory, components: &Value) -> Remote {
        Remote {
            name: "made".to_owned(),
            language: "en".to_owned(),
            status: TemplateStatus::Approved,
            category: Some(category),
            components: components.as_array().unwrap().clone(),
            ..Remote::default()
        }
    }

    #[test]
    fn a_code_is_pulled_with_the_apps_that_take_it() {
        let components = json!([
            { "type": "BODY", "text": "*{{1}}* is your verification code.", "add_security_recommendation": true },
            { "type": "FOOTER", "code_expiration_minutes": 5 },
            { "type": "BUTTONS", "buttons": [{
                "type": "OTP", "otp_type": "ZERO_TAP", "autofill_text": "Fill in",
                "supported_apps": [{ "package_name": "com.example.pay", "signature_hash": "K8a/AINcGX7" }],
            }] },
        ]);
        let pulled = written(
            &remote(TemplateCategory::Authentication, &components),
            "made",
        )
        .unwrap();
        let extras = TemplateExtras {
            buttons: pulled.button.clone(),
            parameters: pulled.parameter.clone(),
            code_expiration_minutes: pulled.code_expiration_minutes,
            add_security_recommendation: pulled.add_security_recommendation,
            ..TemplateExtras::default()
        };
        let layout = TemplateLayout::parse(&pulled.body, extras, false, true, "en").unwrap();
        let made = definition::components(Definition {
            name: "made",
            language: "en",
            ttl_seconds: None,
            category: TemplateCategory::Authentication,
            layout: &layout,
            named: false,
            sample: None,
        });
        let mut expected = components;
        expected[0] = json!({ "type": "BODY", "add_security_recommendation": true });
        expected[2]["buttons"][0]["zero_tap_terms_accepted"] = json!(true);
        assert_eq!(json!(made.unwrap()), expected);
    }

    #[test]
    fn what_is_pulled_is_what_meta_has() {
        let components = json!([
            { "type": "HEADER", "format": "TEXT", "text": "Invoice {{1}}", "example": { "header_text": ["A-17"] } },
            { "type": "BODY", "text": "Dear {{1}}, {{2}} is due; {{1}}, pay.", "example": { "body_text": [["Asha", "INR 250"]] } },
            { "type": "FOOTER", "text": "Herald Power" },
            { "type": "BUTTONS", "buttons": [
                { "type": "URL", "text": "Pay", "url": "https://example.org/pay/{{1}}", "example": ["https://example.org/pay/A-17"] },
                { "type": "PHONE_NUMBER", "text": "Call", "phone_number": "+12025550123" },
                { "type": "COPY_CODE", "example": "SAVE10" },
            ] },
        ]);
        let remote = remote(TemplateCategory::Utility, &components);
        let pulled = written(&remote, "made").unwrap();
        assert_eq!(
            pulled.body,
            "Dear {{ value_1 }}, {{ value_2 }} is due; {{ value_1 }}, pay."
        );
        let examples: Vec<(&str, &str)> = pulled
            .parameter
            .iter()
            .map(|it| (it.name.as_str(), it.example.as_str()))
            .collect();
        assert_eq!(
            examples,
            [
                ("header_1", "A-17"),
                ("value_1", "Asha"),
                ("value_2", "INR 250"),
                ("button_1_1", "A-17"),
                ("offer_code", "SAVE10")
            ]
        );
        let extras = TemplateExtras {
            header: pulled.header.clone(),
            footer: pulled.footer.clone(),
            buttons: pulled.button.clone(),
            parameters: pulled.parameter.clone(),
            ..TemplateExtras::default()
        };
        let layout = TemplateLayout::parse(&pulled.body, extras, false, false, "en").unwrap();
        let ours = definition::components(Definition {
            name: "made",
            language: "en",
            category: TemplateCategory::Utility,
            named: false,
            ttl_seconds: None,
            layout: &layout,
            sample: None,
        })
        .unwrap();
        assert_eq!(
            definition::drift(
                &ours,
                TemplateCategory::Utility,
                &remote.components,
                Some(TemplateCategory::Utility)
            ),
            []
        );
    }

    #[test]
    fn what_has_no_counterpart_says_so() {
        let body = |text: &str| json!({ "type": "BODY", "text": text });
        for (components, said) in [
            (json!([]), "it has no text"),
            (
                json!([body("a {{2}} b {{1}} c")]),
                "its parameters are not numbered in their order",
            ),
            (
                json!([body("a {{1 b")]),
                "a place in its text is not closed",
            ),
            (
                json!([body("a"), { "type": "BUTTONS", "buttons": [{ "type": "FLOW", "text": "x" }] }]),
                "its button FLOW has no counterpart here",
            ),
            (
                json!([body("a"), { "type": "HEADER", "format": "GIF" }]),
                "its header is of a kind that is not known: GIF",
            ),
            (
                json!([body("a {{x y}} b")]),
                "the name of a parameter is not letters, digits and _",
            ),
        ] {
            assert_eq!(
                written(&remote(TemplateCategory::Utility, &components), "x").unwrap_err(),
                said
            );
        }
    }
}
