//! Finds contacts by their aliases, or creates them.

use uuid::Uuid;

use super::{PERSON, RecipientContact, contact_by_phone};
use crate::{
    domain::{
        identity::{
            AliasDecision, AliasVerdict, ContactAlias, ContactAliasFact, ContactAliasKind,
            ContactAliasObservation,
        },
        phone::Phone,
        recipient::WhatsAppUserId,
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, alias,
        dialect::{execute, query_one, read_row},
        identity::{self, IdentityEvidenceSource, NewIdentityDecision, NewIdentityEvidence},
        new_id, notification,
    },
};

/// Makes a contact with these aliases, which are free.
pub async fn insert_contact(
    tx: &DatabaseTransaction,
    name: Option<&str>,
    aliases: &[ContactAlias],
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = new_id(now);
    execute(
        tx,
        "INSERT INTO contact (id, created_at, name) VALUES ($1, $2, $3)",
        [id.into(), now.micros().into(), name.into()],
    )
    .await?;
    for alias in aliases {
        identity::set_anchor(tx, id, alias, now).await?;
        alias::give(tx, id, alias, now).await?;
    }
    Ok(id)
}

/// The contact of a phone number, created if there is none. Two processes may do this at once: the
/// alias decides which one wins.
pub async fn ensure_phone(
    tx: &DatabaseTransaction,
    phone: &Phone,
    now: Timestamp,
) -> Result<RecipientContact, StoreError> {
    if let Some(person) = contact_by_phone(tx, phone).await? {
        return Ok(person);
    }
    // A number that its owner has lost is free.
    let mine = insert_contact(tx, None, &[ContactAlias::of_phone(phone)], now).await?;
    let found = contact_by_phone(tx, phone).await?;
    mine_or_theirs(tx, mine, found).await
}

/// The contact of a user id, created if there is none. A replaced id leads to the contact of its
/// successor. Two processes may do this at once, too.
pub async fn ensure_user_id(
    tx: &DatabaseTransaction,
    user_id: &WhatsAppUserId,
    now: Timestamp,
) -> Result<RecipientContact, StoreError> {
    let alias = ContactAlias::of_user_id(user_id);
    if let Some(person) = contact_by_user_id(tx, &alias).await? {
        return Ok(person);
    }
    let mine = insert_contact(tx, None, std::slice::from_ref(&alias), now).await?;
    let found = contact_by_user_id(tx, &alias).await?;
    mine_or_theirs(tx, mine, found).await
}

/// The owner of an alias after an insert: another process may have been faster.
async fn mine_or_theirs(
    tx: &DatabaseTransaction,
    mine: Uuid,
    found: Option<RecipientContact>,
) -> Result<RecipientContact, StoreError> {
    let person = found.ok_or(StoreError::Conflict)?;
    if person.contact_id != mine {
        remove_contact(tx, mine).await?;
    }
    Ok(person)
}

async fn contact_by_user_id(
    tx: &DatabaseTransaction,
    alias: &ContactAlias,
) -> Result<Option<RecipientContact>, StoreError> {
    let known = query_one(
        tx,
        format!(
            "SELECT {PERSON} FROM contact_alias k JOIN contact c ON c.id = k.contact_id WHERE k.kind = $1 AND k.value = $2"
        ),
        [alias.kind.name().into(), alias.value.clone().into()],
    )
    .await?;
    known.as_ref().map(read_row).transpose()
}

