//! Who somebody is: an internal id with names, of which any may be missing, change
//! or pass to somebody else. Two contacts that claim one name are a recorded
//! conflict, never merged.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use super::{Work, news};
use crate::{
    domain::{preference::Wish, time::Timestamp},
    engine::{Engine, transition::Report},
    providers::{Inbound, PersonIds},
    store::{
        DatabaseTransaction, StoreError,
        alias::{self, Alias},
        people, suppression,
    },
};

/// A chain of changed ids is followed this far.
const MAX_LINKS: usize = 20;

/// The names in an item, surest first.
pub(super) fn aliases(ids: &PersonIds) -> Vec<Alias> {
    let mut aliases = Vec::new();
    let mut add = |kind: &'static str, value: Option<String>| {
        if let Some(value) = value {
            aliases.push(Alias { kind, value });
        }
    };
    add("bsuid", ids.user_id.clone());
    add("wa_id", ids.wa_id.clone());
    add("phone", ids.wa_id.as_ref().map(|wa_id| format!("+{wa_id}")));
    add("parent_bsuid", ids.parent_user_id.clone());
    aliases
}

/// The names that are known already.
#[derive(Default)]
pub(super) struct Book {
    owners: HashMap<Alias, (Uuid, Option<Timestamp>)>,
}

impl Book {
    pub(super) async fn of(
        tx: &DatabaseTransaction,
        aliases: &[Alias],
    ) -> Result<Self, StoreError> {
        let mut book = Self::default();
        let wanted: HashMap<(&str, &str), &Alias> = aliases
            .iter()
            .map(|alias| ((alias.kind, alias.value.as_str()), alias))
            .collect();
        for known in alias::find_and_keep(tx, aliases).await? {
            if let Some(alias) = wanted.get(&(known.kind.as_str(), known.value.as_str())) {
                let owner = (known.contact_id, known.superseded_at);
                book.owners.insert((*alias).clone(), owner);
            }
        }
        Ok(book)
    }

    /// Whose name this was at a time.
    fn owner(&self, alias: &Alias, at: Timestamp) -> Option<Uuid> {
        let (contact, superseded_at) = self.owners.get(alias)?;
        superseded_at
            .is_none_or(|superseded_at| at <= superseded_at)
            .then_some(*contact)
    }

    /// Gives a contact the names that are free, and records claims to others.
    pub(super) async fn give(
        &mut self,
        tx: &DatabaseTransaction,
        contact: Uuid,
        aliases: &[Alias],
        at: Timestamp,
        callback: Uuid,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut fresh = Vec::new();
        for alias in aliases {
            match (self.owners.get(alias), self.owner(alias, at)) {
                (None, _) => alias::add(tx, contact, alias, None, now).await?,
                // Its owner had lost it by then: numbers change hands, and come back.
                (Some(_), None) => alias::reassign(tx, contact, alias).await?,
                (Some(_), Some(owner)) if owner != contact => {
                    alias::conflict(tx, alias, owner, contact, Some(callback), now).await?;
                    continue;
                }
                (Some(_), Some(_)) => continue,
            }
            self.owners.insert(alias.clone(), (contact, None));
            fresh.push((alias.clone(), at));
        }
        self.follow(tx, contact, fresh, callback, now).await
    }

    /// What became of these names since a person got them, told before that was known.
    async fn follow(
        &mut self,
        tx: &DatabaseTransaction,
        contact: Uuid,
        mut fresh: Vec<(Alias, Timestamp)>,
        callback: Uuid,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_LINKS {
            if fresh.is_empty() {
                break;
            }
            let names: Vec<Alias> = fresh.iter().map(|(alias, _)| alias.clone()).collect();
            let links = alias::links(tx, &names).await?;
            let mut next = Vec::new();
            for (old, since) in fresh {
                // Whoever has a name after it was given up has nothing to do with what became of it.
                let Some(link) = links.iter().find(|link| {
                    old.kind == link.kind && old.value == link.old_value && link.at >= since
                }) else {
                    continue;
                };
                let new = Alias {
                    kind: old.kind,
                    value: link.new_value.clone(),
                };
                alias::supersede(tx, contact, &old, link.at).await?;
                self.owners.insert(old, (contact, Some(link.at)));
                let known = Self::of(tx, std::slice::from_ref(&new)).await?;
                match known.owner(&new, link.at) {
                    Some(owner) if owner == contact => continue,
                    Some(owner) => {
                        alias::conflict(tx, &new, owner, contact, Some(callback), now).await?;
                        continue;
                    }
                    None if known.owners.contains_key(&new) => {
                        alias::reassign(tx, contact, &new).await?;
                    }
                    None => alias::add(tx, contact, &new, None, now).await?,
                }
                self.owners.insert(new.clone(), (contact, None));
                next.push((new, link.at));
            }
            fresh = next;
        }
        Ok(())
    }

