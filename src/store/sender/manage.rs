//! Changes that operators make to senders.

use std::collections::BTreeMap;

use entity::sender;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::OnConflict,
};
use uuid::Uuid;

use super::by_endpoint_id;
use crate::{
    domain::{edit::ValueEdit, pace, phone, time::Timestamp},
    store::{DatabaseTransaction, StoreError, dialect::execute, new_id},
};

/// The settings of a sender, by name.
pub fn settings_of(row: &sender::Model) -> BTreeMap<String, String> {
    serde_json::from_str(&row.settings).unwrap_or_default()
}

fn written(settings: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(settings)
        .map_err(|error| StoreError::Refused(DbErr::Json(error.to_string())))
}

/// A sender to be stored.
#[derive(Clone, Debug)]
pub struct NewSenderRow {
    pub kind: String,
    pub name: String,
    pub endpoint_id: Option<String>,
    pub account_id: Option<String>,
    pub app_id: Option<String>,
    /// What its kind of provider needs, by name.
    pub settings: BTreeMap<String, String>,
    pub per_second: Option<i64>,
}

/// Keeps a new sender; none if its name or number is taken. The first of all is the default.
pub async fn insert(
    tx: &DatabaseTransaction,
    id: Uuid,
    new: NewSenderRow,
    now: Timestamp,
) -> Result<Option<sender::Model>, StoreError> {
    let first = sender::Entity::find()
        .filter(sender::Column::IsDefault.eq(true))
        .one(tx)
        .await?
        .is_none();
    let row = sender::ActiveModel {
        id: Set(id),
        created_at: Set(now.micros()),
        updated_at: Set(now.micros()),
        kind: Set(new.kind),
        name: Set(new.name),
        endpoint_id: Set(new.endpoint_id),
        account_id: Set(new.account_id),
        credentials: Set(None),
        is_default: Set(first),
        state: Set("active".to_owned()),
        state_reason: Set(None),
        pace_per_second: Set(pace::USUAL_PER_SECOND),
        pace_next_at: Set(0),
        failures_in_row: Set(0),
        probe_at: Set(None),
        unheard_since: Set(None),
        silent_at: Set(None),
        account_held_at: Set(None),
        slowed_to: Set(1000),
        slowed_at: Set(0),
        marketing_held_until: Set(None),
        app_id: Set(new.app_id),
        off_at: Set(None),
        off_reason: Set(None),
        credentials_at: Set(now.micros()),
        revision: Set(0),
        pace_set: Set(new.per_second),
        pace_reported: Set(None),
        pace_asked_at: Set(None),
        display_number: Set(None),
        settings: Set(written(&new.settings)?),
    };
    // Another process may be making it at this moment.
    match sender::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec(tx)
        .await
    {
        Ok(_) | Err(DbErr::RecordNotInserted) => super::find(tx, id).await,
        Err(error) => Err(error.into()),
    }
}

/// The sender of an endpoint id, made if there is none. The environment's
/// credentials belong to it.
pub async fn ensure(
    tx: &DatabaseTransaction,
    kind: &str,
    endpoint_id: &str,
    account_id: Option<&str>,
    now: Timestamp,
) -> Result<sender::Model, StoreError> {
    if let Some(found) = by_endpoint_id(tx, endpoint_id).await? {
        if account_id.is_none() || found.account_id.as_deref() == account_id {
            return Ok(found);
        }
        let mut changed: sender::ActiveModel = found.into();
        changed.account_id = Set(account_id.map(str::to_owned));
        changed.updated_at = Set(now.micros());
        return Ok(changed.update(tx).await?);
    }
    let new = NewSenderRow {
        kind: kind.to_owned(),
        // A number is not shown in full where a name is: in logs, for one.
        name: if endpoint_id.starts_with('+') {
            format!("{kind} {}", phone::masked(endpoint_id))
        } else {
            format!("{kind} {endpoint_id}")
        },
        endpoint_id: Some(endpoint_id.to_owned()),
        account_id: account_id.map(str::to_owned),
        app_id: None,
        settings: BTreeMap::new(),
        per_second: None,
    };
    let made = insert(tx, new_id(now), new, now).await?;
    let found = match made {
        Some(made) => Some(made),
        None => by_endpoint_id(tx, endpoint_id).await?,
    };
    found.ok_or(StoreError::Corrupt {
        table: "sender",
        row: "the new one".to_owned(),
        column: "endpoint_id",
    })
}

