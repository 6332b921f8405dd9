//! Manages staff members and groups: links to contacts, and membership.

use serde_json::json;

use super::{PeopleActor, note};
use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, phone::Phone, recipient::RecipientSpec,
    },
    engine::InputError,
    store::{
        Store,
        people::{self, RecipientContact},
    },
};

/// The contact that a staff member is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaffContactSpec {
    /// The contact of this number; created if there is none.
    Phone(Phone),
    Handle(String),
}

impl StaffContactSpec {
    /// Parses a number or `contact:NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match RecipientSpec::parse(text).map_err(|error| error.to_string())? {
            RecipientSpec::Phone(phone) => Ok(Self::Phone(phone)),
            RecipientSpec::Contact(handle) => Ok(Self::Handle(handle)),
            _ => Err("a number in E.164 or contact:NAME".to_owned()),
        }
    }
}

/// A group, and whether it existed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStaffGroup {
    pub created: bool,
    pub members: i64,
}

const MAX_NAME: usize = 200;

pub(super) fn bad_name(name: &str) -> bool {
    name.trim().is_empty() || name.chars().count() > MAX_NAME || name.contains('\0')
}

fn unusable() -> InputError {
    InputError::field("/name", format!("1 to {MAX_NAME} characters"))
}

/// Creates a staff member without a contact, unless the name exists. Returns whether it did.
pub async fn ensure_user(
    store: &Store,
    by: PeopleActor<'_>,
    user: &str,
) -> Result<bool, InputError> {
    if bad_name(user) {
        return Err(unusable());
    }
    store
        .write_or_refuse(async |tx| {
            if people::user(tx, &AccessBounds::All, user).await?.is_some() {
                return Ok(false);
            }
            people::link_user(tx, user, None, by.now).await?;
            note(tx, by, AuditAction::UserMade, user, &json!({})).await?;
            Ok(true)
        })
        .await
}

/// Links a staff member to a contact, creating the staff member if needed. Returns whether it was
/// created.
pub async fn connect(
    store: &Store,
    by: PeopleActor<'_>,
    user: &str,
    whom: &StaffContactSpec,
) -> Result<bool, InputError> {
    if bad_name(user) {
        return Err(unusable());
    }
    store
        .write_or_refuse(async |tx| {
            let person: Option<RecipientContact> = match whom {
                StaffContactSpec::Phone(phone) => {
                    Some(people::ensure_phone(tx, phone, by.now).await?)
                }
                StaffContactSpec::Handle(handle) => people::contact_by_handle(tx, handle).await?,
            };
            let Some(person) = person else {
                let rule = "no contact has this name in catalogues";
                return Err(InputError::field("/contact", rule));
            };
            people::keep_found(tx, person.contact_id).await?;
            let made = people::link_user(tx, user, Some(person.contact_id), by.now).await?;
            let detail = json!({ "contact": person.contact_id, "made": made });
            note(tx, by, AuditAction::UserLinked, user, &detail).await?;
            Ok(made)
        })
        .await
}

/// Removes the link of a staff member: messages for it are then skipped, with the reason.
pub async fn disconnect(store: &Store, by: PeopleActor<'_>, user: &str) -> Result<(), InputError> {
    if bad_name(user) {
        return Err(InputError::field("/name", "there is no user of this name"));
    }
    store
        .write_or_refuse(async |tx| {
            if people::user(tx, &AccessBounds::All, user).await?.is_none() {
                return Err(InputError::field("/name", "there is no user of this name"));
            }
            people::link_user(tx, user, None, by.now).await?;
            note(tx, by, AuditAction::UserUnlinked, user, &json!({})).await?;
            Ok(())
        })
        .await
}

/// Creates a group unless the name exists.
pub async fn ensure_group(
    store: &Store,
    by: PeopleActor<'_>,
    name: &str,
    description: Option<&str>,
) -> Result<SavedStaffGroup, InputError> {
    if bad_name(name) {
        return Err(unusable());
    }
    store
        .write_or_refuse(async |tx| {
            let (_, created) = people::ensure_group(tx, name, description, by.now).await?;
            if created {
                note(tx, by, AuditAction::GroupMade, name, &json!({})).await?;
            }
            let members = people::count_members(tx, name).await?;
            Ok(SavedStaffGroup { created, members })
        })
        .await
}

/// Adds a staff member to a group. Returns whether it was added.
pub async fn add_member(
    store: &Store,
    by: PeopleActor<'_>,
    group: &str,
    user: &str,
) -> Result<bool, InputError> {
    membership(store, by, group, user, true).await
}

/// Removes a staff member from a group. Returns whether it was removed.
pub async fn remove_member(
    store: &Store,
    by: PeopleActor<'_>,
    group: &str,
    user: &str,
) -> Result<bool, InputError> {
    membership(store, by, group, user, false).await
}

async fn membership(
    store: &Store,
    by: PeopleActor<'_>,
    group: &str,
    user: &str,
    is_in: bool,
) -> Result<bool, InputError> {
    if bad_name(group) || bad_name(user) {
        return Err(InputError::field("/user", "there is no such user or group"));
    }
    store
        .write_or_refuse(async |tx| {
            if !people::group_exists(tx, &AccessBounds::All, group).await? {
                return Err(InputError::field(
                    "/group",
                    "there is no group of this name",
                ));
            }
            if people::user(tx, &AccessBounds::All, user).await?.is_none() {
                return Err(InputError::field("/user", "there is no user of this name"));
            }
            let changed = people::set_member(tx, group, user, is_in, by.now).await?;
            if changed {
                let action = if is_in {
                    AuditAction::GroupMemberAdded
                } else {
                    AuditAction::GroupMemberRemoved
                };
                note(tx, by, action, group, &json!({ "user": user })).await?;
            }
            Ok(changed)
        })
        .await
}
