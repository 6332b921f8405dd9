//! Resolves entries of `to` to targets: recipient, address, or why a recipient cannot be reached.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        access::AccessBounds,
        email::EmailAddress,
        phone::Phone,
        recipient::{RecipientSpec, WhatsAppUserId},
        time::Timestamp,
    },
    store::{
        ConnectionTrait, DatabaseTransaction, StoreError,
        dialect::is_sqlite,
        people::{self, RecipientContact, StaffMember},
    },
};

/// Recipients expanded in one transaction: at most so many of a group, at least so many of a list.
/// On SQLite, storing callbacks has to wait meanwhile (`bench fanout`).
pub fn recipients_at_once(connection: &impl ConnectionTrait) -> usize {
    if is_sqlite(connection) { 64 } else { 100 }
}

/// Cursor in a list of recipients, as stored in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientCursor {
    /// Recipients before this index are done.
    pub recipient: usize,
    /// Group members up to and including this one are done.
    pub after: Option<Uuid>,
}

impl RecipientCursor {
    /// Moves past a page: within the same group if it has another page.
    pub fn pass(&mut self, next: Option<Uuid>) {
        self.after = next;
        if next.is_none() {
            self.recipient += 1;
        }
    }
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResolvedRecipient {
    /// As text: `user:NAME`, `contact:NAME` or the number.
    pub recipient: String,
    pub contact_id: Option<Uuid>,
    pub address: Option<String>,
    pub name: Option<String>,
    /// The recipient's language, if known.
    pub language: Option<String>,
    /// The recipient's time zone, if known.
    pub time_zone: Option<String>,
    /// Why the recipient cannot receive messages.
    pub skipped: Option<String>,
}

impl ResolvedRecipient {
    /// Two targets with the same key are one person.
    pub fn key(&self) -> String {
        self.contact_id
            .map_or_else(|| self.recipient.clone(), |contact| contact.to_string())
    }

    fn of(recipient: String, person: Option<RecipientContact>, missing: &str) -> Self {
        let mut target = Self {
            recipient,
            ..Self::default()
        };
        let contact_id = person.as_ref().map(|person| person.contact_id);
        if let Some(person) = person {
            target.address = person.phone.or(person.user_id);
            target.name = person.name;
            target.language = person.language;
            target.time_zone = person.time_zone;
        }
        let address = &target.address;
        let skipped = if contact_id.is_none() {
            Some(missing.to_owned())
        } else if address.is_none() {
            Some("the contact has no phone number".to_owned())
        } else {
            None
        };
        Self {
            contact_id,
            skipped,
            ..target
        }
    }

    /// A contact at this number, even if it also has others.
    pub fn at(phone: &Phone, person: RecipientContact) -> Self {
        Self {
            recipient: phone.e164().to_owned(),
            contact_id: Some(person.contact_id),
            address: Some(phone.e164().to_owned()),
            name: person.name,
            language: person.language,
            time_zone: person.time_zone,
            skipped: None,
        }
    }

