//! The hold of all sending: stored, so that every process obeys it and a restart does not end it.

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{
    DatabaseTransaction, Store, StoreError,
    dialect::{column, query, query_one, read_row},
    setting,
};
use crate::domain::{
    hold::{HoldExemption, SendingHold, WaitingMessageAgeClass},
    time::Timestamp,
};

/// The setting that holds sending.
const HOLD: &str = "hold";

/// Unknown attempts made until then are accepted: an operator has released a hold since.
const LOST_UNTIL: &str = "lost_until";

/// The hold, if sending is held.
pub async fn get(connection: &impl ConnectionTrait) -> Result<Option<SendingHold>, StoreError> {
    let Some(text) = setting::get(connection, HOLD).await? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_unreadable| StoreError::Corrupt {
            table: "setting",
            row: HOLD.to_owned(),
            column: "value",
        })
}

/// Holds sending; false if it is held already, and the first reason stays.
pub async fn begin(
    tx: &DatabaseTransaction,
    hold: &SendingHold,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if setting::lock(tx, HOLD).await?.is_some() {
        return Ok(false);
    }
    let text = written(hold)?;
    let kept = setting::get_or_insert(tx, HOLD, &text, now).await?;
    Ok(kept == text)
}

/// Holds sending in a database that nothing else uses, whatever held it before.
pub(super) async fn replace(
    connection: &impl ConnectionTrait,
    hold: &SendingHold,
    now: Timestamp,
) -> Result<(), StoreError> {
    setting::put(connection, HOLD, &written(hold)?, now).await
}

fn written(hold: &SendingHold) -> Result<String, StoreError> {
    serde_json::to_string(hold)
        .map_err(|error| StoreError::Refused(sea_orm::DbErr::Json(error.to_string())))
}

/// Ends the hold, and accepts unknown attempts made until now.
pub async fn end(tx: &DatabaseTransaction, now: Timestamp) -> Result<(), StoreError> {
    setting::remove(tx, HOLD).await?;
    setting::put(tx, LOST_UNTIL, &now.micros().to_string(), now).await
}

/// Ends a hold for which there was no reason.
pub async fn withdraw(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    setting::remove(tx, HOLD).await
}

/// Until when unknown attempts are accepted.
pub async fn lost_until(tx: &DatabaseTransaction) -> Result<Timestamp, StoreError> {
    setting::number(tx, LOST_UNTIL)
        .await
        .map(Timestamp::from_micros)
}

/// The condition on messages that go on while sending is held.
pub fn passes(passing: HoldExemption) -> String {
    format!(
        "(category = 'authentication' AND created_at >= {})",
        passing.since.micros()
    )
}

/// Messages that a release would send: due ones, and those held outside the queue.
const WAITING: &str = "open_status IN ('queued', 'held', 'retrying') \
     AND (due_at IS NULL OR due_at <= $1) AND (expires_at IS NULL OR expires_at > $1)";

/// How many messages of a kind and age would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReleaseCount {
    pub category: String,
    /// The template's name; empty for a message without one.
    pub template: String,
    pub age: WaitingMessageAgeClass,
    pub count: i64,
}

/// Messages that a release would send, by kind and age.
pub async fn waiting(store: &Store, now: Timestamp) -> Result<Vec<HoldReleaseCount>, StoreError> {
    let cases: Vec<String> = WaitingMessageAgeClass::ALL
        .iter()
        .enumerate()
        .map(|(position, age)| match age.below_seconds() {
            Some(below) => {
                let since = now.plus_seconds(-below).micros();
                format!("WHEN created_at > {since} THEN {position}")
            }
            None => format!("ELSE {position}"),
        })
        .collect();
    let age = format!("CASE {} END", cases.join(" "));
    let found = query(
        store.reader(),
        format!(
            "SELECT category, template, CAST(age AS bigint) AS age_place, count(*) AS count FROM \
             (SELECT category, template, {age} AS age FROM notification WHERE {WAITING}) AS waiting \
             GROUP BY category, template, age ORDER BY category, template, age"
        ),
        [now.micros().into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let age: i64 = column(row, "age_place")?;
            let age = usize::try_from(age)
                .ok()
                .and_then(|position| WaitingMessageAgeClass::ALL.get(position))
                .copied()
                .unwrap_or(WaitingMessageAgeClass::Older);
            Ok(HoldReleaseCount {
                category: column(row, "category")?,
                template: column(row, "template")?,
                age,
                count: column(row, "count")?,
            })
        })
        .collect()
}

/// A message that a release would send.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct HoldReleaseMessage {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub recipient: String,
    pub category: String,
    pub template: String,
}

/// The messages that a release would send, those that wait longest first.
pub async fn list(
    store: &Store,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<HoldReleaseMessage>, StoreError> {
    let found = query(
        store.reader(),
        format!(
            "SELECT id, created_at, coalesce(recipient, address, '') AS recipient, category, template FROM notification \
             WHERE {WAITING} ORDER BY id LIMIT $2"
        ),
        [now.micros().into(), limit.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Follow-ups that were due by then, and events of before with recipients to go: they wait,
/// too.
pub async fn postponed(store: &Store, before: Timestamp) -> Result<(i64, i64), StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT (SELECT count(*) FROM follow_up WHERE due_at IS NOT NULL AND due_at <= $1) \
         + (SELECT count(*) FROM follow_up_timer WHERE due_at <= $1) AS follow_ups, \
         (SELECT count(*) FROM event WHERE state = 'expanding' AND created_at <= $1) AS events",
        [before.micros().into()],
    )
    .await?;
    let Some(row) = row else { return Ok((0, 0)) };
    Ok((column(&row, "follow_ups")?, column(&row, "events")?))
}
