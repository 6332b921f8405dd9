//! What a catalogue file may contain.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A catalogue file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    pub name: String,
    #[serde(default)]
    pub template: Vec<TemplateEntry>,
    #[serde(default)]
    pub contact: Vec<ContactEntry>,
    #[serde(default)]
    pub user: Vec<UserEntry>,
    #[serde(default)]
    pub group: Vec<GroupEntry>,
    #[serde(default)]
    pub route: Vec<RouteEntry>,
    #[serde(default)]
    pub rule: Vec<RuleEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateEntry {
    pub name: String,
    #[serde(default = "en_us")]
    pub language: String,
    pub category: String,
    #[serde(default = "positional")]
    pub parameter_format: String,
    pub body: String,
}

fn en_us() -> String {
    "en_US".to_owned()
}

fn positional() -> String {
    "POSITIONAL".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactEntry {
    /// What `contact:NAME` means.
    pub name: String,
    /// What a person calls them, if another.
    pub display_name: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    pub name: String,
    /// The name of a contact; a user without one is skipped, visibly.
    pub contact: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupEntry {
    pub name: String,
    pub description: Option<String>,
    #[serde(default)]
    pub members: Vec<String>,
}

/// One recipient or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(entry: OneOrMany) -> Self {
        match entry {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    pub name: String,
    pub event: String,
    pub when: Option<String>,
    pub to: OneOrMany,
    /// Whom the message is about, when that is not its recipient.
    pub about: Option<String>,
    pub template: String,
    pub language: Option<String>,
    #[serde(default = "whatsapp")]
    pub channel: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub reference: Option<String>,
    pub dedupe_key: Option<String>,
    #[serde(default = "normal")]
    pub priority: String,
    pub expires_after: Option<String>,
}

fn whatsapp() -> String {
    "whatsapp".to_owned()
}

fn normal() -> String {
    "normal".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    pub name: String,
    pub on: String,
    pub when: Option<String>,
    pub after: Option<String>,
    #[serde(default)]
    pub unless: Vec<String>,
    pub send: SendEntry,
    #[serde(default)]
    pub chain: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendEntry {
    pub to: OneOrMany,
    pub template: String,
    pub language: Option<String>,
    #[serde(default = "whatsapp")]
    pub channel: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}
