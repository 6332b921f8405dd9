//! Catalogues: TOML files with templates, people, routes and rules.
//!
//! `apply` is idempotent and atomic: it adds, changes and removes only rows of
//! the catalogue it is given, and refuses a name that another one owns.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::accept;
use crate::{
    domain::{
        phone::Phone,
        recipient::RecipientSpec,
        rule::{Rule, Send, parse_duration_seconds},
        template::{self, Body},
        time::Timestamp,
        trigger::{Trigger, Triggers},
    },
    store::{
        DatabaseTransaction, Store, StoreError,
        catalogue::{self, NewRoute, NewTemplate, Table},
        people::{self, Alias},
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

/// What is wrong with a catalogue, all of it, each with where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

/// Labels a route may put on a notification.
const MAX_LABELS: usize = 8;

/// Reads and checks a catalogue without looking at the database.
pub fn parse(text: &str) -> Result<Catalogue, Mistakes> {
    let catalogue: Catalogue = toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or("");
            format!("line {}: ", before.matches('\n').count() + 1)
        });
        Mistakes(vec![format!("{place}{}", error.message())])
    })?;
    let mistakes = check(&catalogue);
    if mistakes.is_empty() {
        Ok(catalogue)
    } else {
        Err(Mistakes(mistakes))
    }
}

fn check(catalogue: &Catalogue) -> Vec<String> {
    let mut wrong = Vec::new();
    check_names(catalogue, &mut wrong);
    for entry in &catalogue.template {
        let at = format!("template {}", entry.name);
        if entry.name.is_empty()
            || entry.name.len() > 512
            || !entry
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            wrong.push(format!("{at}: a name has a-z, 0-9 and _ only, at most 512"));
        }
        if !["utility", "marketing", "authentication"].contains(&entry.category.as_str()) {
            wrong.push(format!(
                "{at}: category is utility, marketing or authentication"
            ));
        }
        if !["POSITIONAL", "NAMED"].contains(&entry.parameter_format.as_str()) {
            wrong.push(format!("{at}: parameter_format is POSITIONAL or NAMED"));
        }
        match Body::parse(&entry.body) {
            Err(error) => wrong.push(format!("{at}: body: {error}")),
            Ok(body) => {
                let plain = |expression: &String| {
                    expression
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                };
                if entry.parameter_format == "NAMED" && !body.expressions.iter().all(plain) {
                    wrong.push(format!(
                        "{at}: a NAMED template has plain names in its {{{{ }}}}"
                    ));
                }
            }
        }
        if entry.body.chars().count() > 1024 {
            wrong.push(format!("{at}: body: at most 1,024 characters"));
        }
    }
    for entry in &catalogue.contact {
        if let Some(Err(error)) = entry.phone.as_deref().map(Phone::parse) {
            wrong.push(format!("contact {}: phone: {error}", entry.name));
        }
    }
    for entry in &catalogue.route {
        check_route(entry, &mut wrong);
    }
    for entry in &catalogue.rule {
        check_rule(entry, &mut wrong);
    }
    wrong
}

fn check_names(catalogue: &Catalogue, wrong: &mut Vec<String>) {
    if catalogue.name.is_empty() {
        wrong.push("name: missing".to_owned());
    }
    let mut twice = |kind: &str, names: Vec<String>| {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.trim().is_empty() {
                wrong.push(format!("{kind}: a name is empty"));
            } else if !seen.insert(name.clone()) {
                wrong.push(format!("{kind} {name}: stands twice"));
            }
        }
    };
    twice(
        "template",
        catalogue
            .template
            .iter()
            .map(|entry| format!("{} {}", entry.name, entry.language))
            .collect(),
    );
    twice(
        "contact",
        catalogue
            .contact
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "user",
        catalogue
            .user
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "group",
        catalogue
            .group
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "route",
        catalogue
            .route
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
    twice(
        "rule",
        catalogue
            .rule
            .iter()
            .map(|entry| entry.name.clone())
            .collect(),
    );
}

