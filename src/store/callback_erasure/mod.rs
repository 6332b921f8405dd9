//! Erasures: what of a deleted person is still to be erased from callbacks, messages and events.
//!
//! A row is written in the transaction that deletes the person, and goes when nothing is left, so that
//! no end of a process loses it. It has the person's identifiers, by which the bodies of callbacks are
//! searched. The engine (`engine/people/erasure.rs`) walks through the tables, phase by phase.
//!
//! The inbox may be another file: its segments are replaced in a transaction of their own
//! ([`super::callback::erase`]), and then the task goes on in one of the other database. What is done
//! twice because a process ended between the two changes nothing more.

mod events;
mod items;

use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

pub use self::{
    events::{ErasableEvent, erase_event, own_events_after},
    items::{
        ErasableInboundMessage, ErasableNotice, erase_items, erase_messages, messages_between,
        messages_of, notices_after, notices_of,
    },
};
use super::{
    DatabaseTransaction, StoreError,
    alias::{ContactAlias, ContactAliasKind},
    dialect::{column, execute, ids, listed, query},
    new_id,
};
use crate::domain::{
    callback_id::CallbackSegmentId, identity::PersonIdentifiers, time::Timestamp, word_enum::words,
};

words! {
    /// What an erasure is at, in this order.
    pub enum CallbackErasurePhase {
        /// Inbound messages of the contacts.
        Messages = "messages",
        /// Bodies of callbacks that concern the person, and what was made of them.
        Callbacks = "callbacks",
        /// Items of callbacks that no other table has.
        Notices = "notices",
        /// Replies on the timelines of notifications to the person.
        Timelines = "timelines",
        /// Own events that routes have answered.
        Events = "events",
        /// The stream of own events.
        Stream = "stream",
        /// Older pages in SQLite's write-ahead log. The identifiers are gone.
        Truncating = "truncating",
    }
}

/// An erasure that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackErasureTask {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub phase: CallbackErasurePhase,
    pub identifiers: PersonIdentifiers,
    /// The contacts that were the person.
    pub contacts: Vec<Uuid>,
    /// The provider's ids of messages that came before the deletion and were applied after it: they
    /// belong to a new contact.
    pub late_messages: Vec<String>,
    pub next_segment: CallbackSegmentId,
    /// The last segment that may have been stored when the person was deleted. Callbacks that came
    /// later are of a new person.
    pub until_segment: CallbackSegmentId,
    /// After the notice or notification with this id.
    pub next_row: Uuid,
    /// After the own event with this external id.
    pub next_event: String,
    /// After the event of the stream with this number.
    pub next_change: i64,
    pub until_change: i64,
    /// Bodies that were erased so far.
    pub bodies: i64,
}

