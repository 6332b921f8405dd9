//! Findings about contacts whose identity is undecided.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::alarm::{AlarmKind, AlarmMeasure},
    engine::Engine,
    store::{StoreError, alias},
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
