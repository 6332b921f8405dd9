//! What routes and rules name must be there: templates, kinds of message, people.

use std::collections::BTreeSet;

use super::{Mistake, OneOrMany, Parsed};
use crate::{
    domain::{
        catalogue::{Action, Id, Kind, Plan},
        recipient::RecipientSpec,
    },
    store::{
        DatabaseTransaction, StoreError,
        catalogue::{self, uses},
        people, wish,
    },
};

/// Names of a catalogue's own routes and rules that nobody has.
pub(super) async fn missing(
    tx: &DatabaseTransaction,
    parsed: &Parsed,
) -> Result<Vec<Mistake>, StoreError> {
    let catalogue = &parsed.catalogue;
    let mut templates = Vec::new();
    let mut kinds = Vec::new();
    let mut recipients = Vec::new();
    for entry in &catalogue.route {
        let name = &entry.name;
        templates.push((Kind::Route, name, "template", Some(&entry.template)));
        let fallback = entry.fallback_template.as_ref();
        templates.push((Kind::Route, name, "fallback_template", fallback));
        kinds.push((Kind::Route, name, "kind", entry.kind.as_ref()));
        recipients.push((Kind::Route, name, "to", &entry.to));
    }
    for entry in &catalogue.rule {
        let (name, send) = (&entry.name, &entry.send);
        templates.push((Kind::Rule, name, "send.template", Some(&send.template)));
        let fallback = send.fallback_template.as_ref();
        templates.push((Kind::Rule, name, "send.fallback_template", fallback));
        kinds.push((Kind::Rule, name, "send.kind", send.kind.as_ref()));
        recipients.push((Kind::Rule, name, "send.to", &send.to));
    }
    let mut wrong = Vec::new();
    for (kind, name, field, template) in templates {
        let Some(template) = template else { continue };
        if catalogue::translations(tx, template).await?.is_empty() {
            let rule = format!("there is no template {template}");
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    let known = wish::kinds(tx).await?;
    for (kind, name, field, wanted) in kinds {
        let Some(wanted) = wanted else { continue };
        if !known.iter().any(|row| row.name == *wanted) {
            let rule = format!("there is no kind of message {wanted}");
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    // What it has just removed, too: its groups and users would be without it.
    for entry in &catalogue.group {
        for member in entry.members.iter().flatten() {
            if people::user(tx, member).await?.is_none() {
                let rule = format!("there is no user {member}");
                wrong.push(parsed.mistake(Kind::Group, &entry.name, "members", &rule));
            }
        }
    }
    for entry in &catalogue.user {
        let Some(contact) = &entry.contact else {
            continue;
        };
        if people::contact_by_handle(tx, contact).await?.is_none() {
            let rule = format!("there is no contact {contact}");
            wrong.push(parsed.mistake(Kind::User, &entry.name, "contact", &rule));
        }
    }
    for (kind, name, field, to) in recipients {
        for rule in nobody(tx, to).await? {
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    Ok(wrong)
}

/// Which of these recipients nobody is. What an expression means is known with its event only.
async fn nobody(tx: &DatabaseTransaction, to: &OneOrMany) -> Result<Vec<String>, StoreError> {
    let entries: Vec<String> = to.clone().into();
    let mut nobody = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.contains("{{")) {
        let (is_there, what) = match RecipientSpec::parse(entry) {
            Ok(RecipientSpec::Group(name)) => (
                people::group_exists(tx, &name).await?,
                format!("group {name}"),
            ),
            Ok(RecipientSpec::User(name)) => (
                people::user(tx, &name).await?.is_some(),
                format!("user {name}"),
            ),
            Ok(RecipientSpec::Contact(name)) => (
                people::contact_by_handle(tx, &name).await?.is_some(),
                format!("contact {name}"),
            ),
            Ok(RecipientSpec::Same | RecipientSpec::Phone(_) | RecipientSpec::UserId(_))
            | Err(_) => continue,
        };
        if !is_there {
            nobody.push(format!("there is no {what}"));
        }
    }
    Ok(nobody)
}

/// What a plan has removed, and routes or rules of other catalogues still name.
pub(super) async fn left_without(
    tx: &DatabaseTransaction,
    parsed: &Parsed,
    plan: &Plan,
) -> Result<Vec<Mistake>, StoreError> {
    let removed: BTreeSet<&Id> = plan
        .steps
        .iter()
        .filter(|step| step.action == Action::Remove)
        .map(|step| &step.id)
        .collect();
    if removed.is_empty() {
        return Ok(Vec::new());
    }
    let others: Vec<uses::Use> = uses::uses(tx)
        .await?
        .into_iter()
        .filter(|it| it.catalogue.as_deref() != Some(&parsed.catalogue.name))
        .collect();
    let mut wrong = Vec::new();
    for id in removed {
        let name = id.name.as_str();
        let user = match id.kind {
            Kind::Template => {
                let name = name.split(' ').next().unwrap_or_default();
                if !catalogue::translations(tx, name).await?.is_empty() {
                    continue;
                }
                others.iter().find(|it| it.sends(name))
            }
            Kind::MessageKind => others
                .iter()
                .find(|it| it.message_kind.as_deref() == Some(name)),
            Kind::Contact | Kind::User | Kind::Group => {
                let recipient = format!("{}:{name}", id.kind.name());
                others.iter().find(|it| it.is_for(&recipient))
            }
            Kind::Event | Kind::Route | Kind::Rule => None,
        };
        if let Some(it) = user {
            let whose = match &it.catalogue {
                Some(catalogue) => format!(" of the catalogue {catalogue}"),
                None => String::new(),
            };
            let rule = format!(
                "{id}: cannot be removed: the {} {}{whose} needs it",
                it.what, it.name
            );
            wrong.push(Mistake::anywhere(rule));
        }
    }
    Ok(wrong)
}
