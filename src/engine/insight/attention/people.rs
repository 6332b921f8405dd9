//! Findings about people: contacts whose identity is undecided, and addresses whose one-time passwords
//! are not checked for a while.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure},
        time::Timestamp,
    },
    engine::Engine,
    store::{StoreError, alias, verification_limit},
};

/// Counted up to this number.
const COUNTED: u64 = 100;

pub(super) async fn look(
    engine: &Engine,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let open = alias::count_conflicts(&engine.store, COUNTED).await?;
    let summary = match open {
        1 => "Two contacts may be one person.".to_owned(),
        open if open >= i64::try_from(COUNTED).unwrap_or(i64::MAX) => {
            format!("{open} pairs of contacts and more may be one person.")
        }
        open => format!("{open} pairs of contacts may be one person."),
    };
    found.push(
        AttentionFinding::new(AlarmKind::ContactsUndecided, FindingUrgency::Soon, AlarmMeasure::flag(open > 0), summary).means(
            "They act as one meanwhile: an opt-out of either applies to both.",
            "See them on the page Contacts, or with `herald contacts conflicts`, and merge or split them.",
        )
        // Shown without an alarm: nothing goes wrong meanwhile.
        .local(true),
    );
    Ok(())
}

/// Reports that wrong codes have locked the checks of one-time passwords.
pub(super) async fn locked_verifications(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let locked = verification_limit::count_locked(&engine.store, now).await?;
    let summary = match locked {
        1 => "One-time passwords are not checked for one address.".to_owned(),
        locked => format!("One-time passwords are not checked for {locked} addresses."),
    };
    found.push(
        AttentionFinding::new(
            AlarmKind::VerificationsLocked,
            FindingUrgency::Soon,
            AlarmMeasure::flag(locked > 0),
            summary,
        )
        .means(
            "So many wrong codes were entered within an hour that they may be guesses.",
            "The lock ends by itself after ten minutes. `verification.locked` in the log names the verifications: does your product limit sign-ins by client, and is it the same client each time?",
        ),
    );
    Ok(())
}
