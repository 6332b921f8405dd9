//! What a catalogue file may contain.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{
    catalogue::Kind,
    channel::Channel,
    quiet::QuietHours,
    recipient::each,
    template::{
        layout::{Button, Extras, Header},
        parameter::Declared,
    },
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
    /// Kinds of message that people may turn off, or may not.
    #[serde(default)]
    pub kind: Vec<KindEntry>,
    /// What products post; none, or all that routes are for.
    #[serde(default)]
    pub event: Vec<EventEntry>,
    #[serde(default)]
    pub route: Vec<RouteEntry>,
    #[serde(default)]
    pub rule: Vec<RuleEntry>,
}

impl Catalogue {
    /// The names of its entries of a kind, in their order.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Contact => self.contact.iter().map(|it| it.name.clone()).collect(),
            Kind::User => self.user.iter().map(|it| it.name.clone()).collect(),
            Kind::Group => self.group.iter().map(|it| it.name.clone()).collect(),
            Kind::MessageKind => self.kind.iter().map(|it| it.name.clone()).collect(),
            Kind::Event => self.event.iter().map(|it| it.r#type.clone()).collect(),
            Kind::Template => self
                .template
                .iter()
                .map(|it| format!("{} {}", it.name, it.language))
                .collect(),
            Kind::Route => self.route.iter().map(|it| it.name.clone()).collect(),
            Kind::Rule => self.rule.iter().map(|it| it.name.clone()).collect(),
        }
    }

    /// The place of an entry among those of its kind.
    pub fn index(&self, kind: Kind, name: &str) -> Option<usize> {
        self.names(kind).iter().position(|it| it == name)
    }
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
    /// Of an authentication template: how long its code is good, as Meta writes below it.
    pub code_expiration_minutes: Option<u8>,
    /// Of an authentication template: Meta adds that the code is for nobody else.
    #[serde(default)]
    pub add_security_recommendation: bool,
    /// A value that cannot be read (an amount that is no number, …) keeps it from being sent,
    /// instead of being shown as it came.
    #[serde(default)]
    pub strict: bool,
    /// Of times that are given without a zone; UTC, if absent.
    pub time_zone: Option<String>,
}

impl TemplateEntry {
    /// What it has beside its body, if anything.
    pub fn extras(&self) -> Option<Extras> {
        let extras = Extras {
            header: self.header.clone(),
            footer: self.footer.clone(),
            buttons: self.button.clone(),
            parameters: self.parameter.clone(),
            code_expiration_minutes: self.code_expiration_minutes,
            add_security_recommendation: self.add_security_recommendation,
            strict: self.strict,
            time_zone: self.time_zone.clone(),
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
    /// What WhatsApp calls somebody whose number may be unknown.
    pub user_id: Option<String>,
    pub language: Option<String>,
    /// As in the tz database; UTC, if absent.
    pub time_zone: Option<String>,
    /// In which nothing disturbs but codes, what is required, and what is of high priority.
    pub quiet_hours: Option<QuietHours>,
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
    /// Names of users; absent: they are managed by hand.
    pub members: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindEntry {
    pub name: String,
    pub description: Option<String>,
    /// It cannot be turned off, not even by STOP.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventEntry {
    pub r#type: String,
    pub description: Option<String>,
    /// Its data are sealed, shown to nobody, and wiped in the end.
    #[serde(default)]
    pub sensitive: bool,
    /// Data as a product posts them: every route must be able to use them.
    pub example: Option<toml::Table>,
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
        let entries = match entry {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        };
        entries.iter().flat_map(|entry| each(entry)).collect()
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
    #[serde(default = "default_channel")]
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
    /// Which kind of message it is, of those that people may turn off.
    pub kind: Option<String>,
    /// `template`; `auto`: its text while the window is open; `text`: never a template.
    #[serde(default = "template")]
    pub mode: String,
    /// The template outside the window, instead of its own.
    pub fallback_template: Option<String>,
}

fn template() -> String {
    "template".to_owned()
}

/// A text, so that a word that is none is listed with the other mistakes.
fn default_channel() -> String {
    Channel::default().name().to_owned()
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
    #[serde(default = "default_channel")]
    pub channel: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The name of a sender; absent: for `same` the one that the notification had,
    /// else the default.
    pub sender: Option<String>,
    /// Which kind of message it is; absent: that of the notification.
    pub kind: Option<String>,
    /// `template`, if absent; `auto` or `text`, as of a route.
    pub mode: Option<String>,
    pub fallback_template: Option<String>,
}