fn check_texts<'a>(
    at: &str,
    texts: impl Iterator<Item = (&'a str, &'a str)>,
    wrong: &mut Vec<String>,
) {
    for (name, text) in texts {
        if let Err(error) = template::check_text(text) {
            wrong.push(format!("{at}: {name}: {error}"));
        }
    }
}

fn check_recipients(at: &str, to: &OneOrMany, same_allowed: bool, wrong: &mut Vec<String>) {
    let entries: Vec<String> = to.clone().into();
    if entries.is_empty() {
        wrong.push(format!("{at}: to: nobody"));
    }
    for entry in &entries {
        if entry.contains("{{") {
            check_texts(at, [("to", entry.as_str())].into_iter(), wrong);
            continue;
        }
        match RecipientSpec::parse(entry) {
            Ok(RecipientSpec::Same) if !same_allowed => {
                wrong.push(format!("{at}: to: `same` is for rules"));
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("{at}: to: {error}")),
        }
    }
}

fn check_channel(at: &str, channel: &str, wrong: &mut Vec<String>) {
    if channel != "whatsapp" {
        wrong.push(format!(
            "{at}: channel: this version sends by whatsapp only"
        ));
    }
}

fn check_route(entry: &RouteEntry, wrong: &mut Vec<String>) {
    let at = format!("route {}", entry.name);
    if let Some(Err(error)) = entry.when.as_deref().map(template::check_expression) {
        wrong.push(format!("{at}: when: {error}"));
    }
    check_recipients(&at, &entry.to, false, wrong);
    check_channel(&at, &entry.channel, wrong);
    let named = |map: &'_ BTreeMap<String, String>| {
        map.iter()
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect::<Vec<_>>()
    };
    let mut texts = named(&entry.params);
    texts.extend(named(&entry.labels));
    for (name, text) in [
        ("about", &entry.about),
        ("reference", &entry.reference),
        ("dedupe_key", &entry.dedupe_key),
    ] {
        texts.extend(text.iter().map(|text| (name.to_owned(), text.clone())));
    }
    check_texts(
        &at,
        texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        wrong,
    );
    if entry.labels.len() > MAX_LABELS {
        wrong.push(format!("{at}: labels: at most {MAX_LABELS}"));
    }
    if accept::priority(&entry.priority).is_none() {
        wrong.push(format!("{at}: priority is otp, high, normal or bulk"));
    }
    if let Some(after) = &entry.expires_after
        && parse_duration_seconds(after).is_none()
    {
        wrong.push(format!(
            "{at}: expires_after: a number and s, m, h or d, such as 24h"
        ));
    }
}

fn check_rule(entry: &RuleEntry, wrong: &mut Vec<String>) {
    let at = format!("rule {}", entry.name);
    if Trigger::parse(&entry.on).is_none() {
        wrong.push(format!("{at}: on: one of {}", trigger_names()));
    }
    for name in entry
        .unless
        .iter()
        .filter(|name| Trigger::parse(name).is_none())
    {
        wrong.push(format!(
            "{at}: unless: {name} is not one of {}",
            trigger_names()
        ));
    }
    if let Some(Err(error)) = entry.when.as_deref().map(template::check_expression) {
        wrong.push(format!("{at}: when: {error}"));
    }
    if let Some(after) = &entry.after
        && parse_duration_seconds(after).is_none()
    {
        wrong.push(format!(
            "{at}: after: a number and s, m, h or d, such as 24h"
        ));
    }
    check_recipients(&at, &entry.send.to, true, wrong);
    check_channel(&at, &entry.send.channel, wrong);
    check_texts(
        &at,
        entry
            .send
            .params
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
        wrong,
    );
}

fn trigger_names() -> String {
    Trigger::ALL.map(Trigger::name).join(" ")
}

/// What applying did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub unchanged: bool,
    pub written: usize,
    pub removed: Vec<String>,
}

