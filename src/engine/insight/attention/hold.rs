//! Sending held for the whole installation, and the mark that would hold it.

use super::{Finding, Urgency};
use crate::{
    domain::{
        alarm::{AlarmKind, Measure},
        hold::{Hold, Reason},
    },
    engine::Engine,
    store::{StoreError, hold},
};

/// Whether sending is held, and whether a restore would be noticed.
pub(super) async fn look(engine: &Engine, found: &mut Vec<Finding>) -> Result<(), StoreError> {
    let hold = hold::get(engine.store.reader()).await?;
    let summary = hold
        .as_ref()
        .map_or_else(|| "Sending is not on hold.".to_owned(), Hold::summary);
    found.push(
        Finding::new(
            AlarmKind::SendingHeld,
            Urgency::Now,
            Measure::flag(hold.is_some()),
            summary,
        )
        .means(
            "Callbacks and requests are taken. Nothing is sent but one-time passwords that were asked for since.",
            remedy(hold.as_ref()),
        ),
    );
    if let Some(trouble) = engine.lineage.trouble() {
        found.push(
            Finding::new(AlarmKind::StateMark, Urgency::Soon, Measure::flag(true), trouble)
                // Another process may reach it.
                .local(true)
                .means(
                    "A database that is restored from now on may send again what was sent before.",
                    "Repair the place that HERALD_STATE_MARK names. A mark of another installation is removed by hand.",
                ),
        );
    }
    Ok(())
}

fn remedy(hold: Option<&Hold>) -> &'static str {
    match hold.map(|hold| hold.reason) {
        None => "",
        Some(Reason::MarkUnreadable) => {
            "Make the place that HERALD_STATE_MARK names readable, or remove a mark of another installation from it: sending goes on by itself when the mark is not newer. Or release it: herald hold release."
        }
        Some(Reason::Asked) => {
            "Look at what would be sent (herald hold show), then release it: herald hold release."
        }
        Some(_) => {
            "What was due before may have been sent already. Look at it (herald hold show), then release it, without what is older than the lost time: herald hold release --cancel-older-than 2h."
        }
    }
}
