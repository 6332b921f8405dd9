//! Limits across verifications: failures per address and purpose, sends per address, block of
//! numbers and client.

use std::net::IpAddr;

use super::VerificationError;
use crate::{
    domain::{email::EmailAddress, phone::Phone, rate_window::RateWindow, settings::LOCK_SECONDS},
    engine::{Engine, runtime::turn::TransactionContext},
    store::{
        StoreError,
        verification_limit::{self, VerificationLimitKind},
    },
};

/// Digits at the end of a number in which the numbers of a block differ.
const BLOCK_DIGITS: usize = 4;

/// How failures are counted: a keyed digest, from which neither number nor purpose can be read.
pub(super) fn failure_subject(
    engine: &Engine,
    product: Option<&str>,
    address: &str,
    purpose: &str,
) -> Vec<u8> {
    // As JSON, so that no two differ in where a part ends only.
    let subject = serde_json::json!([product, address, purpose]).to_string();
    subject_of(engine, VerificationLimitKind::Failures, &subject)
}

fn subject_of(engine: &Engine, kind: VerificationLimitKind, subject: &str) -> Vec<u8> {
    engine.fingerprint(format!("{kind} {subject}").as_bytes())
}

/// An address as limits count it. Mailboxes are the same in small and in capital letters: of those that
/// are not, two share their limits.
pub(super) fn counted_address(address: &str) -> String {
    EmailAddress::parse(address).map_or_else(|_| address.to_owned(), |mailbox| mailbox.key())
}

/// Counts one send to an address, unless that is one too many. Nothing is counted then: the
/// transaction must not be committed.
pub(super) async fn count_send(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    address: &str,
    client: Option<IpAddr>,
) -> Result<(), VerificationError> {
    let settings = &engine.settings.verification;
    let block = Phone::parse(address).ok().map(|phone| {
        let number = phone.e164();
        let kept = number.len().saturating_sub(BLOCK_DIGITS);
        number.get(..kept).unwrap_or(number).to_owned()
    });
    let client = client.map(|client| client.to_string());
    let counted = [
        (
            VerificationLimitKind::Address,
            Some(counted_address(address)),
            settings.sends_per_address,
            "too many codes were sent to this address",
        ),
        (
            VerificationLimitKind::Prefix,
            block,
            settings.sends_per_prefix,
            "too many codes were sent to numbers that begin like this one",
        ),
        (
            VerificationLimitKind::Client,
            client,
            settings.sends_per_client,
            "too many codes were sent for this client address",
        ),
    ];
    for (kind, subject, most, rule) in counted {
        let Some(subject) = subject else { continue };
        let subject = subject_of(engine, kind, &subject);
        let window = settings.sends(most);
        let mut known = verification_limit::lock(tx, kind, &subject, now).await?;
        if let Some(wait_seconds) = window.wait_seconds(&known.times, now) {
            metrics::counter!("herald_verification_limited_total", "limit" => kind.name())
                .increment(1);
            return Err(VerificationError::Limited { rule, wait_seconds });
        }
        known.times = window.recent(&known.times, now);
        known.times.push(now.micros());
        verification_limit::save(tx, kind, &subject, &known, now).await?;
    }
    Ok(())
}

/// Why no code is checked now.
pub(super) const LOCKED: &str = "too many wrong codes were entered: checks are locked for a while";

/// Seconds until codes of a subject are checked again, if they are locked. The subject stays locked
/// in the database until the transaction ends, so that checks that come together are counted one
/// after another.
pub(super) async fn locked_for(
    TransactionContext { tx, now, .. }: TransactionContext<'_>,
    subject: &[u8],
) -> Result<Option<i64>, StoreError> {
    let kind = VerificationLimitKind::Failures;
    let known = verification_limit::lock(tx, kind, subject, now).await?;
    Ok(known
        .locked_until
        .filter(|until| *until > now)
        .map(|until| {
            let micros = until.micros_since(now);
            // A clock that was set back makes no lock longer.
            let seconds = micros.div_euclid(1_000_000) + i64::from(micros % 1_000_000 > 0);
            seconds.min(LOCK_SECONDS)
        }))
}

/// Counts one failure. Returns whether it locks the subject.
pub(super) async fn count_failure(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    subject: &[u8],
) -> Result<bool, StoreError> {
    let kind = VerificationLimitKind::Failures;
    let window: RateWindow = engine.settings.verification.failures();
    let mut known = verification_limit::lock(tx, kind, subject, now).await?;
    known.times = window.recent(&known.times, now);
    known.times.push(now.micros());
    // After a lock the next failure may be one more than the limit: the oldest are not needed.
    let surplus = known.times.len().saturating_sub(window.most);
    known.times.drain(..surplus);
    let locks = known.times.len() >= window.most;
    known.locked_until = locks.then(|| now.plus_seconds(LOCK_SECONDS));
    verification_limit::save(tx, kind, subject, &known, now).await?;
    Ok(locks)
}
