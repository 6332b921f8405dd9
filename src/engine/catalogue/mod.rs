//! Catalogues: TOML files with templates, people, routes and rules.
//!
//! `apply` is idempotent and atomic: it adds, changes and removes only rows of
//! the catalogue it is given, and refuses a name that another one owns.

mod check;
mod format;
mod layout;

pub use layout::layout;

pub use check::{Mistakes, parse};
pub use format::*;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    domain::{
        phone::Phone,
        rule::{Rule, Send, parse_duration_seconds},
        time::Timestamp,
        trigger::{Trigger, Triggers},
    },
    store::{
        DatabaseTransaction, Store, StoreError,
        alias::Alias,
        catalogue::{self, NewRoute, NewTemplate, Table},
        people,
    },
};

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
        if !known_template(template) && catalogue::translations(tx, template).await?.is_empty() {
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
            extras: entry
                .extras()
                .map(|extras| serde_json::json!(extras).to_string()),
            ttl_seconds: entry.message_send_ttl_seconds,
        };
        catalogue::upsert_template(tx, &catalogue.name, &new, now).await?;
    }
    let names: BTreeSet<&str> = catalogue
        .template
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    for name in names {
        let languages: Vec<&str> = catalogue
            .template
            .iter()
            .filter(|entry| entry.name == name)
            .map(|entry| entry.language.as_str())
            .collect();
        for language in catalogue::keep_translations(tx, name, &languages).await? {
            done.removed.push(format!("template {name} in {language}"));
        }
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
        sender: entry.sender.clone(),
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
            sender: entry.send.sender.clone(),
        },
        chain: entry.chain,
    })
}
