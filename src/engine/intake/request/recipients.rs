//! Whom a direct request is for, and whom it is about.

use super::Request;
use crate::{
    domain::{
        access::Bounds,
        field_error::FieldError,
        phone::Phone,
        recipient::{RecipientSpec, UserId},
        time::Timestamp,
    },
    engine::intake::{
        Reading,
        targets::{self, Target},
    },
    store::{DatabaseTransaction, StoreError},
};

/// Members of groups that a direct request may reach; larger fan-outs are events.
const MAX_DIRECT_TARGETS: usize = 1000;

/// One recipient of a request: found, or to be made when the request is good.
pub(super) enum Recipient {
    Found(Vec<Target>),
    Phone(Phone),
    UserId(UserId),
}

impl Recipient {
    pub(super) const fn needs_user_id(&self) -> bool {
        matches!(self, Self::UserId(_))
    }

    pub(super) fn found(&self, is: impl Fn(&Target) -> bool) -> bool {
        matches!(self, Self::Found(targets) if targets.iter().any(is))
    }

    /// Finds them, or makes them.
    pub(super) async fn settle(
        self,
        tx: &DatabaseTransaction,
        reading: &mut Reading,
        now: Timestamp,
    ) -> Result<Vec<Target>, StoreError> {
        Ok(match self {
            Self::Found(targets) => targets,
            Self::Phone(phone) => {
                let person = reading.person(tx, &phone, now).await?;
                vec![Target::at(&phone, person)]
            }
            Self::UserId(user_id) => vec![targets::by_user_id(tx, &user_id, now).await?],
        })
    }
}

/// One entry, as far as that takes no writing.
async fn recipient(
    tx: &DatabaseTransaction,
    bounds: &Bounds,
    spec: RecipientSpec,
    now: Timestamp,
) -> Result<Result<Recipient, String>, StoreError> {
    let spec = match spec {
        RecipientSpec::Phone(phone) => return Ok(Ok(Recipient::Phone(phone))),
        RecipientSpec::UserId(user_id) => return Ok(Ok(Recipient::UserId(user_id))),
        other => other,
    };
    let mut targets = Vec::new();
    let mut after = None;
    loop {
        match targets::resolve(tx, bounds, &spec, None, after, now).await? {
            Ok(page) => {
                targets.extend(page.targets);
                after = page.next;
            }
            Err(unknown) => return Ok(Err(unknown.0)),
        }
        if targets.len() > MAX_DIRECT_TARGETS {
            return Ok(Err(format!(
                "more than {MAX_DIRECT_TARGETS} people: post an event instead"
            )));
        }
        if after.is_none() {
            return Ok(Ok(Recipient::Found(targets)));
        }
    }
}

/// Whom a request is for.
pub(super) async fn recipients(
    tx: &DatabaseTransaction,
    bounds: &Bounds,
    request: &Request,
    wrong: &mut Vec<FieldError>,
    now: Timestamp,
) -> Result<Vec<Recipient>, StoreError> {
    let mut found = Vec::with_capacity(request.to.len());
    if request.to.is_empty() {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: "at least one recipient".to_owned(),
        });
    }
    for (index, entry) in request.to.iter().enumerate() {
        let read = match RecipientSpec::parse(entry) {
            Ok(spec) => recipient(tx, bounds, spec, now).await?,
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(recipient) => found.push(recipient),
            Err(rule) => wrong.push(FieldError {
                pointer: format!("/to/{index}"),
                rule,
            }),
        }
    }
    Ok(found)
}

/// Whom a request is about.
pub(super) async fn about(
    tx: &DatabaseTransaction,
    bounds: &Bounds,
    request: &Request,
    wrong: &mut Vec<FieldError>,
    now: Timestamp,
) -> Result<Option<Recipient>, StoreError> {
    let Some(about) = &request.about else {
        return Ok(None);
    };
    let read = match RecipientSpec::parse(about) {
        Ok(spec) => recipient(tx, bounds, spec, now).await?,
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(recipient) => Ok(Some(recipient)),
        Err(rule) => {
            wrong.push(FieldError {
                pointer: "/about".to_owned(),
                rule,
            });
            Ok(None)
        }
    }
}
