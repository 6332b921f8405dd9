//! Creates, changes and lists the preferences of contacts, for operators and API clients.

use serde_json::json;
use uuid::Uuid;

use super::{PeopleActor, note, own};
use crate::{
    domain::{
        access::AccessBounds,
        audit_action::AuditAction,
        channel::MessageChannel,
        edit::ValueEdit,
        email::EmailAddress,
        language,
        phone::Phone,
        preference::MessagePreference,
        quiet::{self, QuietHours},
        recipient::WhatsAppUserId,
    },
    engine::InputError,
    store::{
        DatabaseTransaction, Store, StoreError,
        alias::{self, ContactAlias},
        bounds, notification,
        people::{self, ContactDetails},
        preferences,
    },
};

/// Longest name, in characters.
const MAX_NAME: usize = 200;

/// Most preferences of one contact.
const MAX_PREFERENCES: usize = 200;

/// Changes to a contact.
#[derive(Clone, Debug, Default)]
pub struct ContactChanges {
    pub name: ValueEdit<String>,
    /// Its name in catalogues and requests: `contact:HANDLE`.
    pub handle: ValueEdit<String>,
    /// In E.164.
    pub phone: Option<String>,
    /// WhatsApp's business-scoped user id of a person whose number may be unknown.
    pub user_id: Option<String>,
    /// Where e-mail goes.
    pub email: ValueEdit<String>,
    pub language: ValueEdit<String>,
    /// Name in the tz database.
    pub time_zone: ValueEdit<String>,
    pub quiet_hours: ValueEdit<QuietHours>,
}

impl ContactChanges {
    /// Changes that name only a number or a user id.
    pub fn of(address: &str) -> Self {
        let (phone, user_id) = match WhatsAppUserId::parse(address) {
            Some(user_id) => (None, Some(user_id.as_str().to_owned())),
            None => (Some(address.to_owned()), None),
        };
        Self {
            phone,
            user_id,
            ..Self::default()
        }
    }

    /// The valid numbers and user ids among them.
    pub fn aliases(&self) -> Vec<ContactAlias> {
        aliases(self).map_or_else(
            |_wrong| Vec::new(),
            |all| all.into_iter().map(|(_, alias)| alias).collect(),
        )
    }
}

/// Changes a contact or creates one. A known number or user id selects its contact.
pub async fn save_contact(
    store: &Store,
    by: PeopleActor<'_>,
    id: Option<Uuid>,
    changes: &ContactChanges,
) -> Result<Uuid, InputError> {
    let aliases = aliases(changes)?;
    check(changes)?;
    if id.is_none()
        && aliases.is_empty()
        && [&changes.name, &changes.handle, &changes.email]
            .iter()
            .all(|change| change.given().is_none())
    {
        let rule = "a phone, a user_id, an email, a name or a handle";
        return Err(InputError::field("", rule));
    }
    if let Some(product) = by.bounds.product() {
        return own::save(store, by, product, id, changes, &aliases).await;
    }
    store
        .write_or_refuse(async |tx| {
            let mut known = id;
            for (pointer, alias) in &aliases {
                match (known, alias::owner(tx, alias).await?) {
                    (Some(known), Some(other)) if other != known => {
                        return Err(InputError::field(pointer, "belongs to another contact"));
                    }
                    (_, owner) => known = known.or(owner),
                }
            }
            let contact = match known {
                Some(known) if people::lock(tx, known).await? => known,
                // A contact given by id is gone; a handle is free for a new contact.
                Some(known) if id == Some(known) => return Err(gone()),
                Some(_) => return Err(StoreError::Conflict.into()),
                None => people::insert_contact(tx, None, &[], by.now).await?,
            };
            if let Some(handle) = changes.handle.given()
                && let Some(other) = people::contact_by_handle(tx, handle).await?
                && other.contact_id != contact
            {
                return Err(InputError::field("/handle", "belongs to another contact"));
            }
            let Some(mut details) = people::details(tx, &AccessBounds::All, contact).await? else {
                return Err(gone());
            };
            merge(&mut details, changes);
            people::set_details(tx, contact, &details).await?;
            if changes.email.given().is_some() {
                notification::release_addressed(tx, contact, by.now).await?;
            }
            for (_, alias) in &aliases {
                people::set_alias(tx, contact, alias, by.now).await?;
            }
            let detail = json!({ "fields": named(changes) });
            let action = AuditAction::ContactChanged;
            note(tx, by, action, &contact.to_string(), &detail).await?;
            Ok(contact)
        })
        .await
}

pub(super) fn gone() -> InputError {
    InputError::field("", "there is no such contact")
}

/// The aliases in the changes, each with its field.
fn aliases(changes: &ContactChanges) -> Result<Vec<(&'static str, ContactAlias)>, InputError> {
    let mut aliases = Vec::new();
    if let Some(text) = &changes.phone {
        match Phone::parse(text) {
            Ok(phone) => aliases.push(("/phone", ContactAlias::of_phone(&phone))),
            Err(error) => return Err(InputError::field("/phone", error.to_string())),
        }
    }
    if let Some(text) = &changes.user_id {
        let Some(user_id) = WhatsAppUserId::parse(text) else {
            let rule = "a user id is written US.13491208655302741918";
            return Err(InputError::field("/user_id", rule));
        };
        aliases.push(("/user_id", ContactAlias::of_user_id(&user_id)));
    }
    Ok(aliases)
}

