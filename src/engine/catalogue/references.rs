//! Checks that everything named by routes and rules exists: templates, kinds of message, people.

use std::collections::BTreeSet;

use super::{CatalogueMistake, ParsedCatalogue};
use crate::{
    domain::{
        access::AccessBounds,
        catalogue::{CataloguePlan, CatalogueRowChange, CatalogueRowId, CatalogueRowKind},
        channel::MessageChannel,
        recipient::{RecipientSpec, is_expression},
    },
    providers::ProviderRegistry,
    store::{
        DatabaseTransaction, StoreError,
        catalogue::{self, uses},
        people::{self, StaffEntryKind},
        preferences,
    },
};

/// Names in a catalogue's own routes and rules that nothing has, and channels without a provider.
pub(super) async fn missing(
    tx: &DatabaseTransaction,
    providers: &ProviderRegistry,
    parsed: &ParsedCatalogue,
) -> Result<Vec<CatalogueMistake>, StoreError> {
    let catalogue = &parsed.catalogue;
    let mut templates = Vec::new();
    let mut kinds = Vec::new();
    let mut recipients: Vec<(CatalogueRowKind, &String, &str, Vec<String>)> = Vec::new();
    for entry in &catalogue.route {
        let name = &entry.name;
        templates.push((
            CatalogueRowKind::Route,
            name,
            "template",
            Some(&entry.template),
        ));
        let fallback = entry.fallback_template.as_ref();
        templates.push((CatalogueRowKind::Route, name, "fallback_template", fallback));
        kinds.push((CatalogueRowKind::Route, name, "kind", entry.kind.as_ref()));
        recipients.push((CatalogueRowKind::Route, name, "to", entry.to.clone().into()));
        let about = entry.about.clone().into_iter().collect();
        recipients.push((CatalogueRowKind::Route, name, "about", about));
    }
    for entry in &catalogue.rule {
        let (name, send) = (&entry.name, &entry.send);
        templates.push((
            CatalogueRowKind::Rule,
            name,
            "send.template",
            Some(&send.template),
        ));
        let fallback = send.fallback_template.as_ref();
        templates.push((
            CatalogueRowKind::Rule,
            name,
            "send.fallback_template",
            fallback,
        ));
        kinds.push((
            CatalogueRowKind::Rule,
            name,
            "send.kind",
            send.kind.as_ref(),
        ));
        recipients.push((
            CatalogueRowKind::Rule,
            name,
            "send.to",
            send.to.clone().into(),
        ));
    }
    let mut wrong = Vec::new();
    let routes = catalogue.route.iter();
    let of_routes = routes.map(|entry| {
        (
            CatalogueRowKind::Route,
            &entry.name,
            "channel",
            &entry.channel,
        )
    });
    let rules = catalogue.rule.iter();
    let of_rules = rules.map(|entry| {
        (
            CatalogueRowKind::Rule,
            &entry.name,
            "send.channel",
            &entry.send.channel,
        )
    });
    for (kind, name, field, channel) in of_routes.chain(of_rules) {
        if !MessageChannel::parse(channel).is_some_and(|channel| providers.serves(channel)) {
            let rule = format!("no provider of this server sends by {channel}");
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    for (kind, name, field, template) in templates {
        let Some(template) = template else { continue };
        if catalogue::translations(tx, template).await?.is_empty() {
            let rule = format!("there is no template {template}");
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    let known = preferences::kinds(tx, &AccessBounds::All).await?;
    for (kind, name, field, wanted) in kinds {
        let Some(wanted) = wanted else { continue };
        if !known.iter().any(|row| row.name == *wanted) {
            let rule = format!("there is no kind of message {wanted}");
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    // Checks against what this catalogue has just removed, too.
    for entry in &catalogue.group {
        for member in entry.members.iter().flatten() {
            if people::user(tx, &AccessBounds::All, member)
                .await?
                .is_none()
            {
                let rule = format!("there is no user {member}");
                wrong.push(parsed.mistake(CatalogueRowKind::Group, &entry.name, "members", &rule));
            }
        }
    }
    for entry in &catalogue.user {
        let Some(contact) = &entry.contact else {
            continue;
        };
        if people::contact_by_handle(tx, contact).await?.is_none() {
            let rule = format!("there is no contact {contact}");
            wrong.push(parsed.mistake(CatalogueRowKind::User, &entry.name, "contact", &rule));
        }
    }
    for (kind, name, field, to) in recipients {
        for rule in nobody(tx, &to).await? {
            wrong.push(parsed.mistake(kind, name, field, &rule));
        }
    }
    Ok(wrong)
}

/// The recipients among these that do not exist. An expression can be evaluated only with its
/// event.
async fn nobody(tx: &DatabaseTransaction, to: &[String]) -> Result<Vec<String>, StoreError> {
    let mut nobody = Vec::new();
    for entry in to.iter().filter(|entry| !is_expression(entry)) {
        if let Ok(spec) = RecipientSpec::parse(entry)
            && !is_there(tx, &spec).await?
        {
            let (what, name) = entry.split_once(':').unwrap_or(("recipient", entry));
            nobody.push(format!("there is no {} {}", what.trim(), name.trim()));
        }
    }
    Ok(nobody)
}

/// Whether a recipient of this name exists; locks it against deletion until this transaction ends.
/// A recipient given by number always exists.
async fn is_there(tx: &DatabaseTransaction, spec: &RecipientSpec) -> Result<bool, StoreError> {
    Ok(match spec {
        RecipientSpec::Group(name) => people::keep_staff(tx, StaffEntryKind::Group, name).await?,
        RecipientSpec::User(name) => people::keep_staff(tx, StaffEntryKind::User, name).await?,
        RecipientSpec::Contact(name) => {
            match people::contact_named(tx, &AccessBounds::All, name).await? {
                Some(person) => people::keep(tx, person.contact_id).await?,
                None => false,
            }
        }
        RecipientSpec::Same
        | RecipientSpec::Phone(_)
        | RecipientSpec::UserId(_)
        | RecipientSpec::Email(_) => true,
    })
}

/// Entries that a plan has removed although routes or rules of other catalogues name them.
pub(super) async fn left_without(
    tx: &DatabaseTransaction,
    parsed: &ParsedCatalogue,
    plan: &CataloguePlan,
) -> Result<Vec<CatalogueMistake>, StoreError> {
    let removed: BTreeSet<&CatalogueRowId> = plan
        .steps
        .iter()
        .filter(|step| step.action == CatalogueRowChange::Remove)
        .map(|step| &step.id)
        .collect();
    if removed.is_empty() {
        return Ok(Vec::new());
    }
    let others: Vec<uses::CatalogueReferences> = uses::uses(tx)
        .await?
        .into_iter()
        .filter(|it| it.catalogue.as_deref() != Some(&parsed.catalogue.name))
        .collect();
    let mut wrong = Vec::new();
    for id in removed {
        // Another translation of it is enough.
        if id.kind == CatalogueRowKind::Template
            && !catalogue::translations(tx, id.template()).await?.is_empty()
        {
            continue;
        }
        if let Some(it) = others.iter().find(|it| needs(it, id)) {
            let whose = match &it.catalogue {
                Some(catalogue) => format!(" of the catalogue {catalogue}"),
                None => String::new(),
            };
            let rule = format!(
                "{id}: cannot be removed: the {} {}{whose} needs it",
                it.what, it.name
            );
            wrong.push(CatalogueMistake::anywhere(rule));
        }
    }
    Ok(wrong)
}

fn needs(it: &uses::CatalogueReferences, id: &CatalogueRowId) -> bool {
    match id.kind {
        CatalogueRowKind::Template => it.sends(id.template()),
        CatalogueRowKind::MessageKind => it.message_kind.as_ref() == Some(&id.name),
        _ => recipient(id).is_some_and(|recipient| it.names(&recipient)),
    }
}

/// How routes and rules refer to a person or group of a catalogue.
fn recipient(id: &CatalogueRowId) -> Option<RecipientSpec> {
    let name = id.name.clone();
    match id.kind {
        CatalogueRowKind::Contact => Some(RecipientSpec::Contact(name)),
        CatalogueRowKind::User => Some(RecipientSpec::User(name)),
        CatalogueRowKind::Group => Some(RecipientSpec::Group(name)),
        _ => None,
    }
}