/// Why a catalogue was not applied.
#[derive(Debug)]
pub enum ApplyError {
    Mistakes(Mistakes),
    Store(StoreError),
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Applies a catalogue in one transaction.
pub async fn apply(store: &Store, text: &str, now: Timestamp) -> Result<Done, ApplyError> {
    let catalogue = parse(text).map_err(ApplyError::Mistakes)?;
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let mut mistakes = Vec::new();
    let applied = store
        .write(
            async |tx| match apply_in(tx, &catalogue, &digest, now).await? {
                Ok(done) => Ok(done),
                Err(wrong) => {
                    mistakes = wrong.0;
                    Err(StoreError::RolledBack)
                }
            },
        )
        .await;
    match applied {
        Err(StoreError::RolledBack) => Err(ApplyError::Mistakes(Mistakes(mistakes))),
        other => Ok(other?),
    }
}

async fn apply_in(
    tx: &DatabaseTransaction,
    catalogue: &Catalogue,
    digest: &str,
    now: Timestamp,
) -> Result<Result<Done, Mistakes>, StoreError> {
    if catalogue::digest(tx, &catalogue.name).await?.as_deref() == Some(digest) {
        return Ok(Ok(Done {
            unchanged: true,
            ..Done::default()
        }));
    }
    let mut wrong = Vec::new();
    let wanted: [(Table, &str, Vec<&str>); 6] = [
        (
            Table::Contact,
            "contact",
            catalogue
                .contact
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
        (
            Table::User,
            "user",
            catalogue
                .user
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
        (
            Table::Group,
            "group",
            catalogue
                .group
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
        (
            Table::Template,
            "template",
            catalogue
                .template
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
        (
            Table::Route,
            "route",
            catalogue
                .route
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
        (
            Table::Rule,
            "rule",
            catalogue
                .rule
                .iter()
                .map(|entry| entry.name.as_str())
                .collect(),
        ),
    ];
    for (table, kind, names) in &wanted {
        for name in names {
            if let Some(Some(owner)) = catalogue::owner(tx, *table, name).await?
                && owner != catalogue.name
            {
                wrong.push(format!("{kind} {name}: belongs to the catalogue {owner}"));
            }
        }
    }
    let known_template = |name: &str| catalogue.template.iter().any(|entry| entry.name == name);
    let uses = catalogue
        .route
        .iter()
        .map(|entry| (format!("route {}", entry.name), &entry.template))
        .chain(
            catalogue
                .rule
                .iter()
                .map(|entry| (format!("rule {}", entry.name), &entry.send.template)),
        );
    for (at, template) in uses {
        if !known_template(template) && catalogue::template(tx, template, None).await?.is_none() {
            wrong.push(format!("{at}: template: there is no template {template}"));
        }
    }
    if !wrong.is_empty() {
        return Ok(Err(Mistakes(wrong)));
    }
    let mut done = Done::default();
    write_people(tx, catalogue, now, &mut wrong).await?;
    if !wrong.is_empty() {
        return Ok(Err(Mistakes(wrong)));
    }
    for entry in &catalogue.template {
        let new = NewTemplate {
            name: entry.name.clone(),
            language: entry.language.clone(),
            category: entry.category.clone(),
            parameter_format: entry.parameter_format.clone(),
            body: entry.body.clone(),
        };
        catalogue::upsert_template(tx, &catalogue.name, &new, now).await?;
    }
    for entry in &catalogue.route {
        catalogue::upsert_route(tx, &catalogue.name, &new_route(entry), now).await?;
    }
    for entry in &catalogue.rule {
        if let Some(rule) = new_rule(entry) {
            catalogue::upsert_rule(tx, &catalogue.name, &rule, now).await?;
        }
    }
    for (table, kind, names) in wanted {
        for name in catalogue::owned(tx, table, &catalogue.name).await? {
            if !names.contains(&name.as_str()) {
                catalogue::remove(tx, table, &name).await?;
                done.removed.push(format!("{kind} {name}"));
            }
        }
        done.written += names.len();
    }
    catalogue::set_digest(tx, &catalogue.name, digest, now).await?;
    Ok(Ok(done))
}

async fn write_people(
    tx: &DatabaseTransaction,
    catalogue: &Catalogue,
    now: Timestamp,
    wrong: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut contacts: BTreeMap<&str, Uuid> = BTreeMap::new();
    for entry in &catalogue.contact {
        let phone = entry
            .phone
            .as_deref()
            .and_then(|phone| Phone::parse(phone).ok());
        let named = people::contact_by_handle(tx, &entry.name).await?;
        let by_phone = match &phone {
            Some(phone) => people::contact_by_phone(tx, phone).await?,
            None => None,
        };
        let display = Some(entry.display_name.as_deref().unwrap_or(&entry.name));
        let language = entry.language.as_deref();
        let id = match (named, by_phone) {
            (Some(named), Some(other)) if named.contact_id != other.contact_id => {
                wrong.push(format!(
                    "contact {}: phone: belongs to another contact",
                    entry.name
                ));
                continue;
            }
            // Somebody wrote from this number before it had a name.
            (None, Some(unnamed)) => {
                catalogue::adopt_contact(
                    tx,
                    &catalogue.name,
                    unnamed.contact_id,
                    &entry.name,
                    display,
                    language,
                )
                .await?;
                unnamed.contact_id
            }
            _ => {
                catalogue::upsert_contact(tx, &catalogue.name, &entry.name, display, language, now)
                    .await?
            }
        };
        if let Some(phone) = phone {
            people::set_phone(
                tx,
                id,
                &Alias {
                    kind: "phone",
                    value: phone.e164().to_owned(),
                },
                now,
            )
            .await?;
        }
        contacts.insert(&entry.name, id);
    }
    let mut users: BTreeMap<&str, Uuid> = BTreeMap::new();
    for entry in &catalogue.user {
        let contact = match entry.contact.as_deref() {
            None => None,
            Some(name) => match contacts.get(name) {
                Some(id) => Some(*id),
                None => {
                    if let Some(person) = people::contact_by_handle(tx, name).await? {
                        Some(person.contact_id)
                    } else {
                        wrong.push(format!(
                            "user {}: contact: there is no contact {name}",
                            entry.name
                        ));
                        continue;
                    }
                }
            },
        };
        users.insert(
            &entry.name,
            catalogue::upsert_user(tx, &catalogue.name, &entry.name, contact, now).await?,
        );
    }
    for entry in &catalogue.group {
        let id = catalogue::upsert_group(
            tx,
            &catalogue.name,
            &entry.name,
            entry.description.as_deref(),
            now,
        )
        .await?;
        let mut members = Vec::new();
        for name in &entry.members {
            match users.get(name.as_str()) {
                Some(user) => members.push(*user),
                None => match people::user(tx, name).await? {
                    Some(staff) => members.push(staff.user_id),
                    None => wrong.push(format!(
                        "group {}: members: there is no user {name}",
                        entry.name
                    )),
                },
            }
        }
        catalogue::set_members(tx, id, &members, now).await?;
    }
    Ok(())
}

fn new_route(entry: &RouteEntry) -> NewRoute {
    NewRoute {
        name: entry.name.clone(),
        event_type: entry.event.clone(),
        condition: entry.when.clone(),
        recipients: entry.to.clone().into(),
        about: entry.about.clone(),
        template: entry.template.clone(),
        language: entry.language.clone(),
        channel: entry.channel.clone(),
        params: entry.params.clone(),
        labels: entry.labels.clone(),
        reference: entry.reference.clone(),
        dedupe_key: entry.dedupe_key.clone(),
        priority: entry.priority.clone(),
        expires_after_seconds: entry
            .expires_after
            .as_deref()
            .and_then(parse_duration_seconds),
    }
}

/// The entry was checked: an unreadable part would have been reported.
fn new_rule(entry: &RuleEntry) -> Option<Rule> {
    Some(Rule {
        name: entry.name.clone(),
        on: Trigger::parse(&entry.on)?,
        condition: entry.when.clone(),
        after_seconds: entry
            .after
            .as_deref()
            .and_then(parse_duration_seconds)
            .unwrap_or(0),
        unless: entry
            .unless
            .iter()
            .filter_map(|name| Trigger::parse(name))
            .collect::<Triggers>(),
        send: Send {
            to: entry.send.to.clone().into(),
            template: entry.send.template.clone(),
            language: entry.send.language.clone(),
            channel: entry.send.channel.clone(),
            params: entry.send.params.clone(),
        },
        chain: entry.chain,
    })
}