fn check(changes: &ContactChanges) -> Result<(), InputError> {
    for (pointer, text) in [("/name", &changes.name), ("/handle", &changes.handle)] {
        if let Some(text) = text.given()
            && (text.trim().is_empty() || text.chars().count() > MAX_NAME || text.contains('\0'))
        {
            let rule = format!("1 to {MAX_NAME} characters");
            return Err(InputError::field(pointer, rule));
        }
    }
    if let Some(text) = changes.email.given()
        && let Err(error) = EmailAddress::parse(text)
    {
        return Err(InputError::field("/email", error.to_string()));
    }
    if let Some(text) = changes.language.given()
        && !language::can_be_read(text)
    {
        return Err(InputError::field("/language", language::RULE));
    }
    if let Some(zone) = changes.time_zone.given()
        && quiet::zone(zone).is_none()
    {
        let rule = "a zone is written Africa/Harare";
        return Err(InputError::field("/time_zone", rule));
    }
    Ok(())
}

pub(super) fn merge(details: &mut ContactDetails, changes: &ContactChanges) {
    for (kept, change) in [
        (&mut details.name, &changes.name),
        (&mut details.handle, &changes.handle),
        (&mut details.email, &changes.email),
        (&mut details.language, &changes.language),
        (&mut details.time_zone, &changes.time_zone),
    ] {
        if let ValueEdit::To(value) = change {
            kept.clone_from(value);
        }
    }
    if let ValueEdit::To(hours) = changes.quiet_hours {
        details.quiet_hours = hours;
    }
}

/// The names of the changed fields without their values: the audit log contains no numbers.
pub(super) fn named(changes: &ContactChanges) -> Vec<&'static str> {
    [
        ("name", changes.name != ValueEdit::Keep),
        ("handle", changes.handle != ValueEdit::Keep),
        ("phone", changes.phone.is_some()),
        ("user_id", changes.user_id.is_some()),
        ("email", changes.email != ValueEdit::Keep),
        ("language", changes.language != ValueEdit::Keep),
        ("time_zone", changes.time_zone != ValueEdit::Keep),
        ("quiet_hours", changes.quiet_hours != ValueEdit::Keep),
    ]
    .into_iter()
    .filter_map(|(field, is_changed)| is_changed.then_some(field))
    .collect()
}

/// Replaces all preferences of a contact. A kind that does not exist or cannot be turned off is
/// rejected.
pub async fn set_preferences(
    store: &Store,
    by: PeopleActor<'_>,
    contact: Uuid,
    wanted: &[MessagePreference],
) -> Result<(), InputError> {
    store
        .write_or_refuse(async |tx| {
            if !people::keep(tx, contact).await?
                || !bounds::has_contact(tx, by.bounds, contact).await?
            {
                return Err(gone());
            }
            let at = |index: usize, name: &str| format!("/preferences/{index}/{name}");
            check_preferences(tx, by.bounds, wanted, at).await?;
            preferences::replace_preferences(tx, by.bounds, contact, wanted, by.now).await?;
            let detail = json!({ "count": wanted.len() });
            let action = AuditAction::ContactPreferences;
            note(tx, by, action, &contact.to_string(), &detail).await?;
            Ok(())
        })
        .await
}

/// Stores one preference and leaves the others unchanged.
pub async fn prefer(
    store: &Store,
    by: PeopleActor<'_>,
    contact: Uuid,
    wanted: &MessagePreference,
) -> Result<(), InputError> {
    store
        .write_or_refuse(async |tx| {
            let only = std::slice::from_ref(wanted);
            check_preferences(tx, by.bounds, only, |_, name| format!("/{name}")).await?;
            if !people::keep(tx, contact).await? {
                return Err(gone());
            }
            preferences::set_preference(tx, by.bounds, contact, wanted, by.now).await?;
            let detail =
                json!({ "kind": wanted.kind, "channel": wanted.channel, "wanted": wanted.wanted });
            let action = AuditAction::ContactPreferences;
            note(tx, by, action, &contact.to_string(), &detail).await?;
            Ok(())
        })
        .await
}

/// Deletes one preference, even of a kind that no catalogue has any more.
pub async fn forget_preference(
    store: &Store,
    by: PeopleActor<'_>,
    contact: Uuid,
    kind: &str,
    channel: &str,
) -> Result<(), StoreError> {
    store
        .write(async |tx| {
            preferences::forget_preference(tx, contact, kind, channel).await?;
            let detail = json!({ "kind": kind, "channel": channel, "forgotten": true });
            let action = AuditAction::ContactPreferences;
            note(tx, by, action, &contact.to_string(), &detail).await
        })
        .await
}

/// Refuses preferences of kinds or channels that there are not. `at` is the pointer of a field of
/// one of them.
async fn check_preferences(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    wanted: &[MessagePreference],
    at: impl Fn(usize, &str) -> String,
) -> Result<(), InputError> {
    if wanted.len() > MAX_PREFERENCES {
        let rule = format!("at most {MAX_PREFERENCES}");
        return Err(InputError::field("/preferences", rule));
    }
    let kinds = preferences::kinds(tx, bounds).await?;
    for (index, it) in wanted.iter().enumerate() {
        if !it.kind.is_empty() {
            match kinds.iter().find(|kind| kind.name == it.kind) {
                None => {
                    let rule = "no catalogue has this kind of message";
                    return Err(InputError::field(&at(index, "kind"), rule));
                }
                Some(kind) if kind.required && !it.wanted => {
                    let rule = "messages of this kind cannot be turned off";
                    return Err(InputError::field(&at(index, "kind"), rule));
                }
                Some(_) => {}
            }
        }
        if !it.channel.is_empty() && MessageChannel::parse(&it.channel).is_none() {
            return Err(InputError::field(
                &at(index, "channel"),
                MessageChannel::RULE,
            ));
        }
        let twice = wanted
            .iter()
            .take(index)
            .any(|other| other.kind == it.kind && other.channel == it.channel);
        if twice {
            let rule = "occurs twice with this channel";
            return Err(InputError::field(&at(index, "kind"), rule));
        }
    }
    Ok(())
}
