//! Contacts are found by their names, or made.

use crate::store::DatabaseTransaction;
use uuid::Uuid;

use super::{PERSON, Person, contact_by_phone, person};
use crate::{
    domain::{phone::Phone, recipient::UserId, time::Timestamp},
    store::{
        StoreError,
        alias::{self, Alias},
        dialect::{execute, query_one},
        new_id,
    },
};

/// Makes a contact with these aliases; an alias that is taken stays where it is.
pub async fn insert_contact(
    tx: &DatabaseTransaction,
    name: Option<&str>,
    aliases: &[Alias],
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
        alias::add(tx, id, alias, None, now).await?;
    }
    Ok(id)
}

/// The contact of a phone number, made if there is none. Two processes may do
/// this at once: the alias decides who wins.
pub async fn ensure_phone(
    tx: &DatabaseTransaction,
    phone: &Phone,
    now: Timestamp,
) -> Result<Person, StoreError> {
    if let Some(person) = contact_by_phone(tx, phone).await? {
        return Ok(person);
    }
    let alias = Alias::of_phone(phone);
    // A number that its owner has lost is free.
    let mine = insert_contact(tx, None, std::slice::from_ref(&alias), now).await?;
    if contact_by_phone(tx, phone).await?.is_none() {
        alias::reassign(tx, mine, &alias).await?;
    }
    let found = contact_by_phone(tx, phone).await?;
    mine_or_theirs(tx, mine, found).await
}

/// The contact of a user id, made if there is none. An id that has been replaced
/// leads to whom it was replaced for. Two processes may do this at once, too.
pub async fn ensure_user_id(
    tx: &DatabaseTransaction,
    user_id: &UserId,
    now: Timestamp,
) -> Result<Person, StoreError> {
    let alias = Alias::of_user_id(user_id);
    if let Some(person) = contact_by_user_id(tx, &alias).await? {
        return Ok(person);
    }
    let mine = insert_contact(tx, None, std::slice::from_ref(&alias), now).await?;
    let found = contact_by_user_id(tx, &alias).await?;
    mine_or_theirs(tx, mine, found).await
}

/// Whom a name leads to after one was made for it: another process may have been faster.
async fn mine_or_theirs(
    tx: &DatabaseTransaction,
    mine: Uuid,
    found: Option<Person>,
) -> Result<Person, StoreError> {
    let person = found.ok_or(StoreError::Overtaken)?;
    if person.contact_id != mine {
        remove_contact(tx, mine).await?;
    }
    Ok(person)
}

async fn contact_by_user_id(
    tx: &DatabaseTransaction,
    alias: &Alias,
) -> Result<Option<Person>, StoreError> {
    let known = query_one(
        tx,
        format!(
            "SELECT {PERSON} FROM contact_alias k JOIN contact c ON c.id = k.contact_id WHERE k.kind = $1 AND k.value = $2 \
             ORDER BY k.superseded_at IS NULL DESC LIMIT 1"
        ),
        [alias.kind.into(), alias.value.clone().into()],
    )
    .await?;
    known.as_ref().map(person).transpose()
}

/// Makes this the name of a contact, instead of any other of its kind.
pub async fn set_alias(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM contact_alias WHERE contact_id = $1 AND kind = $2 AND value <> $3",
        [
            contact.into(),
            alias.kind.into(),
            alias.value.clone().into(),
        ],
    )
    .await?;
    alias::add(tx, contact, alias, None, now).await?;
    // A name that its owner has lost is free.
    if alias::owner(tx, alias.kind, &alias.value).await?.is_none() {
        alias::reassign(tx, contact, alias).await?;
    }
    Ok(())
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