/// The contacts that have become a part of these, and these.
async fn with_parts(tx: &DatabaseTransaction, contacts: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let those = listed(tx.get_database_backend(), "merged_into");
    let found = query(
        tx,
        format!("SELECT id FROM contact WHERE {those} AND merged_into IS NOT NULL"),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    let mut all = contacts.to_vec();
    for row in &found {
        all.push(column(row, "id")?);
    }
    Ok(all)
}

/// What callbacks call these contacts, except by numbers of our own senders.
async fn identifiers_of(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
) -> Result<PersonIdentifiers, StoreError> {
    let those = listed(tx.get_database_backend(), "contact_id");
    let found = query(
        tx,
        format!("SELECT kind, value FROM contact_alias WHERE {those}"),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    let mut aliases = Vec::with_capacity(found.len());
    for row in &found {
        let kind: String = column(row, "kind")?;
        aliases.push(ContactAlias {
            kind: ContactAliasKind::parse(&kind).ok_or_else(|| StoreError::Corrupt {
                table: "contact_alias",
                row: kind.clone(),
                column: "kind",
            })?,
            value: column(row, "value")?,
        });
    }
    let senders = query(
        tx,
        "SELECT display_number FROM sender WHERE display_number IS NOT NULL",
        [],
    )
    .await?;
    let mut own = Vec::with_capacity(senders.len());
    for row in &senders {
        own.push(column(row, "display_number")?);
    }
    Ok(PersonIdentifiers::of(&aliases).without_numbers(&own))
}

/// Notes that these contacts, which are one person, are being deleted: before their aliases go.
pub async fn add(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
    until: CallbackSegmentId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contacts = with_parts(tx, contacts).await?;
    let identifiers = identifiers_of(tx, &contacts).await?;
    execute(
        tx,
        "INSERT INTO callback_erasure (id, created_at, phase, identifiers, contacts, late_messages, next_segment, until_segment, \
         next_row, next_event, next_change, until_change, bodies) VALUES ($1, $2, $3, $4, $5, '[]', 0, $6, $7, '', 0, 0, 0)",
        [
            new_id(now).into(),
            now.micros().into(),
            CallbackErasurePhase::Messages.name().into(),
            json(&identifiers)?.into(),
            json(&contacts)?.into(),
            until.number().into(),
            Uuid::nil().into(),
        ],
    )
    .await?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Refused(sea_orm::DbErr::Json(error.to_string())))
}

/// The erasures that are not finished, oldest first.
pub async fn open(
    connection: &impl ConnectionTrait,
    limit: i64,
) -> Result<Vec<CallbackErasureTask>, StoreError> {
    let found = query(
        connection,
        "SELECT id, created_at, phase, identifiers, contacts, late_messages, next_segment, until_segment, next_row, next_event, \
         next_change, until_change, bodies FROM callback_erasure ORDER BY id LIMIT $1",
        [limit.into()],
    )
    .await?;
    found.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<CallbackErasureTask, StoreError> {
    let id: Uuid = column(row, "id")?;
    let corrupt = |column| StoreError::Corrupt {
        table: "callback_erasure",
        row: id.to_string(),
        column,
    };
    let text = |name| column::<String>(row, name);
    let segment = |name| column(row, name).map(CallbackSegmentId::from_number);
    Ok(CallbackErasureTask {
        id,
        created_at: column(row, "created_at")?,
        phase: CallbackErasurePhase::parse(&text("phase")?).ok_or_else(|| corrupt("phase"))?,
        identifiers: serde_json::from_str(&text("identifiers")?)
            .map_err(|_unreadable| corrupt("identifiers"))?,
        contacts: serde_json::from_str(&text("contacts")?)
            .map_err(|_unreadable| corrupt("contacts"))?,
        late_messages: serde_json::from_str(&text("late_messages")?)
            .map_err(|_unreadable| corrupt("late_messages"))?,
        next_segment: segment("next_segment")?,
        until_segment: segment("until_segment")?,
        next_row: column(row, "next_row")?,
        next_event: text("next_event")?,
        next_change: column(row, "next_change")?,
        until_change: column(row, "until_change")?,
        bodies: column(row, "bodies")?,
    })
}

/// Goes on from one state of a task to the next. [`StoreError::RolledBack`] if another process has done
/// so: what it has done stays.
pub async fn go_on(
    tx: &DatabaseTransaction,
    before: &CallbackErasureTask,
    after: &CallbackErasureTask,
) -> Result<(), StoreError> {
    let moved = execute(
        tx,
        "UPDATE callback_erasure SET phase = $2, identifiers = $3, contacts = $4, next_segment = $5, next_event = $6, \
         next_change = $7, until_change = $8, bodies = $9, next_row = $10, late_messages = $11 \
         WHERE id = $1 AND phase = $12 AND next_segment = $13 AND next_event = $14 AND next_change = $15 AND next_row = $16",
        [
            before.id.into(),
            after.phase.name().into(),
            json(&after.identifiers)?.into(),
            json(&after.contacts)?.into(),
            after.next_segment.number().into(),
            after.next_event.clone().into(),
            after.next_change.into(),
            after.until_change.into(),
            after.bodies.into(),
            after.next_row.into(),
            json(&after.late_messages)?.into(),
            before.phase.name().into(),
            before.next_segment.number().into(),
            before.next_event.clone().into(),
            before.next_change.into(),
            before.next_row.into(),
        ],
    )
    .await?;
    if moved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(StoreError::RolledBack)
    }
}

/// Ends an erasure. Says whether this process has.
pub async fn finish(tx: &DatabaseTransaction, id: Uuid) -> Result<bool, StoreError> {
    let gone = execute(
        tx,
        "DELETE FROM callback_erasure WHERE id = $1",
        [id.into()],
    )
    .await?;
    Ok(gone.rows_affected() > 0)
}
