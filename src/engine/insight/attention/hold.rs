//! Findings about the hold of all sending, and about the external state mark.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure},
        hold::{HoldReason, SendingHold},
    },
    engine::Engine,
    store::{StoreError, hold},
};

/// Whether sending is held, and whether a restored backup would be noticed.
pub(super) async fn look(
    engine: &Engine,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let hold = hold::get(engine.store.reader()).await?;
    let summary = hold.as_ref().map_or_else(
        || "Sending is not on hold.".to_owned(),
        SendingHold::summary,
    );
    found.push(
        AttentionFinding::new(
            AlarmKind::SendingHeld,
            FindingUrgency::Now,
            AlarmMeasure::flag(hold.is_some()),
            summary,
        )
        .means(
            "Callbacks and requests are accepted. Nothing is sent except one-time passwords requested since.",
            remedy(hold.as_ref()),
        ),
    );
    if let Some(trouble) = engine.lineage.trouble() {
        found.push(
            AttentionFinding::new(AlarmKind::StateMark, FindingUrgency::Soon, AlarmMeasure::flag(true), trouble)
                // Another process may be able to reach it.
                .local(true)
                .means(
                    "A database that is restored from now on may send again what was sent before.",
                    "Make the location in HERALD_STATE_MARK writable. Remove a mark of another installation by hand.",
                ),
        );
    }
    Ok(())
}

fn remedy(hold: Option<&SendingHold>) -> &'static str {
    match hold.map(|hold| hold.reason) {
        None => "",
        Some(HoldReason::MarkUnreadable) => {
            "Make the location in HERALD_STATE_MARK readable, or remove a mark of another installation from it: sending resumes automatically if the mark is not newer. Or release it: herald hold release."
        }
        Some(HoldReason::Asked) => {
            "Check what would be sent (herald hold show), then release it: herald hold release."
        }
        Some(_) => {
            "Messages that were due before may have been sent already. Check them (herald hold show), then release the hold and cancel those older than the lost time: herald hold release --cancel-older-than 2h."
        }
    }
}