/// The fields to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderRowChanges {
    pub name: Option<String>,
    pub account_id: ValueEdit<String>,
    pub app_id: ValueEdit<String>,
    /// Of [`NewSenderRow::settings`]; what is not named stays.
    pub settings: BTreeMap<String, ValueEdit<String>>,
    pub per_second: ValueEdit<i64>,
}

/// Changes a sender.
pub async fn set(
    tx: &DatabaseTransaction,
    row: sender::Model,
    changes: SenderRowChanges,
    now: Timestamp,
) -> Result<sender::Model, StoreError> {
    let revision = row.revision + 1;
    let mut settings = settings_of(&row);
    let mut row: sender::ActiveModel = row.into();
    row.revision = Set(revision);
    if let Some(name) = changes.name {
        row.name = Set(name);
    }
    if !changes.settings.is_empty() {
        row.credentials_at = Set(now.micros());
    }
    for (name, edit) in changes.settings {
        match edit {
            ValueEdit::Keep => {}
            ValueEdit::To(Some(value)) => drop(settings.insert(name, value)),
            ValueEdit::To(None) => drop(settings.remove(&name)),
        }
    }
    row.settings = Set(written(&settings)?);
    for (column, edit) in [
        (&mut row.account_id, changes.account_id),
        (&mut row.app_id, changes.app_id),
    ] {
        if let ValueEdit::To(value) = edit {
            *column = Set(value);
        }
    }
    if let ValueEdit::To(per_second) = changes.per_second {
        row.pace_set = Set(per_second);
    }
    row.updated_at = Set(now.micros());
    Ok(row.update(tx).await?)
}

/// Makes a sender the one that is used when none is named: never two, never none.
pub async fn make_default(
    tx: &DatabaseTransaction,
    id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET is_default = false, updated_at = $2 WHERE is_default AND id <> $1",
        [id.into(), now.micros().into()],
    )
    .await?;
    execute(
        tx,
        "UPDATE sender SET is_default = true, updated_at = $2 WHERE id = $1 AND NOT is_default",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Holds a sender by hand with a reason, or releases it; a release also clears what its provider
/// had reported.
pub async fn switch(
    tx: &DatabaseTransaction,
    id: Uuid,
    off: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let off_at = off.map(|_| now.micros());
    execute(
        tx,
        "UPDATE sender SET off_at = $2, off_reason = $3, updated_at = $4 WHERE id = $1",
        [
            id.into(),
            off_at.into(),
            off.map(str::to_owned).into(),
            now.micros().into(),
        ],
    )
    .await?;
    if off.is_none() {
        forget_trouble(tx, id, now).await?;
    }
    Ok(())
}

/// Clears the sender's failures after new credentials or an operator's release. A hold of the whole
/// account by its provider stays.
pub async fn forget_trouble(
    tx: &DatabaseTransaction,
    id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET credentials_at = $2, revision = revision + 1, updated_at = $2 WHERE id = $1",
        [id.into(), now.micros().into()],
    )
    .await?;
    execute(
        tx,
        "UPDATE sender SET state = 'active', state_reason = NULL, failures_in_row = 0, probe_at = NULL \
         WHERE id = $1 AND state = 'held' AND account_held_at IS NULL",
        [id.into()],
    )
    .await?;
    Ok(())
}

/// Stores how many messages per second the provider allows; `None`: it did not report it.
pub async fn set_reported_pace(
    tx: &DatabaseTransaction,
    id: Uuid,
    per_second: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET pace_asked_at = $3, pace_reported = coalesce($2, pace_reported) WHERE id = $1",
        [id.into(), per_second.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}
