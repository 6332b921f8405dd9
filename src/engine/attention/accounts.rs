//! Accounts and templates that Meta does not let send.

use super::{Finding, Urgency};
use crate::{
    domain::{alarm::Measure, time::Timestamp},
    engine::{
        Engine,
        dispatch::{Sendable, sendable},
    },
    store::{StoreError, account_fact, template_sync},
};

/// As Meta has told.
pub(super) async fn look(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    for fact in account_fact::all(&engine.store).await? {
        if fact.property != account_fact::STANDING {
            continue;
        }
        let over = fact.hold_until.is_some_and(|until| until <= now.micros());
        let reason = fact.hold_reason.clone().filter(|_| !over);
        let measure = Measure::flag(reason.is_some());
        let summary = format!(
            "The account {} may not send: {}",
            fact.account_id,
            reason.unwrap_or_default()
        );
        found.push(
            Finding::new("account_restricted", Urgency::Now, measure, summary)
                .of(&fact.account_id)
                .means(
                    "Meta has restricted or disabled the business account; its messages wait.",
                    "See the account's page in Meta's Business Manager, and ask for a review there.",
                ),
        );
    }
    for row in template_sync::all(&engine.store).await? {
        let standing = template_sync::Standing {
            status: row.status.clone(),
            reason: row.status_reason.clone(),
            category: row.category.clone(),
        };
        let reason = match sendable(&row.name, Some(&standing)) {
            Sendable::Yes => None,
            Sendable::Later(reason) | Sendable::Never(reason) => Some(reason),
        };
        let measure = Measure::flag(reason.is_some());
        let mut summary = reason.unwrap_or_default();
        if let Some(first) = summary.get(..1).map(str::to_uppercase) {
            summary.replace_range(..1, &first);
        }
        found.push(
            Finding::new("template_unusable", Urgency::Soon, measure, summary)
                .of(&format!("{}/{}/{}", row.account_id, row.name, row.language))
                .means(
                    "What uses it waits, or fails.",
                    "Mend the template in WhatsApp Manager, or let the route use another one.",
                ),
        );
    }
    Ok(())
}
