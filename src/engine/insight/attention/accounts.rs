//! Findings about accounts and templates that Meta restricts.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure},
        time::Timestamp,
    },
    engine::{
        Engine,
        runtime::template_status::{TemplateSendability, sendable},
    },
    store::{StoreError, account_fact, sender, template_sync},
};

/// From Meta's account and template updates.
pub(super) async fn look(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let senders = sender::all(&engine.store).await?;
    for fact in account_fact::all(&engine.store).await? {
        if fact.property == account_fact::STANDING {
            found.push(standing(&fact, &senders, now));
        }
    }
    for row in template_sync::all(&engine.store).await? {
        let standing = template_sync::ReportedTemplateState::from(&row);
        let reason = match sendable(&row.name, Some(&standing)) {
            TemplateSendability::Yes => None,
            TemplateSendability::Later(reason) | TemplateSendability::Never(reason) => Some(reason),
        };
        let measure = AlarmMeasure::flag(reason.is_some());
        let mut summary = reason.unwrap_or_default();
        if let Some(first) = summary.get(..1).map(str::to_uppercase) {
            summary.replace_range(..1, &first);
        }
        found.push(
            AttentionFinding::new(
                AlarmKind::TemplateUnusable,
                FindingUrgency::Soon,
                measure,
                summary,
            )
            .of(&format!("{}/{}/{}", row.account_id, row.name, row.language))
            .means(
                "Messages that use it wait, or fail.",
                "Fix the template in WhatsApp Manager, or let the route use another one.",
            ),
        );
    }
    Ok(())
}

/// The state that the provider reported for an account or one of its numbers, and our senders held
/// because of it.
fn standing(
    fact: &entity::account_fact::Model,
    senders: &[entity::sender::Model],
    now: Timestamp,
) -> AttentionFinding {
    let over = fact.hold_until.is_some_and(|until| until <= now.micros());
    let reason = fact.hold_reason.clone().filter(|_| !over);
    let of_account: Vec<&entity::sender::Model> = senders
        .iter()
        .filter(|row| row.account_id.as_ref() == Some(&fact.account_id))
        .collect();
    let concerned = of_account
        .iter()
        .filter(|row| fact.number.is_empty() || sender::is_called(row, &fact.number));
    let concerned: Vec<&entity::sender::Model> = concerned.copied().collect();
    // A successful call since then overrules it.
    let held: Vec<&str> = concerned
        .iter()
        .filter(|row| row.state == "held" && row.account_held_at.is_some())
        .map(|row| row.name.as_str())
        .collect();
    let maybe_ours =
        concerned.is_empty() && of_account.iter().any(|row| row.display_number.is_none());
    let is_raised = reason.is_some() && (!held.is_empty() || maybe_ours);
    let (subject, what) = if fact.number.is_empty() {
        (
            fact.account_id.clone(),
            format!("The account {}", fact.account_id),
        )
    } else {
        (
            format!("{}/{}", fact.account_id, fact.number),
            format!("A number of the account {}", fact.account_id),
        )
    };
    let mut summary = format!("{what} may not send: {}.", reason.unwrap_or_default());
    if !held.is_empty() {
        summary.push_str(" Held: ");
        summary.push_str(&held.join(", "));
        summary.push('.');
    }
    let meaning = if held.is_empty() {
        "It is not known yet which sender has this number: messages are tried, and wait if Meta refuses them."
    } else {
        "Meta does not let these senders send; their messages wait."
    };
    AttentionFinding::new(AlarmKind::AccountRestricted, FindingUrgency::Now, AlarmMeasure::flag(is_raised), summary)
        .of(&subject)
        .means(
            meaning,
            "See the account's page in Meta's Business Manager: ask for a review, or connect the account or the number again.",
        )
}
