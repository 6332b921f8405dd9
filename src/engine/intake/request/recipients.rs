//! Recipients and subject of a direct request.

use super::NotificationRequest;
use crate::{
    domain::{
        access::AccessBounds,
        email::EmailAddress,
        field_error::FieldError,
        phone::Phone,
        recipient::{RecipientParseError, RecipientSpec, WhatsAppUserId},
        time::Timestamp,
    },
    engine::intake::{
        IntakeRowCache,
        targets::{self, RecipientResolveError, ResolvedRecipient, UnknownRecipient},
    },
    store::{DatabaseTransaction, StoreError},
};

/// Most group members that a direct request may reach; larger fan-outs are events.
const MAX_DIRECT_TARGETS: usize = 1000;

/// One recipient: found, or to be created when the request is valid.
pub(super) enum RequestedRecipient {
    Found(Vec<ResolvedRecipient>),
    Phone(Phone),
    UserId(WhatsAppUserId),
    Email(EmailAddress),
}

impl RequestedRecipient {
    pub(super) const fn needs_user_id(&self) -> bool {
        matches!(self, Self::UserId(_))
    }

    pub(super) fn found(&self, is: impl Fn(&ResolvedRecipient) -> bool) -> bool {
        matches!(self, Self::Found(targets) if targets.iter().any(is))
    }

    /// The target, creating the contact if needed.
    pub(super) async fn settle(
        self,
        tx: &DatabaseTransaction,
        reading: &mut IntakeRowCache,
        now: Timestamp,
    ) -> Result<Vec<ResolvedRecipient>, StoreError> {
        Ok(match self {
            Self::Found(targets) => targets,
            Self::Phone(phone) => {
                let person = reading.person(tx, &phone, now).await?;
                vec![ResolvedRecipient::at(&phone, person)]
            }
            Self::UserId(user_id) => vec![targets::by_user_id(tx, &user_id, now).await?],
            Self::Email(address) => vec![targets::by_email(tx, &address, now).await?],
        })
    }
}

/// Why a request cannot be addressed to an entry.
#[derive(Debug, thiserror::Error)]
enum RequestRecipientError {
    #[error(transparent)]
    Unreadable(#[from] RecipientParseError),
    #[error(transparent)]
    Unknown(#[from] UnknownRecipient),
    #[error("more than {} people: post an event instead", MAX_DIRECT_TARGETS)]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RecipientResolveError> for RequestRecipientError {
    fn from(error: RecipientResolveError) -> Self {
        match error {
            RecipientResolveError::Unknown(unknown) => Self::Unknown(unknown),
            RecipientResolveError::Store(error) => Self::Store(error),
        }
    }
}

/// Resolves one entry as far as possible without writing.
async fn recipient(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    entry: &str,
    now: Timestamp,
) -> Result<RequestedRecipient, RequestRecipientError> {
    let spec = match RecipientSpec::parse(entry)? {
        RecipientSpec::Phone(phone) => return Ok(RequestedRecipient::Phone(phone)),
        RecipientSpec::UserId(user_id) => return Ok(RequestedRecipient::UserId(user_id)),
        RecipientSpec::Email(address) => return Ok(RequestedRecipient::Email(address)),
        other => other,
    };
    let mut targets = Vec::new();
    let mut after = None;
    loop {
        let page = targets::resolve(tx, bounds, &spec, None, after, now).await?;
        targets.extend(page.targets);
        after = page.next;
        if targets.len() > MAX_DIRECT_TARGETS {
            return Err(RequestRecipientError::TooMany);
        }
        if after.is_none() {
            return Ok(RequestedRecipient::Found(targets));
        }
    }
}

/// The recipients of a request.
pub(super) async fn recipients(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    request: &NotificationRequest,
    wrong: &mut Vec<FieldError>,
    now: Timestamp,
) -> Result<Vec<RequestedRecipient>, StoreError> {
    let mut found = Vec::with_capacity(request.to.len());
    if request.to.is_empty() {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: "at least one recipient".to_owned(),
        });
    }
    for (index, entry) in request.to.iter().enumerate() {
        match recipient(tx, bounds, entry, now).await {
            Ok(recipient) => found.push(recipient),
            Err(RequestRecipientError::Store(error)) => return Err(error),
            Err(refused) => wrong.push(FieldError {
                pointer: format!("/to/{index}"),
                rule: refused.to_string(),
            }),
        }
    }
    Ok(found)
}

/// The subject of a request.
pub(super) async fn about(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    request: &NotificationRequest,
    wrong: &mut Vec<FieldError>,
    now: Timestamp,
) -> Result<Option<RequestedRecipient>, StoreError> {
    let Some(about) = &request.about else {
        return Ok(None);
    };
    match recipient(tx, bounds, about, now).await {
        Ok(recipient) => Ok(Some(recipient)),
        Err(RequestRecipientError::Store(error)) => Err(error),
        Err(refused) => {
            wrong.push(FieldError {
                pointer: "/about".to_owned(),
                rule: refused.to_string(),
            });
            Ok(None)
        }
    }
}
