//! Interactive messages, which are answered by a tap (Meta, "Interactive messages").

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use super::{ContentViolations, MediaContent, MediaKind, MediaSource};
use crate::domain::strict;

const MAX_BODY: usize = 1024;
const MAX_LIST_BODY: usize = 4096;
const MAX_SHORT: usize = 60;
const MAX_BUTTONS: usize = 3;
const MAX_BUTTON: usize = 20;
const MAX_BUTTON_ID: usize = 256;
const MAX_ROWS: usize = 10;
const MAX_ROW_ID: usize = 200;
const MAX_ROW_TITLE: usize = 24;
const MAX_ROW_DESCRIPTION: usize = 72;

/// The interactive element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    deny_unknown_fields,
    remote = "Self"
)]
pub enum InteractiveContent {
    /// One to three buttons.
    Buttons {
        // Tagged values are buffered before they are parsed: lists would pass for objects.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "strict::read"
        )]
        header: Option<InteractiveHeader>,
        body: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        footer: Option<String>,
        #[serde(deserialize_with = "strict::read")]
        buttons: Vec<ReplyButton>,
    },
    /// A list that opens, of up to ten rows.
    List {
        /// Text, at most 60 characters.
        #[serde(skip_serializing_if = "Option::is_none")]
        header: Option<String>,
        body: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        footer: Option<String>,
        /// Label of the button that opens it.
        button: String,
        #[serde(deserialize_with = "strict::read")]
        sections: Vec<InteractiveListSection>,
    },
    /// One button that opens an address.
    Link {
        // Tagged values are buffered before they are parsed: lists would pass for objects.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "strict::read"
        )]
        header: Option<InteractiveHeader>,
        body: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        footer: Option<String>,
        /// Label of the button.
        text: String,
        url: String,
    },
    /// Asks for the person's location.
    LocationRequest { body: String },
    /// Asks for the person's number.
    ContactRequest { body: String },
}

impl Serialize for InteractiveContent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for InteractiveContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InteractiveVisitor;
        impl<'de> Visitor<'de> for InteractiveVisitor {
            type Value = InteractiveContent;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with a `type`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InteractiveContent, A::Error> {
                InteractiveContent::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(InteractiveVisitor)
    }
}

/// Above the text: a text of at most 60 characters, or a picture, video or document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InteractiveHeader {
    Text(String),
    Media(MediaContent),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplyButton {
    /// Returned when it is tapped; at most 256 characters.
    pub id: String,
    /// At most 20 characters.
    pub title: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InteractiveListSection {
    /// Required if there are several; at most 24 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub rows: Vec<InteractiveListRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InteractiveListRow {
    /// Returned when it is chosen; at most 200 characters.
    pub id: String,
    /// At most 24 characters.
    pub title: String,
    /// At most 72 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl InteractiveContent {
    /// The text that the person reads.
    pub fn body(&self) -> &str {
        match self {
            Self::Buttons { body, .. }
            | Self::List { body, .. }
            | Self::Link { body, .. }
            | Self::LocationRequest { body }
            | Self::ContactRequest { body } => body,
        }
    }

    pub(super) fn check(&self, check: &mut ContentViolations) {
        let most = if matches!(self, Self::List { .. }) {
            MAX_LIST_BODY
        } else {
            MAX_BODY
        };
        check.text("/interactive/body", self.body(), most);
        let (header, footer) = match self {
            Self::Buttons { header, footer, .. } | Self::Link { header, footer, .. } => {
                (header.as_ref(), footer.as_ref())
            }
            Self::List { header, footer, .. } => {
                if let Some(header) = header {
                    check.text("/interactive/header", header, MAX_SHORT);
                }
                (None, footer.as_ref())
            }
            Self::LocationRequest { .. } | Self::ContactRequest { .. } => (None, None),
        };
        if let Some(footer) = footer {
            check.text("/interactive/footer", footer, MAX_SHORT);
        }
        match header {
            None => {}
            Some(InteractiveHeader::Text(text)) => {
                check.text("/interactive/header/text", text, MAX_SHORT);
            }
            Some(InteractiveHeader::Media(media)) => {
                let at = "/interactive/header/media";
                media.check(at, check);
                if matches!(media.kind, MediaKind::Audio | MediaKind::Sticker) {
                    check.refuse(format!("{at}/type"), "image, video or document");
                }
                if media.caption.is_some() {
                    check.refuse(format!("{at}/caption"), "a header has none");
                }
            }
        }
        match self {
            Self::Buttons { buttons, .. } => check_buttons(buttons, check),
            Self::List {
                button, sections, ..
            } => {
                check.text("/interactive/button", button, MAX_BUTTON);
                check_sections(sections, check);
            }
            Self::Link { text, url, .. } => {
                check.text("/interactive/text", text, MAX_BUTTON);
                if let Err(rule) = MediaSource::new(None, Some(url.clone())) {
                    check.refuse("/interactive/url", rule);
                }
            }
            Self::LocationRequest { .. } | Self::ContactRequest { .. } => {}
        }
    }
}

fn check_buttons(buttons: &[ReplyButton], check: &mut ContentViolations) {
    if buttons.is_empty() || buttons.len() > MAX_BUTTONS {
        check.refuse("/interactive/buttons", "1 to 3");
    }
    let mut seen = BTreeSet::new();
    for (index, button) in buttons.iter().enumerate() {
        let at = format!("/interactive/buttons/{index}");
        check.text(format!("{at}/id"), &button.id, MAX_BUTTON_ID);
        check.text(format!("{at}/title"), &button.title, MAX_BUTTON);
        if !seen.insert(&button.id) {
            check.refuse(format!("{at}/id"), "stands twice");
        }
    }
}

fn check_sections(sections: &[InteractiveListSection], check: &mut ContentViolations) {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (index, section) in sections.iter().enumerate() {
        let at = format!("/interactive/sections/{index}");
        match &section.title {
            Some(title) => check.text(format!("{at}/title"), title, MAX_ROW_TITLE),
            None if sections.len() > 1 => {
                check.refuse(format!("{at}/title"), "several sections need titles");
            }
            None => {}
        }
        for (row_index, row) in section.rows.iter().enumerate() {
            let at = format!("{at}/rows/{row_index}");
            count += 1;
            check.text(format!("{at}/id"), &row.id, MAX_ROW_ID);
            check.text(format!("{at}/title"), &row.title, MAX_ROW_TITLE);
            if let Some(description) = &row.description {
                check.text(
                    format!("{at}/description"),
                    description,
                    MAX_ROW_DESCRIPTION,
                );
            }
            if !seen.insert(&row.id) {
                check.refuse(format!("{at}/id"), "stands twice");
            }
        }
    }
    if count == 0 || count > MAX_ROWS {
        check.refuse("/interactive/sections", "1 to 10 rows together");
    }
}