/// Makes this the number or user id of a contact, replacing any other that was given by hand. The
/// alias is free, or the contact's already.
///
/// A number that was corrected keeps all evidence from the provider: its owner is another person
/// from now on.
pub async fn set_alias(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &ContactAlias,
    now: Timestamp,
) -> Result<(), StoreError> {
    let held = identity::aliases_of(tx, &[contact]).await?;
    let has = |other: &ContactAlias| {
        held.iter()
            .any(|holder| holder.alias == *other && holder.superseded_at.is_none())
    };
    if has(alias) {
        // The provider knew it already; now it is given by hand as well.
        return alias::give(tx, contact, alias, now).await;
    }
    notification::release_addressed(tx, contact, now).await?;
    let old: Vec<ContactAlias> = held
        .iter()
        .filter(|holder| holder.superseded_at.is_none() && holder.alias.kind == alias.kind)
        .map(|holder| holder.alias.clone())
        .collect();
    let mut left = old.clone();
    if alias.is_phone() && !old.is_empty() {
        let learned = held.iter().filter(|holder| {
            !holder.alias.is_phone() && holder.given_at.is_none() && holder.superseded_at.is_none()
        });
        // Ids that were seen at the new number are this person's all the same.
        let at_new = identity::evidence_about(tx, std::slice::from_ref(alias)).await?;
        let is_at_new = |id: &ContactAlias| {
            at_new.iter().any(
                |it| matches!(&it.fact, ContactAliasFact::Together { id: seen, .. } if seen == id),
            )
        };
        left.extend(
            learned
                .map(|holder| holder.alias.clone())
                .filter(|id| !is_at_new(id)),
        );
    }
    let row = identity::contact_rows(tx, &[contact]).await?;
    let anchor = row.into_iter().next().and_then(|row| row.anchor);
    let moved_from = old
        .iter()
        .find(|old| anchor.as_ref().is_none_or(|(anchor, _)| anchor == *old))
        .or_else(|| old.first());
    match (moved_from, &anchor) {
        (Some(from), _) if alias.is_phone() => {
            let observation = ContactAliasObservation {
                fact: ContactAliasFact::Moved {
                    from: from.clone(),
                    to: alias.clone(),
                },
                scope: String::new(),
                first: now,
                last: now,
            };
            let evidence = NewIdentityEvidence {
                observation,
                source: IdentityEvidenceSource::Person,
                callback_id: None,
            };
            identity::note(tx, &[evidence], now).await?;
        }
        (_, Some((anchor, _))) if !left.contains(anchor) => {
            decide(tx, AliasVerdict::Link(anchor.clone(), alias.clone()), now).await?;
        }
        _ => {}
    }
    let group = new_id(now);
    for alias in &left {
        let verdict = AliasVerdict::Cut {
            alias: alias.clone(),
            group,
        };
        decide(tx, verdict, now).await?;
        match alias.kind {
            ContactAliasKind::Phone => alias::supersede(tx, contact, alias, now).await?,
            ContactAliasKind::UserId | ContactAliasKind::ParentUserId => {
                alias::remove(tx, alias).await?;
            }
        }
    }
    if anchor
        .as_ref()
        .is_none_or(|(anchor, _)| left.contains(anchor))
    {
        identity::set_anchor(tx, contact, alias, now).await?;
    }
    alias::give(tx, contact, alias, now).await
}

async fn decide(
    tx: &DatabaseTransaction,
    verdict: AliasVerdict,
    now: Timestamp,
) -> Result<(), StoreError> {
    let new = NewIdentityDecision {
        decision: AliasDecision { at: now, verdict },
        actor: "",
    };
    identity::note_decision(tx, new, now).await
}

/// Removes a contact that was made at the same moment as its twin.
pub async fn remove_contact(tx: &DatabaseTransaction, contact: Uuid) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM contact_alias WHERE contact_id = $1",
        [contact.into()],
    )
    .await?;
    execute(tx, "DELETE FROM contact WHERE id = $1", [contact.into()]).await?;
    Ok(())
}

/// Stores a person's profile name, if it is newer than the stored one.
pub async fn set_profile(
    tx: &DatabaseTransaction,
    contact: Uuid,
    name: Option<&str>,
    username: Option<&str>,
    at: Timestamp,
) -> Result<(), StoreError> {
    for (column, value) in [("profile_name", name), ("username", username)] {
        let Some(value) = value else {
            continue;
        };
        execute(
            tx,
            format!(
                "UPDATE contact SET {column} = $2, {column}_at = $3 WHERE id = $1 AND ({column} IS NULL \
                 OR {column}_at < $3 OR ({column}_at = $3 AND {column} < $2))"
            ),
            [contact.into(), value.into(), at.micros().into()],
        )
        .await?;
    }
    Ok(())
}
