//! What a catalogue file may contain.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::template::{
    layout::{Button, Extras, Header},
    parameter::Declared,
};

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
    pub header: Option<Header>,
    pub body: String,
    pub footer: Option<String>,
    #[serde(default)]
    pub button: Vec<Button>,
    /// What is said of its parameters: nothing, or of every one.
    #[serde(default)]
    pub parameter: Vec<Declared>,
    /// How long the provider tries to deliver it; its notifications expire no later
    /// unless they say otherwise.
    pub message_send_ttl_seconds: Option<i64>,
}

impl TemplateEntry {
    /// What it has beside its body, if anything.
    pub fn extras(&self) -> Option<Extras> {
        let extras = Extras {
            header: self.header.clone(),
            footer: self.footer.clone(),
            buttons: self.button.clone(),
            parameters: self.parameter.clone(),
        };
        (!extras.is_empty()).then_some(extras)
    }
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
    /// The name of a sender; absent: the default.
    pub sender: Option<String>,
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
    /// The name of a sender; absent: for `same` the one that the notification had,
    /// else the default.
    pub sender: Option<String>,
}
