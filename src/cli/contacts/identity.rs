//! `herald contacts identity|conflicts`: prints identities on a terminal.

use anyhow::anyhow;
use uuid::Uuid;

use crate::{
    cli::{people::masked, say},
    domain::{
        access::AccessBounds,
        identity::{ContactAlias, ContactAliasKind},
        phone::Phone,
        recipient::WhatsAppUserId,
        time::Timestamp,
    },
    store::{
        Store,
        alias::{self, ContactIdentityConflictKind},
        identity as rows,
    },
};

/// Parses an alias.
pub(super) fn alias(text: &str) -> anyhow::Result<ContactAlias> {
    if let Some(user_id) = WhatsAppUserId::parse(text) {
        return Ok(ContactAlias::of_user_id(&user_id));
    }
    Phone::parse(text)
        .map(|phone| ContactAlias::of_phone(&phone))
        .map_err(|error| anyhow!("{text}: {error}"))
}

pub(super) async fn show(store: &Store, contact: Uuid, show: bool) -> anyhow::Result<()> {
    let reader = store.reader();
    let written = |value: &str| masked(Some(value), show).unwrap_or_default();
    say(format!("contact {contact}"));
    let held = alias::of_contact(reader, &AccessBounds::All, contact).await?;
    let mut aliases = Vec::with_capacity(held.len());
    for row in &held {
        let until = row
            .superseded_at
            .map(|at| format!("  until {}", Timestamp::from_micros(at)))
            .unwrap_or_default();
        say(format!("  {:<14} {}{until}", row.kind, written(&row.value)));
        if let Some(kind) = ContactAliasKind::parse(&row.kind) {
            aliases.push(ContactAlias {
                kind,
                value: row.value.clone(),
            });
        }
    }
    for (part, at) in rows::parts(reader, contact).await? {
        say(format!("contact {part} was merged into this one at {at}"));
    }
    for row in alias::conflicts_of(store, &AccessBounds::All, contact).await? {
        let other = if row.contact_id == contact {
            row.other_id
        } else {
            row.contact_id
        };
        say(format!(
            "{} by {}: contact {other} may be the same person",
            row.state,
            written(&row.value)
        ));
    }
    for listed in rows::listed(reader, &aliases).await? {
        let (one, other) = listed.observation.fact.aliases();
        let named: Vec<String> = std::iter::once(one)
            .chain(other)
            .map(|alias| written(&alias.value))
            .collect();
        say(format!(
            "{}  {:<9} {:<11} {}",
            listed.observation.last,
            listed.observation.fact.name(),
            listed.source,
            named.join(" ")
        ));
    }
    Ok(())
}

pub(super) async fn conflicts(store: &Store, limit: u64, show: bool) -> anyhow::Result<()> {
    let found = alias::conflicts(store, &AccessBounds::All, limit).await?;
    if found.is_empty() {
        say("No contacts are waiting for a decision whether they are one person.");
    }
    for row in found {
        let what = match ContactIdentityConflictKind::parse(&row.state) {
            Some(ContactIdentityConflictKind::Question) => "a new user id was seen at",
            Some(ContactIdentityConflictKind::Linked) => {
                "evidence says they are one person, but their names, handles or catalogues differ:"
            }
            Some(ContactIdentityConflictKind::Contradiction) | None => {
                "the evidence contradicts itself about"
            }
        };
        let value = masked(Some(&row.value), show).unwrap_or_default();
        say(format!(
            "{}  {}  {} {value}",
            row.contact_id, row.other_id, what
        ));
        if let Some(due) = row.due_at {
            say(format!(
                "  if it stays undecided, they count as two people from {}",
                Timestamp::from_micros(due)
            ));
        }
    }
    Ok(())
}
