//! Content of messages that are not templates, and Meta's limits for it.

mod interactive;

pub use interactive::{
    InteractiveContent, InteractiveHeader, InteractiveListRow, InteractiveListSection, ReplyButton,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A field and the rule it violates. Never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentViolation {
    /// JSON pointer into the checked content.
    pub pointer: String,
    pub rule: String,
}

/// Collects violations.
#[derive(Debug, Default)]
struct ContentViolations(Vec<ContentViolation>);

impl ContentViolations {
    fn refuse(&mut self, pointer: impl Into<String>, rule: impl Into<String>) {
        self.0.push(ContentViolation {
            pointer: pointer.into(),
            rule: rule.into(),
        });
    }

    /// A text of 1 to `most` characters.
    fn text(&mut self, pointer: impl Into<String>, text: &str, most: usize) {
        if text.trim().is_empty() || text.chars().count() > most {
            self.refuse(pointer, format!("1 to {} characters", grouped(most)));
        }
    }
}

/// 4096 as `4,096`.
fn grouped(number: usize) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}

/// A message that is not a template: deliverable only while the service window is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreeFormMessageContent {
    Text(TextContent),
    Media(MediaContent),
    Interactive(InteractiveContent),
}

/// Meta, "Text messages".
const MAX_TEXT: usize = 4096;

/// Meta, "Media messages".
const MAX_CAPTION: usize = 1024;

const MAX_URL: usize = 2000;
const MAX_FILENAME: usize = 240;

/// Free text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextContent {
    /// 1 to 4,096 characters.
    pub body: String,
    /// Whether its first link is shown with a preview.
    #[serde(default)]
    pub preview_url: bool,
}

/// A file: uploaded to the provider before (`id`), or fetched by it (`link`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaContent {
    #[serde(rename = "type")]
    pub kind: MediaKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// At most 1,024 characters; not with audio and stickers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// For documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
    Sticker,
}

impl MediaKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Document => "document",
            Self::Sticker => "sticker",
        }
    }
}

/// The location of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// At the provider, for 30 days after it was uploaded.
    Id(String),
    /// An address from which the provider can fetch it.
    Link(String),
}

impl MediaSource {
    /// Exactly one of the two; the error names the rule.
    pub fn new(id: Option<String>, link: Option<String>) -> Result<Self, &'static str> {
        match (id, link) {
            (Some(id), None) if !id.is_empty() => Ok(Self::Id(id)),
            (None, Some(link)) if is_address(&link) => Ok(Self::Link(link)),
            (None, Some(_)) => Err("a link starts with https:// or http:// and has no spaces"),
            _ => Err("either `id` or `link`"),
        }
    }
}

fn is_address(link: &str) -> bool {
    let rest = link
        .strip_prefix("https://")
        .or_else(|| link.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty())
        && !link.contains(char::is_whitespace)
        && link.len() <= MAX_URL
}

impl FreeFormMessageContent {
    /// The kind of a notification with this content.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Media(media) => media.kind.name(),
            Self::Interactive(_) => "interactive",
        }
    }

    /// The readable text of it.
    pub fn readable(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(&text.body),
            Self::Media(media) => media.caption.as_deref(),
            Self::Interactive(interactive) => Some(interactive.body()),
        }
    }

    /// What the provider would refuse; pointers start at the content itself.
    pub fn check(&self) -> Vec<ContentViolation> {
        let mut check = ContentViolations::default();
        match self {
            Self::Text(text) => check.text("/text", &text.body, MAX_TEXT),
            Self::Media(media) => media.check("/media", &mut check),
            Self::Interactive(interactive) => interactive.check(&mut check),
        }
        check.0
    }
}

impl MediaContent {
    fn check(&self, at: &str, check: &mut ContentViolations) {
        if let Err(rule) = MediaSource::new(self.id.clone(), self.link.clone()) {
            check.refuse(at, rule);
        }
        if let Some(caption) = &self.caption {
            if matches!(self.kind, MediaKind::Audio | MediaKind::Sticker) {
                check.refuse(
                    format!("{at}/caption"),
                    "audio and stickers have no caption",
                );
            }
            check.text(format!("{at}/caption"), caption, MAX_CAPTION);
        }
        if let Some(filename) = &self.filename {
            if self.kind != MediaKind::Document {
                check.refuse(format!("{at}/filename"), "only documents have a name");
            }
            check.text(format!("{at}/filename"), filename, MAX_FILENAME);
        }
    }

