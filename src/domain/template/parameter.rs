//! Declarations of a template's parameters: kind, default, and an example, which Meta's reviewers
//! see.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filters;
use crate::domain::phone::Phone;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTemplateParameter {
    pub name: String,
    #[serde(default)]
    pub kind: TemplateParameterKind,
    /// Whether it must be given. If unset: in requests, unless it has a default. If the text has
    /// its own `default(…)`, false lets requests leave it out, and true makes routes provide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// Used if nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    pub example: String,
    /// Sealed where it is stored, never shown, and wiped when the message is final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// The kind of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateParameterKind {
    #[default]
    Text,
    /// An amount or a count: `1250` or `1250.50`.
    Number,
    /// `2026-02-01`, or a time in RFC 3339.
    Date,
    /// A web address.
    Url,
    /// In E.164.
    Phone,
    /// A one-time password: up to 15 letters and digits (Meta, "Authentication templates").
    Code,
}

impl DeclaredTemplateParameter {
    /// Whether a request may leave it out.
    pub fn may_miss(&self) -> bool {
        self.default.is_some() || self.required == Some(false)
    }
}

impl TemplateParameterKind {
    /// Whether a value of another kind can be shown unchanged, because only people read it. An
    /// invalid address or code is useless, and may do harm.
    pub const fn is_shown(self) -> bool {
        match self {
            Self::Text | Self::Number | Self::Date | Self::Phone => true,
            Self::Url | Self::Code => false,
        }
    }

    /// The rule that a value violates, without the value.
    pub fn check(self, value: &Value) -> Result<(), &'static str> {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err("a text or a number");
            }
        };
        if text.is_empty() {
            return Err("empty: Meta refuses empty parameters");
        }
        let (holds, rule) = match self {
            Self::Text => (true, ""),
            Self::Number => (filters::is_number(&text), filters::NUMBER),
            Self::Date => (filters::is_date(&text), filters::DATE),
            Self::Url => (
                ["https://", "http://"].iter().any(|scheme| {
                    text.strip_prefix(scheme).is_some_and(|rest| {
                        rest.starts_with(|first: char| first.is_alphanumeric())
                            && !rest.contains(char::is_whitespace)
                    })
                }),
                "an address starts with https:// and has no spaces",
            ),
            Self::Phone => (
                Phone::parse(&text).is_ok(),
                "a number in E.164, such as +12025550123",
            ),
            Self::Code => (
                text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "a code has up to 15 letters and digits",
            ),
        };
        if holds { Ok(()) } else { Err(rule) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::TemplateParameterKind;

    #[test]
    fn a_value_is_of_its_kind_or_the_rule_is_named() {
        for (kind, good) in [
            (TemplateParameterKind::Text, json!("Unit 3")),
            (TemplateParameterKind::Number, json!(12)),
            (TemplateParameterKind::Number, json!("-1250.50")),
            (TemplateParameterKind::Date, json!("2026-02-01")),
            (
                TemplateParameterKind::Date,
                json!("2026-02-01T09:30:00+05:30"),
            ),
            (
                TemplateParameterKind::Url,
                json!("https://example.org/a?b=c"),
            ),
            (TemplateParameterKind::Phone, json!("+12025550123")),
            (TemplateParameterKind::Code, json!("A1b2C3")),
            (TemplateParameterKind::Code, json!(482_913)),
        ] {
            assert_eq!(kind.check(&good), Ok(()), "{kind:?} {good}");
        }
        for (kind, bad) in [
            (TemplateParameterKind::Text, json!(" ")),
            (TemplateParameterKind::Text, json!(null)),
            (TemplateParameterKind::Text, json!({"a": 1})),
            (TemplateParameterKind::Number, json!("12,50")),
            (TemplateParameterKind::Number, json!("1e9")),
            (TemplateParameterKind::Date, json!("1.2.2026")),
            (TemplateParameterKind::Date, json!("2026-02-30")),
            (TemplateParameterKind::Url, json!("javascript:alert(1)")),
            (TemplateParameterKind::Url, json!("https://")),
            (TemplateParameterKind::Url, json!("https://a b")),
            (TemplateParameterKind::Phone, json!("0123")),
            (TemplateParameterKind::Code, json!("1234567890123456")),
            (TemplateParameterKind::Code, json!("12 34")),
        ] {
            let rule = kind.check(&bad).unwrap_err();
            assert!(!rule.is_empty(), "{kind:?} {bad}");
        }
    }
}
