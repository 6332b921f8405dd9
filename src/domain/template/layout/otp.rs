//! The button of an authentication template: how a one-time password gets into the app (Meta,
//! "Authentication templates").

use serde::{Deserialize, Serialize};

/// Most apps of one template.
const MAX_APPS: usize = 5;

/// Length of the hash of an app's signing key, in characters.
const HASH: usize = 11;

/// How a one-time password gets into the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtpButtonType {
    /// The user copies it.
    #[default]
    CopyCode,
    /// A tap fills it in, on Android; elsewhere it is copied.
    OneTap,
    /// It is filled in without a tap, on Android.
    ZeroTap,
}

/// An Android app that takes the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtpAutofillApp {
    pub package_name: String,
    pub signature_hash: String,
}

/// The button of an authentication template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtpButton {
    pub otp_type: OtpButtonType,
    /// Label of the copy button; Meta's own, if absent.
    pub text: Option<String>,
    /// Label of the autofill button; Meta's own, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autofill_text: Option<String>,
    /// For `one_tap` and `zero_tap`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_apps: Vec<OtpAutofillApp>,
    /// For `zero_tap`: Meta's terms for it are accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zero_tap_terms_accepted: bool,
}

impl OtpButton {
    /// The label of the button.
    pub(super) fn label(&self) -> String {
        let (text, usual) = match self.otp_type {
            OtpButtonType::CopyCode => (&self.text, "Copy code"),
            OtpButtonType::OneTap | OtpButtonType::ZeroTap => (&self.autofill_text, "Autofill"),
        };
        text.clone().unwrap_or_else(|| usual.to_owned())
    }

    /// Violations: a field and the rule.
    pub(super) fn check(&self) -> Vec<(&'static str, &'static str)> {
        let mut wrong = Vec::new();
        let mut refuse = |field: &'static str, rule: &'static str| wrong.push((field, rule));
        let fills_in = self.otp_type != OtpButtonType::CopyCode;
        if fills_in && !(1..=MAX_APPS).contains(&self.supported_apps.len()) {
            refuse(
                "supported_apps",
                "one_tap and zero_tap need 1 to 5 apps that take the code",
            );
        }
        if !fills_in && (!self.supported_apps.is_empty() || self.autofill_text.is_some()) {
            refuse(
                "otp_type",
                "copy_code has neither supported_apps nor autofill_text",
            );
        }
        if (self.otp_type == OtpButtonType::ZeroTap) != self.zero_tap_terms_accepted {
            refuse(
                "zero_tap_terms_accepted",
                "true of zero_tap, once you have accepted Meta's terms for it, and of nothing else",
            );
        }
        for app in &self.supported_apps {
            if !is_package(&app.package_name) {
                refuse("supported_apps", "a package is written com.example.app");
            }
            let is_hash = app.signature_hash.len() == HASH
                && app
                    .signature_hash
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it));
            if !is_hash {
                refuse(
                    "supported_apps",
                    "a signature_hash has 11 characters: letters, digits, + / =",
                );
            }
        }
        wrong
    }
}

/// Two parts or more, each of which begins with a letter.
fn is_package(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    parts.len() >= 2
        && parts.iter().all(|part| {
            part.starts_with(|it: char| it.is_ascii_alphabetic())
                && part
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_')
        })
}