    /// The location of the file, for checked content.
    pub fn source(&self) -> Option<MediaSource> {
        MediaSource::new(self.id.clone(), self.link.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::FreeFormMessageContent;

    fn rules(content: Value) -> Vec<String> {
        let content: FreeFormMessageContent = serde_json::from_value(content).unwrap();
        content
            .check()
            .into_iter()
            .map(|broken| format!("{}: {}", broken.pointer, broken.rule))
            .collect()
    }

    #[test]
    fn a_text_has_1_to_4096_characters() {
        let most = "ü".repeat(4096);
        assert!(rules(json!({"text": {"body": most}})).is_empty());
        let over = "ü".repeat(4097);
        assert_eq!(
            rules(json!({"text": {"body": over}})),
            ["/text: 1 to 4,096 characters"]
        );
        assert_eq!(rules(json!({"text": {"body": " "}})).len(), 1);
    }

    #[test]
    fn a_file_is_an_id_or_a_link() {
        let media = |more: Value| {
            let mut media = json!({"type": "image"});
            for (key, value) in more.as_object().unwrap() {
                media[key] = value.clone();
            }
            rules(json!({ "media": media }))
        };
        assert!(media(json!({"id": "123"})).is_empty());
        assert!(media(json!({"link": "https://example.org/a.png"})).is_empty());
        assert_eq!(media(json!({})), ["/media: either `id` or `link`"]);
        assert_eq!(
            media(json!({"id": "1", "link": "https://example.org"})),
            ["/media: either `id` or `link`"]
        );
        assert_eq!(media(json!({"link": "file:///etc/passwd"})).len(), 1);
        assert_eq!(
            media(json!({"id": "1", "filename": "a.pdf"})),
            ["/media/filename: only documents have a name"]
        );
        assert_eq!(
            rules(json!({"media": {"type": "audio", "id": "1", "caption": "x"}})),
            ["/media/caption: audio and stickers have no caption"]
        );
    }

    #[test]
    fn buttons_and_lists_keep_metas_limits() {
        let reply = |id: &str, title: &str| json!({"id": id, "title": title});
        let buttons = |buttons: Value| {
            rules(json!({"interactive": {"type": "buttons", "body": "Well?", "buttons": buttons}}))
        };
        assert!(buttons(json!([reply("y", "Yes"), reply("n", "No")])).is_empty());
        assert_eq!(buttons(json!([])), ["/interactive/buttons: 1 to 3"]);
        assert_eq!(
            buttons(json!([reply("y", "Yes"), reply("y", "No")])),
            ["/interactive/buttons/1/id: stands twice"]
        );
        assert_eq!(
            buttons(json!([reply("y", &"x".repeat(21))])),
            ["/interactive/buttons/0/title: 1 to 20 characters"]
        );
        let rows: Vec<Value> = (0..6).map(|row| reply(&format!("a{row}"), "Row")).collect();
        let more: Vec<Value> = (0..5).map(|row| reply(&format!("b{row}"), "Row")).collect();
        let list = json!({"interactive": {"type": "list", "body": "Which?", "button": "Choose", "sections": [
            {"title": "A", "rows": rows}, {"rows": more}
        ]}});
        assert_eq!(
            rules(list),
            [
                "/interactive/sections/1/title: several sections need titles",
                "/interactive/sections: 1 to 10 rows together"
            ]
        );
        assert_eq!(
            rules(
                json!({"interactive": {"type": "link", "body": "See", "text": "Open", "url": "www.example.org"}})
            ),
            ["/interactive/url: a link starts with https:// or http:// and has no spaces"]
        );
        assert!(
            rules(json!({"interactive": {"type": "location_request", "body": "Where?"}}))
                .is_empty()
        );
        assert!(
            rules(json!({"interactive": {"type": "contact_request", "body": "Who?"}})).is_empty()
        );
    }
}
