//! Staff members at the command line: their links, and helpers that commands share.

use anyhow::anyhow;

use super::say;
use crate::{
    domain::{access::AccessBounds, email::EmailAddress, field_error::FieldError, phone},
    engine::{
        InputError,
        people::{self, PeopleActor, StaffContactSpec},
    },
    store::{
        Store, people as rows,
        people::{StaffMemberDetails, StaffQuery},
    },
};

/// Validation errors, in words.
pub(super) fn refused(error: InputError) -> anyhow::Error {
    match error {
        InputError::Invalid(wrong) => words(wrong),
        InputError::Store(error) => error.into(),
    }
}

/// The same, after what was not done because of wrong fields.
pub(super) fn undone(error: InputError, what: impl Into<String>) -> anyhow::Error {
    match error {
        InputError::Invalid(wrong) => words(wrong).context(what.into()),
        InputError::Store(error) => error.into(),
    }
}

fn words(wrong: Vec<FieldError>) -> anyhow::Error {
    let all: Vec<String> = wrong
        .into_iter()
        .map(|it| {
            let field = it.pointer.trim_start_matches('/');
            if field.is_empty() {
                it.rule
            } else {
                format!("{field}: {}", it.rule)
            }
        })
        .collect();
    anyhow!(all.join("; "))
}

/// Staff members read at once.
const PAGE: u64 = 500;

/// Every staff member, or every member of a group, by name.
pub(super) async fn everybody(
    store: &Store,
    group: Option<&str>,
) -> anyhow::Result<Vec<StaffMemberDetails>> {
    let mut all: Vec<StaffMemberDetails> = Vec::new();
    loop {
        let after = all.last().map(|it| it.name.clone());
        let wanted = StaffQuery {
            group,
            beginning: None,
            after: after.as_deref(),
        };
        let page = rows::staff_page(store, &AccessBounds::All, wanted, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Prints the links of staff members to contacts.
pub(super) async fn links(store: &Store, show: bool, json: bool) -> anyhow::Result<()> {
    let all = everybody(store, None).await?;
    if json {
        let all: Vec<_> = all
            .iter()
            .map(|link| {
                serde_json::json!({
                    "user": link.name,
                    "contact": link.person.as_ref().map(|person| person.contact_id),
                    "phone": link.person.as_ref().and_then(|person| masked(person.phone.as_deref(), show)),
                    "groups": link.groups,
                })
            })
            .collect();
        say(serde_json::json!(all).to_string());
        return Ok(());
    }
    let unlinked = all.iter().filter(|link| link.person.is_none()).count();
    for link in &all {
        let contact = match &link.person {
            None => "NOT LINKED".to_owned(),
            Some(person) => masked(person.phone.as_deref(), show)
                .unwrap_or_else(|| "linked, without a number".to_owned()),
        };
        say(format!(
            "{:<24} {contact:<20} {}",
            link.name,
            link.groups.join(", ")
        ));
    }
    say(format!(
        "{} linked, {unlinked} not linked: `herald users connect NAME --to +12025550123`",
        all.len() - unlinked
    ));
    Ok(())
}

pub(super) fn masked(number: Option<&str>, show: bool) -> Option<String> {
    number.map(|number| {
        if show {
            number.to_owned()
        } else {
            phone::mask(number)
        }
    })
}

/// A mailbox, masked unless it is to be shown.
pub(super) fn masked_mailbox(address: &str, show: bool) -> String {
    match EmailAddress::parse(address) {
        Ok(address) if !show => address.to_string(),
        _ => address.to_owned(),
    }
}

/// Links a staff member to a contact.
pub(super) async fn connect(
    store: &Store,
    by: PeopleActor<'_>,
    user: &str,
    whom: &str,
) -> anyhow::Result<()> {
    let whom = StaffContactSpec::parse(whom).map_err(|rule| anyhow!(rule))?;
    let made = people::connect(store, by, user, &whom)
        .await
        .map_err(refused)?;
    say(if made {
        format!("{user} was created, and is linked.")
    } else {
        format!("{user} is linked.")
    });
    Ok(())
}

/// Removes the link of a staff member.
pub(super) async fn disconnect(
    store: &Store,
    by: PeopleActor<'_>,
    user: &str,
) -> anyhow::Result<()> {
    people::disconnect(store, by, user).await.map_err(refused)?;
    say(format!(
        "{user} is not linked to a contact: messages for this user are skipped."
    ));
    Ok(())
}

/// Creates staff members without contacts.
pub(super) async fn ensure(
    store: &Store,
    by: PeopleActor<'_>,
    users: &[String],
) -> anyhow::Result<()> {
    for user in users {
        let made = people::ensure_user(store, by, user)
            .await
            .map_err(refused)?;
        let what = if made { "Created" } else { "Exists" };
        say(format!("{what:<8} {user}"));
    }
    Ok(())
}

/// Deletes staff members, also from all groups.
pub(super) async fn delete(
    store: &Store,
    by: PeopleActor<'_>,
    users: &[String],
) -> anyhow::Result<()> {
    for user in users {
        people::delete_user(store, by, user)
            .await
            .map_err(|error| undone(error, format!("{user} is not deleted")))?;
        say(format!("{user} is deleted, and removed from all groups."));
    }
    Ok(())
}