    fn of_staff(staff: StaffMember) -> Self {
        Self::of(
            format!("user:{}", staff.name),
            staff.person,
            "the user is not linked to a contact",
        )
    }
}

/// The targets of one entry, from a position on.
#[derive(Debug)]
pub struct RecipientBatch {
    pub targets: Vec<ResolvedRecipient>,
    /// Cursor, if the group has more members.
    pub next: Option<Uuid>,
}

/// An entry without a recipient; why, as a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownRecipient(pub String);

impl UnknownRecipient {
    fn of(what: &str, name: &str) -> Self {
        Self(format!("there is no {what} {name}"))
    }
}

/// Why it is not known whom an entry means.
#[derive(Debug, thiserror::Error)]
pub enum RecipientResolveError {
    #[error(transparent)]
    Unknown(#[from] UnknownRecipient),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Resolves one entry within the caller's bounds. `same` is `original`.
pub async fn resolve(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    spec: &RecipientSpec,
    original: Option<&ResolvedRecipient>,
    after: Option<Uuid>,
    now: Timestamp,
) -> Result<RecipientBatch, RecipientResolveError> {
    let target = match spec {
        RecipientSpec::Same => original.cloned().ok_or_else(|| {
            UnknownRecipient(
                "`same` means the recipient of a notification, and there is none here".to_owned(),
            )
        })?,
        RecipientSpec::Phone(phone) => by_phone(tx, phone, now).await?,
        RecipientSpec::UserId(user_id) => by_user_id(tx, user_id, now).await?,
        RecipientSpec::Email(address) => by_email(tx, address, now).await?,
        RecipientSpec::Contact(name) => {
            let person = people::contact_named(tx, bounds, name).await?;
            let person = person.ok_or_else(|| UnknownRecipient::of("contact", name))?;
            ResolvedRecipient::of(format!("contact:{name}"), Some(person), "")
        }
        RecipientSpec::User(name) => {
            let staff = people::user(tx, bounds, name).await?;
            ResolvedRecipient::of_staff(staff.ok_or_else(|| UnknownRecipient::of("user", name))?)
        }
        RecipientSpec::Group(name) => {
            let most = i64::try_from(recipients_at_once(tx)).unwrap_or(i64::MAX);
            let members = people::members(tx, name, after, most).await?;
            // A group that has members is known to exist.
            let is_known = !members.is_empty() && bounds.catalogue().is_none();
            if !is_known && !people::group_exists(tx, bounds, name).await? {
                return Err(UnknownRecipient::of("group", name).into());
            }
            let more = i64::try_from(members.len()).unwrap_or(0) == most;
            let next = if more {
                members.last().map(|member| member.user_id)
            } else {
                None
            };
            return Ok(RecipientBatch {
                targets: members
                    .into_iter()
                    .map(ResolvedRecipient::of_staff)
                    .collect(),
                next,
            });
        }
    };
    Ok(RecipientBatch {
        targets: vec![target],
        next: None,
    })
}

/// Whether a group, staff member or contact exists within the caller's bounds. Other recipients are
/// created with their message.
pub async fn find_unknown(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    spec: &RecipientSpec,
) -> Result<Option<UnknownRecipient>, StoreError> {
    let (is_known, what, name) = match spec {
        RecipientSpec::Group(name) => {
            (people::group_exists(tx, bounds, name).await?, "group", name)
        }
        RecipientSpec::User(name) => (people::user_exists(tx, bounds, name).await?, "user", name),
        RecipientSpec::Contact(name) => {
            let found = people::contact_named(tx, bounds, name).await?;
            (found.is_some(), "contact", name)
        }
        RecipientSpec::Same
        | RecipientSpec::Phone(_)
        | RecipientSpec::UserId(_)
        | RecipientSpec::Email(_) => {
            return Ok(None);
        }
    };
    Ok((!is_known).then(|| UnknownRecipient::of(what, name)))
}

async fn by_phone(
    tx: &DatabaseTransaction,
    phone: &Phone,
    now: Timestamp,
) -> Result<ResolvedRecipient, StoreError> {
    let person = people::ensure_phone(tx, phone, now).await?;
    Ok(ResolvedRecipient::at(phone, person))
}

/// A contact with an e-mail address.
pub async fn by_email(
    tx: &DatabaseTransaction,
    address: &EmailAddress,
    now: Timestamp,
) -> Result<ResolvedRecipient, StoreError> {
    let person = people::ensure_email(tx, address, now).await?;
    Ok(ResolvedRecipient {
        recipient: address.as_str().to_owned(),
        contact_id: Some(person.contact_id),
        address: Some(address.as_str().to_owned()),
        name: person.name,
        language: person.language,
        time_zone: person.time_zone,
        skipped: None,
    })
}

/// A contact whose number may be unknown.
pub async fn by_user_id(
    tx: &DatabaseTransaction,
    user_id: &WhatsAppUserId,
    now: Timestamp,
) -> Result<ResolvedRecipient, StoreError> {
    let person = people::ensure_user_id(tx, user_id, now).await?;
    Ok(ResolvedRecipient {
        recipient: user_id.as_str().to_owned(),
        contact_id: Some(person.contact_id),
        // The current user id.
        address: Some(
            person
                .user_id
                .unwrap_or_else(|| user_id.as_str().to_owned()),
        ),
        name: person.name,
        language: person.language,
        time_zone: person.time_zone,
        skipped: None,
    })
}
