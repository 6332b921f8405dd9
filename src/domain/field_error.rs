//! Errors in the fields of a request.

use serde::Serialize;

use super::content::ContentViolation;

/// A field of a request and the rule it violates. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer into the request.
    pub pointer: String,
    pub rule: String,
}

impl From<ContentViolation> for FieldError {
    fn from(broken: ContentViolation) -> Self {
        Self {
            pointer: broken.pointer,
            rule: broken.rule,
        }
    }
}
