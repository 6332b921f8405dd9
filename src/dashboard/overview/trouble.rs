//! Section of the overview with failures and waiting messages, and their reasons.

use std::collections::BTreeMap;

use super::SHOWN;
use crate::{
    dashboard::{
        act::SignedInUser, fault::DashboardScreenError, moment::DisplayTime, shell::DashboardLayout,
    },
    domain::{access::AccessBounds, alarm::AlarmKind, status::NotificationStatus, time::Timestamp},
    engine::insight::{
        attention::{AttentionFinding, FindingUrgency},
        statistics::Statistics,
    },
    providers::ProviderRegistry,
    state::AppState,
    store::{convert, notification},
};

pub(super) struct AttentionScreenRow {
    pub(super) urgent: bool,
    pub(super) summary: String,
    pub(super) meaning: &'static str,
    pub(super) remedy: String,
    pub(super) since: Option<DisplayTime>,
    pub(super) link: Option<String>,
}

pub(super) struct FailureCodeScreenRow {
    pub(super) code: String,
    pub(super) count: i64,
    pub(super) meaning: String,
    pub(super) remedy: String,
}

pub(super) struct UnsentReasonScreenRow {
    pub(super) text: String,
    /// The remedy, if there is one.
    pub(super) remedy: String,
    pub(super) count: i64,
    pub(super) link: String,
}

pub(super) struct FailedMessageScreenRow {
    pub(super) id: String,
    pub(super) at: DisplayTime,
    pub(super) recipient: String,
    pub(super) code: String,
    pub(super) reason: String,
}

/// Most waiting or unsent messages examined.
const LOOKED_AT: u64 = 100;

/// Statuses of messages that wait for more than their turn.
pub(super) const WAITING: [NotificationStatus; 3] = [
    NotificationStatus::Retrying,
    NotificationStatus::Unknown,
    NotificationStatus::Held,
];

pub(super) fn noted(finding: AttentionFinding, shell: &DashboardLayout) -> AttentionScreenRow {
    let link = match finding.kind {
        AlarmKind::NoSender
        | AlarmKind::SenderHeld
        | AlarmKind::Silence
        | AlarmKind::CredentialExpiring
        | AlarmKind::CredentialOld
        | AlarmKind::AccountRestricted => Some("/dashboard/senders".to_owned()),
        AlarmKind::DeadLetters | AlarmKind::CallbacksWaiting | AlarmKind::BacklogFull => {
            Some("/dashboard/callbacks".to_owned())
        }
        AlarmKind::SendingHeld => Some("/dashboard/hold".to_owned()),
        AlarmKind::FailureRate => Some("/dashboard/notifications?status=failed".to_owned()),
        AlarmKind::QueueAge => Some("/dashboard/notifications?status=queued".to_owned()),
        _ => None,
    };
    AttentionScreenRow {
        urgent: finding.urgency == FindingUrgency::Now,
        summary: finding.summary,
        meaning: finding.meaning,
        remedy: finding.remedy,
        since: finding.raised_at.map(|at| shell.zone.moment(at)),
        link,
    }
}

/// The reasons of the newest of these, the most frequent first.
pub(super) async fn reasons(
    state: &AppState,
    statuses: &[NotificationStatus],
    now: Timestamp,
) -> Result<Vec<UnsentReasonScreenRow>, DashboardScreenError> {
    let filter = notification::NotificationListFilter {
        statuses: statuses.to_vec(),
        since: Some(now.plus_seconds(-24 * 60 * 60)),
        limit: LOOKED_AT,
        ..notification::NotificationListFilter::default()
    };
    let mut counts: BTreeMap<(String, String, &'static str), i64> = BTreeMap::new();
    for row in notification::search(&state.engine.store, &AccessBounds::All, &filter).await? {
        let failure = notification::read_failure(row.failure.as_deref());
        let status = convert::status(row.status).name();
        let (reason, remedy) = match failure {
            Some(failure) => (Some(failure.meaning), failure.remedy),
            None => (row.reason, String::new()),
        };
        let reason = reason.unwrap_or_else(|| "no reason was given".to_owned());
        *counts.entry((reason, remedy, status)).or_default() += 1;
    }
    let mut reasons: Vec<UnsentReasonScreenRow> = counts
        .into_iter()
        .map(|((text, remedy, status), count)| UnsentReasonScreenRow {
            text,
            remedy,
            count,
            link: format!("/dashboard/notifications?status={status}&since=24h"),
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    reasons.truncate(SHOWN.unsigned_abs().try_into().unwrap_or(8));
    Ok(reasons)
}

pub(super) fn failures(
    statistics: &Statistics,
    providers: &ProviderRegistry,
) -> Vec<FailureCodeScreenRow> {
    let mut rows: Vec<FailureCodeScreenRow> = statistics
        .failures
        .iter()
        .map(|(code, count)| {
            let known = code
                .parse()
                .ok()
                .and_then(|code| providers.known_error(code));
            // Failures without a code have their reason in each message.
            let newest = statistics
                .failed_newest
                .iter()
                .find(|failed| failed.code.as_deref() == Some(code));
            FailureCodeScreenRow {
                code: code.clone(),
                count: *count,
                meaning: known
                    .map(|known| known.meaning.to_owned())
                    .or_else(|| newest.and_then(|failed| failed.reason.clone()))
                    .unwrap_or_else(|| ours(code).to_owned()),
                remedy: known
                    .map(|known| known.remedy.to_owned())
                    .or_else(|| newest.and_then(|failed| failed.remedy.clone()))
                    .unwrap_or_default(),
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows.truncate(SHOWN.unsigned_abs().try_into().unwrap_or(8));
    rows
}

/// The meaning of a failure of our own.
fn ours(code: &str) -> &'static str {
    match code {
        "expired" => "It expired before it was sent.",
        "gave_up" => "Its response was lost, and no callback reported the outcome.",
        _ => "See the messages.",
    }
}

pub(super) fn failed(
    statistics: &Statistics,
    person: &SignedInUser,
    shell: &DashboardLayout,
) -> Vec<FailedMessageScreenRow> {
    statistics
        .failed_newest
        .iter()
        .map(|failed| {
            let whom = failed.recipient.clone().or_else(|| failed.address.clone());
            let whom = whom.unwrap_or_else(|| "unknown recipient".to_owned());
            FailedMessageScreenRow {
                id: failed.id.to_string(),
                at: shell.zone.written(&failed.created_at),
                recipient: person.sees(whom),
                code: failed
                    .code
                    .clone()
                    .unwrap_or_else(|| failed.status.to_owned()),
                reason: failed.reason.clone().unwrap_or_default(),
            }
        })
        .collect()
}
