//! Preview of a template as its recipient reads it, before anything is sent.

use serde_json::Value;

use super::{TemplateButton, TemplateHeader, TemplateLayout};

/// The text that Meta adds to a code (Meta, "Authentication templates").
const RECOMMENDATION: &str = " For your security, do not share this code.";

/// The parts of a message bubble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePreview {
    pub header: Option<PreviewHeader>,
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
pub enum PreviewHeader {
    Text(String),
    /// `picture`, `video`, `document` or `place`.
    Shown(&'static str),
}

impl TemplateLayout {
    /// The template, filled with these values.
    pub fn preview(&self, context: &Value) -> MessagePreview {
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
        MessagePreview {
            header: self.extras.header.as_ref().map(|header| match header {
                TemplateHeader::Text { text } => {
                    PreviewHeader::Text(self.header_text(context).unwrap_or_else(|| text.clone()))
                }
                TemplateHeader::Image { .. } => PreviewHeader::Shown("picture"),
                TemplateHeader::Video { .. } => PreviewHeader::Shown("video"),
                TemplateHeader::Document { .. } => PreviewHeader::Shown("document"),
                TemplateHeader::Location { .. } => PreviewHeader::Shown("place"),
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
        let label = |button: &TemplateButton| match button {
            TemplateButton::QuickReply { text, .. }
            | TemplateButton::Url { text, .. }
            | TemplateButton::PhoneNumber { text, .. } => text.clone(),
            TemplateButton::CopyCode { .. } => "Copy offer code".to_owned(),
            TemplateButton::Otp(otp) => otp.label(),
            TemplateButton::RequestContactInfo => "Share contact info".to_owned(),
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