    /// Whose names these are at a time, surest first.
    pub(super) fn find(&self, aliases: &[Alias], at: Timestamp) -> Option<Uuid> {
        aliases.iter().find_map(|alias| self.owner(alias, at))
    }
}

/// The contact of these ids, made if there is none; absent when there is no id.
pub(super) async fn ensure(
    tx: &DatabaseTransaction,
    book: &mut Book,
    ids: &PersonIds,
    at: Timestamp,
    callback: Uuid,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    let aliases = aliases(ids);
    if aliases.is_empty() {
        return Ok(None);
    }
    if let Some(contact) = book.find(&aliases, at) {
        book.give(tx, contact, &aliases, at, callback, now).await?;
        return Ok(Some(contact));
    }
    let mine = people::insert_contact(tx, ids.name.as_deref(), &[], now).await?;
    book.give(tx, mine, &aliases, at, callback, now).await?;
    // Another process may have made the same person at this moment: the first name decides.
    let stored = Book::of(tx, &aliases).await?;
    Ok(Some(match stored.find(&aliases, at) {
        Some(theirs) if theirs != mine => {
            people::remove_contact(tx, mine).await?;
            book.owners.extend(stored.owners);
            book.give(tx, theirs, &aliases, at, callback, now).await?;
            theirs
        }
        _ => mine,
    }))
}

/// The contact of each message, by position.
pub(super) async fn of_messages(
    tx: &DatabaseTransaction,
    messages: &[(&Work, &Inbound)],
    now: Timestamp,
) -> Result<HashMap<usize, Uuid>, StoreError> {
    let wanted: Vec<Alias> = messages
        .iter()
        .flat_map(|(_, message)| aliases(&message.person))
        .collect();
    let mut book = Book::of(tx, &wanted).await?;
    let mut found = HashMap::new();
    for (position, (work, message)) in messages.iter().enumerate() {
        let contact = ensure(
            tx,
            &mut book,
            &message.person,
            message.at,
            work.callback_id,
            now,
        )
        .await?;
        if let Some(contact) = contact {
            found.insert(position, contact);
        }
    }
    Ok(found)
}

/// Notes what somebody wants, and tells whoever listens, if it is news.
pub(super) async fn note_wish(
    engine: &Engine,
    tx: &DatabaseTransaction,
    contact: Uuid,
    wish: &Wish,
    work: &Work,
    report: &mut Report,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if !suppression::set(tx, contact, wish, Some(work.callback_id), now).await? {
        return Ok(false);
    }
    let kind = if wish.wanted {
        "herald.contact.opted_in"
    } else {
        "herald.contact.opted_out"
    };
    let data = json!({ "contact": contact, "scope": wish.scope.name(), "source": wish.source });
    news::raise(engine, tx, work, kind, data, report, now).await?;
    Ok(true)
}

/// What became of names that statuses and answers have taught us.
pub(super) async fn follow_learned(
    tx: &DatabaseTransaction,
    learned: &[(Uuid, Alias, Timestamp, Uuid)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let aliases: Vec<Alias> = learned.iter().map(|(_, alias, ..)| alias.clone()).collect();
    if alias::links(tx, &aliases).await?.is_empty() {
        return Ok(());
    }
    let mut book = Book::of(tx, &aliases).await?;
    for (contact, alias, at, callback) in learned {
        if book.owner(alias, *at) == Some(*contact) {
            book.follow(tx, *contact, vec![(alias.clone(), *at)], *callback, now)
                .await?;
        }
    }
    Ok(())
}
