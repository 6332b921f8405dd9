//! Deletes contacts, staff members and groups.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{PeopleActor, contacts::gone, note};
use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, callback_id::CallbackSegmentId,
        notification::NotificationChange, preference::DELETED, recipient::RecipientSpec,
        status::NotificationStatus,
    },
    engine::{
        Engine, InputError,
        lifecycle::{self, NotificationLifecycleChange},
    },
    store::{
        ConnectionTrait, Store, StoreError, callback, callback_erasure,
        catalogue::uses::uses,
        identity,
        notification::{self, NotificationListFilter},
        people::{self, StaffEntryKind},
    },
};

/// Result of deleting a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContactDeletion {
    /// Number of waiting messages that were cancelled.
    pub cancelled: u64,
    /// The contact has an opt-out: number and opt-out are kept, otherwise the next message to this
    /// number would go out.
    pub refusal_kept: bool,
    /// The contact that has the number and the opt-out from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_as: Option<Uuid>,
}

/// Notifications cancelled per transaction.
const CHUNK: u64 = 100;

/// Deletes a contact with its aliases, preferences and service windows. Waiting messages are
/// cancelled; the record of sent messages stays for its retention time. What the person wrote and the
/// callbacks that concern the person are erased soon after ([`super::erasure`]). Refused while a staff
/// member, a route or a rule is linked to it.
pub async fn delete_contact(
    engine: &Engine,
    by: PeopleActor<'_>,
    contact: Uuid,
) -> Result<ContactDeletion, InputError> {
    let until = newest_segment(&engine.store, by).await?;
    let (all, kept_as) = engine
        .store
        .write_or_refuse::<_, InputError, _>(async |tx| {
            // Contacts that act as one are one person.
            let all = identity::together(tx, contact).await?;
            let mut kept_as = None;
            // While the aliases are there: they say which callbacks concern the person.
            callback_erasure::add(tx, &all, until, by.now).await?;
            for contact in &all {
                // Locked, so that an opt-out or a link that is being written at this moment is
                // seen.
                people::lock(tx, *contact).await?;
                may_delete(tx, *contact).await?;
                let refuses = people::refuses_something(tx, *contact).await?;
                let kept = people::delete_contact(tx, *contact, refuses, by.now).await?;
                let detail = json!({ "refusal_kept": refuses, "kept_as": kept });
                let action = AuditAction::ContactDeleted;
                note(tx, by, action, &contact.to_string(), &detail).await?;
                kept_as = kept_as.or(kept);
            }
            Ok((all, kept_as))
        })
        .await?;
    engine.erasures_added.notify_one();
    // Nothing is sent to the contact any more: waiting messages are cancelled now, not at their
    // turn.
    let mut cancelled = 0;
    for contact in all {
        cancelled += cancel(engine, by, contact).await?;
    }
    Ok(ContactDeletion {
        cancelled,
        refusal_kept: kept_as.is_some(),
        kept_as,
    })
}

/// The last segment of callbacks that may be stored. It may be later than now, where the clock was put
/// back.
async fn newest_segment(
    store: &Store,
    by: PeopleActor<'_>,
) -> Result<CallbackSegmentId, StoreError> {
    let [first, last] = [i64::MIN, i64::MAX].map(CallbackSegmentId::from_number);
    let newest = callback::newest_segment(store.inbox().reader(), first, last).await?;
    let now = CallbackSegmentId::at(by.now);
    Ok(newest.map_or(now, |newest| newest.max(now)))
}

/// Refuses a contact that does not exist, or to which something is linked.
async fn may_delete(connection: &impl ConnectionTrait, contact: Uuid) -> Result<(), InputError> {
    let Some(details) = people::details(connection, &AccessBounds::All, contact).await? else {
        return Err(gone());
    };
    let (_, users) = people::names(connection, contact).await?;
    if let Some(user) = users.first() {
        let rule = format!("the user {user} is this person: unlink or delete the user first");
        return Err(InputError::field("", rule));
    }
    // Routes and rules name contacts by handle or by id.
    let names = details.handle.into_iter().chain([contact.to_string()]);
    let recipients: Vec<RecipientSpec> = names.map(RecipientSpec::Contact).collect();
    is_unused(connection, &recipients).await
}

/// Refuses it while a route or a rule names one of these.
async fn is_unused(
    connection: &impl ConnectionTrait,
    recipients: &[RecipientSpec],
) -> Result<(), InputError> {
    let mut named = uses(connection).await?;
    named.retain(|it| recipients.iter().any(|recipient| it.names(recipient)));
    let Some(first) = named.first() else {
        return Ok(());
    };
    let others = match named.len() {
        1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    let rule = format!(
        "it is named by the {} {}{others}: change that first",
        first.what, first.name
    );
    Err(InputError::field("", rule))
}

/// Cancels a contact's waiting messages. A message whose call is open is still sent.
async fn cancel(engine: &Engine, by: PeopleActor<'_>, contact: Uuid) -> Result<u64, StoreError> {
    let mut cancelled = 0;
    let mut filter = NotificationListFilter {
        contact: Some(contact),
        statuses: vec![
            NotificationStatus::Queued,
            NotificationStatus::Held,
            NotificationStatus::Retrying,
        ],
        limit: CHUNK,
        ..NotificationListFilter::default()
    };
    loop {
        let found = notification::search(&engine.store, &AccessBounds::All, &filter).await?;
        let Some(last) = found.last() else {
            return Ok(cancelled);
        };
        filter.before = Some(last.id);
        let steps: Vec<NotificationLifecycleChange> = found
            .iter()
            .map(|row| {
                let reason = DELETED.to_owned();
                NotificationLifecycleChange::new(row.id, NotificationChange::Cancelled { reason })
            })
            .collect();
        let report = engine
            .store
            .write(async |tx| lifecycle::run(engine, tx, &steps, by.now).await)
            .await?;
        cancelled += report.applied;
        report.publish(engine);
    }
}

/// Deletes a staff member, and removes it from all groups. A dashboard user of the same name stays.
pub async fn delete_user(store: &Store, by: PeopleActor<'_>, name: &str) -> Result<(), InputError> {
    delete(store, by, StaffEntryKind::User, name).await
}

/// Deletes a group; its members stay.
pub async fn delete_group(
    store: &Store,
    by: PeopleActor<'_>,
    name: &str,
) -> Result<(), InputError> {
    delete(store, by, StaffEntryKind::Group, name).await
}

async fn delete(
    store: &Store,
    by: PeopleActor<'_>,
    kind: StaffEntryKind,
    name: &str,
) -> Result<(), InputError> {
    let what = kind.name();
    let absent = || InputError::field("/name", format!("there is no {what} of this name"));
    if super::staff::bad_name(name) {
        return Err(absent());
    }
    let (recipient, action) = match kind {
        StaffEntryKind::User => (
            RecipientSpec::User(name.to_owned()),
            AuditAction::UserDeleted,
        ),
        StaffEntryKind::Group => (
            RecipientSpec::Group(name.to_owned()),
            AuditAction::GroupDeleted,
        ),
    };
    store
        .write_or_refuse(async |tx| {
            // Locked, so that a route that is being applied at this moment is seen.
            if !people::lock_staff(tx, kind, name).await? {
                return Err(absent());
            }
            is_unused(tx, std::slice::from_ref(&recipient)).await?;
            people::delete_staff(tx, kind, name).await?;
            note(tx, by, action, name, &json!({})).await?;
            Ok(())
        })
        .await
}
