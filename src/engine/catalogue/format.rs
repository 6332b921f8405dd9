//! The format of catalogue files.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{
    catalogue::CatalogueRowKind,
    channel::MessageChannel,
    quiet::QuietHours,
    recipient::each,
    template::{
        layout::{TemplateButton, TemplateExtras, TemplateHeader},
        parameter::DeclaredTemplateParameter,
    },
};

/// A catalogue file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    pub name: String,
    #[serde(default)]
    pub template: Vec<CatalogueTemplateEntry>,
    #[serde(default)]
    pub contact: Vec<CatalogueContactEntry>,
    #[serde(default)]
    pub user: Vec<CatalogueStaffMemberEntry>,
    #[serde(default)]
    pub group: Vec<CatalogueGroupEntry>,
    /// Kinds of message; recipients may turn off those that are not required.
    #[serde(default)]
    pub kind: Vec<CatalogueMessageKindEntry>,
    /// The events that products post; none, or all that routes use.
    #[serde(default)]
    pub event: Vec<CatalogueEventTypeEntry>,
    #[serde(default)]
    pub route: Vec<CatalogueRouteEntry>,
    #[serde(default)]
    pub rule: Vec<CatalogueRuleEntry>,
}

impl Catalogue {
    /// The names of the entries of a kind, in their order.
    pub fn names(&self, kind: CatalogueRowKind) -> Vec<String> {
        match kind {
            CatalogueRowKind::Contact => self.contact.iter().map(|it| it.name.clone()).collect(),
            CatalogueRowKind::User => self.user.iter().map(|it| it.name.clone()).collect(),
            CatalogueRowKind::Group => self.group.iter().map(|it| it.name.clone()).collect(),
            CatalogueRowKind::MessageKind => self.kind.iter().map(|it| it.name.clone()).collect(),
            CatalogueRowKind::Event => self.event.iter().map(|it| it.r#type.clone()).collect(),
            CatalogueRowKind::Template => self
                .template
                .iter()
                .map(|it| format!("{} {}", it.name, it.language))
                .collect(),
            CatalogueRowKind::Route => self.route.iter().map(|it| it.name.clone()).collect(),
            CatalogueRowKind::Rule => self.rule.iter().map(|it| it.name.clone()).collect(),
        }
    }

    /// The index of an entry among those of its kind.
    pub fn index(&self, kind: CatalogueRowKind, name: &str) -> Option<usize> {
        self.names(kind).iter().position(|it| it == name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueTemplateEntry {
    pub name: String,
    #[serde(default = "en_us")]
    pub language: String,
    pub category: String,
    #[serde(default = "positional")]
    pub parameter_format: String,
    pub header: Option<TemplateHeader>,
    pub body: String,
    pub footer: Option<String>,
    /// Of an e-mail; without one, the first line of the text.
    pub subject: Option<String>,
    /// The HTML part of an e-mail.
    pub html: Option<String>,
    #[serde(default)]
    pub button: Vec<TemplateButton>,
    /// Declarations of its parameters: of none or of all.
    #[serde(default)]
    pub parameter: Vec<DeclaredTemplateParameter>,
    /// How long the provider tries to deliver it; its notifications expire no later unless they say
    /// otherwise.
    pub message_send_ttl_seconds: Option<i64>,
    /// Authentication templates: how long the code is valid, as Meta writes below it.
    pub code_expiration_minutes: Option<u8>,
    /// Authentication templates: Meta adds the advice not to share the code.
    #[serde(default)]
    pub add_security_recommendation: bool,
    /// A value that a filter cannot read (an amount that is no number, …) prevents sending, instead
    /// of being shown unchanged.
    #[serde(default)]
    pub strict: bool,
    /// Zone of times without one; UTC, if absent.
    pub time_zone: Option<String>,
}

impl CatalogueTemplateEntry {
    /// Its parts besides the body, if any.
    pub fn extras(&self) -> Option<TemplateExtras> {
        let extras = TemplateExtras {
            header: self.header.clone(),
            footer: self.footer.clone(),
            subject: self.subject.clone(),
            html: self.html.clone(),
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
pub struct CatalogueContactEntry {
    /// The name in `contact:NAME`.
    pub name: String,
    /// The person's name, if it differs.
    pub display_name: Option<String>,
    pub phone: Option<String>,
    /// WhatsApp's user id of a person whose number may be unknown.
    pub user_id: Option<String>,
    /// Where e-mail goes.
    pub email: Option<String>,
    pub language: Option<String>,
    /// Name in the tz database; UTC, if absent.
    pub time_zone: Option<String>,
    /// When only codes, required kinds and messages of high priority are sent.
    pub quiet_hours: Option<QuietHours>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueStaffMemberEntry {
    pub name: String,
    /// The name of a contact; messages to a staff member without one are skipped, with the reason.
    pub contact: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueGroupEntry {
    pub name: String,
    pub description: Option<String>,
    /// Names of staff members; absent: members are managed by hand.
    pub members: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueMessageKindEntry {
    pub name: String,
    pub description: Option<String>,
    /// Recipients cannot turn it off, not even by STOP.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueEventTypeEntry {
    pub r#type: String,
    pub description: Option<String>,
    /// Its data are sealed, never shown, and wiped in the end.
    #[serde(default)]
    pub sensitive: bool,
    /// Example data: every route must be able to use them.
    pub example: Option<toml::Table>,
}

/// One recipient or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum CatalogueRecipientList {
    One(String),
    Many(Vec<String>),
}

impl From<CatalogueRecipientList> for Vec<String> {
    fn from(entry: CatalogueRecipientList) -> Self {
        let entries = match entry {
            CatalogueRecipientList::One(one) => vec![one],
            CatalogueRecipientList::Many(many) => many,
        };
        entries.iter().flat_map(|entry| each(entry)).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueRouteEntry {
    pub name: String,
    pub event: String,
    pub when: Option<String>,
    pub to: CatalogueRecipientList,
    /// The subject of the message, if it is not the recipient.
    pub about: Option<String>,
    pub template: String,
    pub language: Option<String>,
    #[serde(default = "default_channel")]
    pub channel: String,
    /// Instead of `channel`: the channels in the order in which they are tried.
    #[serde(default)]
    pub channels: Vec<String>,
    /// How long each may take.
    pub fallback_after: Option<String>,
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
    /// The kind of message, which recipients may turn off.
    pub kind: Option<String>,
    /// `template`; `auto`: free text while the service window is open; `text`: never a template.
    #[serde(default = "template")]
    pub mode: String,
    /// The template for a closed service window, instead of its own.
    pub fallback_template: Option<String>,
}

fn template() -> String {
    "template".to_owned()
}

/// A text, so that a word that is none is listed with the other mistakes.
fn default_channel() -> String {
    MessageChannel::default().name().to_owned()
}

fn normal() -> String {
    "normal".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueRuleEntry {
    pub name: String,
    pub on: String,
    pub when: Option<String>,
    pub after: Option<String>,
    #[serde(default)]
    pub unless: Vec<String>,
    pub send: CatalogueRuleMessageEntry,
    #[serde(default)]
    pub chain: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueRuleMessageEntry {
    pub to: CatalogueRecipientList,
    pub template: String,
    pub language: Option<String>,
    #[serde(default = "default_channel")]
    pub channel: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The name of a sender; absent: with `same` the sender of the notification, otherwise the
    /// default.
    pub sender: Option<String>,
    /// The kind of message; absent: the notification's.
    pub kind: Option<String>,
    /// `template`, if absent; `auto` or `text` as in a route.
    pub mode: Option<String>,
    pub fallback_template: Option<String>,
}
