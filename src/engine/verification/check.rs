//! Checks a code that a person has entered.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{VerificationError, digested, limits, start::end};
use crate::{
    domain::{
        access::AccessBounds,
        time::Timestamp,
        verification::{VerificationCheckResult, VerificationStatus, entered},
    },
    engine::{Engine, lifecycle::NotificationLifecycleReport, runtime::turn::TransactionContext},
    store::verification,
};

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationCheckOutcome {
    pub result: VerificationCheckResult,
    /// How many more codes the verification takes.
    pub tries_left: i64,
}

/// Checks a code. The try is counted before the code is compared, in the same transaction, so that
/// no number of checks at once gets more tries than there are; the comparison takes the same time
/// whatever differs.
pub async fn check(
    engine: &Engine,
    bounds: &AccessBounds,
    id: Uuid,
    code: &SecretString,
    now: Timestamp,
) -> Result<VerificationCheckOutcome, VerificationError> {
    let (outcome, locks, report) = engine
        .store
        .write_or_refuse(async |tx| {
            check_in(TransactionContext { engine, tx, now }, bounds, id, code).await
        })
        .await?;
    report.publish(engine);
    metrics::counter!("herald_verification_checks_total", "result" => outcome.result.name())
        .increment(1);
    tracing::info!(event = "verification.checked", verification.id = %id, result = outcome.result.name(), "a one-time password was checked");
    if locks {
        tracing::warn!(event = "verification.locked", verification.id = %id, "too many wrong codes were entered for one address: its codes are not checked for ten minutes");
    }
    Ok(outcome)
}

async fn check_in(
    turn: TransactionContext<'_>,
    bounds: &AccessBounds,
    id: Uuid,
    code: &SecretString,
) -> Result<(VerificationCheckOutcome, bool, NotificationLifecycleReport), VerificationError> {
    let TransactionContext { engine, tx, now } = turn;
    let row = verification::lock(tx, bounds, id).await?;
    let row = row.ok_or(VerificationError::NotFound)?;
    let nothing = NotificationLifecycleReport::default();
    let status = row.status()?.at(row.expires_at, now);
    let outcome = |result, tries_left| VerificationCheckOutcome { result, tries_left };
    if let Some(settled) = status.settled() {
        return Ok((outcome(settled, 0), false, nothing));
    }
    if let Some(wait_seconds) = limits::locked_for(turn, &row.failure_subject).await? {
        let rule = limits::LOCKED;
        return Err(VerificationError::Limited { rule, wait_seconds });
    }
    if !verification::count_try(tx, id, now).await? {
        return Ok((outcome(VerificationCheckResult::TooMany, 0), false, nothing));
    }
    let entered = entered(code.expose_secret());
    let vault = engine.vault().ok_or(VerificationError::Key)?;
    if vault.is_fingerprint(&row.code_digest, &digested(id, &entered)) {
        let report = end(turn, &[id], VerificationStatus::Approved).await?;
        let result = VerificationCheckResult::Approved;
        return Ok((outcome(result, 0), false, report));
    }
    let locks = limits::count_failure(turn, &row.failure_subject).await?;
    let tries_left = (row.max_tries - row.tries - 1).max(0);
    let report = if tries_left == 0 {
        end(turn, &[id], VerificationStatus::TooMany).await?
    } else {
        nothing
    };
    let result = VerificationCheckResult::Wrong;
    Ok((outcome(result, tries_left), locks, report))
}
