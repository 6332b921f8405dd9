//! Preview of a template as its recipient reads it, before anything is sent.

use serde_json::Value;

use super::{Button, Header, Layout};

/// The text that Meta adds to a code (Meta, "Authentication templates").
const RECOMMENDATION: &str = " For your security, do not share this code.";

/// The parts of a message bubble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub header: Option<Above>,
    /// With WhatsApp's markers of bold and the like.
    pub body: String,
    pub footer: Option<String>,
    /// Their labels, in order.
    pub buttons: Vec<String>,
    /// Why it could not be filled in: expressions are shown in the place of values. Or the values
    /// that are shown unchanged.
    pub problem: Option<String>,
}

/// The part above the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Above {
    Text(String),
    /// `picture`, `video`, `document` or `place`.
    Shown(&'static str),
}

impl Layout {
    /// The template, filled with these values.
    pub fn preview(&self, context: &Value) -> Preview {
        let filled = self.fill(context);
        let mut body = if let Ok(filled) = &filled {
            self.text(&filled.body)
        } else {
            let names: Vec<String> = self
                .body
                .expressions
                .iter()
                .map(|expression| format!("{{{{ {expression} }}}}"))
                .collect();
            self.body.fill(&names)
        };
        if self.extras.add_security_recommendation {
            body.push_str(RECOMMENDATION);
        }
        Preview {
            header: self.extras.header.as_ref().map(|header| match header {
                Header::Text { text } => {
                    Above::Text(self.header_text(context).unwrap_or_else(|| text.clone()))
                }
                Header::Image { .. } => Above::Shown("picture"),
                Header::Video { .. } => Above::Shown("video"),
                Header::Document { .. } => Above::Shown("document"),
                Header::Location { .. } => Above::Shown("place"),
            }),
            body,
            footer: match self.extras.code_expiration_minutes {
                Some(1) => Some("This code expires in 1 minute.".to_owned()),
                Some(minutes) => Some(format!("This code expires in {minutes} minutes.")),
                None => self.extras.footer.clone(),
            },
            buttons: self.labels(),
            problem: match filled {
                Ok(filled) => filled.unread.first().map(ToString::to_string),
                Err(error) => Some(error.to_string()),
            },
        }
    }

    fn labels(&self) -> Vec<String> {
        let label = |button: &Button| match button {
            Button::QuickReply { text, .. }
            | Button::Url { text, .. }
            | Button::PhoneNumber { text, .. } => text.clone(),
            Button::CopyCode { .. } => "Copy offer code".to_owned(),
            Button::Otp(otp) => otp.label(),
            Button::RequestContactInfo => "Share contact info".to_owned(),
        };
        let own: Vec<String> = self.extras.buttons.iter().map(label).collect();
        // Meta gives every authentication template a button that copies its code.
        if own.is_empty() && self.authentication {
            vec!["Copy code".to_owned()]
        } else {
            own
        }
    }
}
