//! Decides whether a template may be sent, by its status in the account.

use crate::store::template_sync::TemplateSyncState;

/// Whether a template may be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSendability {
    Yes,
    /// It may become sendable again: queued messages wait until they expire.
    Later(String),
    Never(String),
}

/// The meaning of a template's status for sending. An unknown template counts as sendable: it may
/// be older than this installation.
pub fn sendable(template: &str, standing: Option<&TemplateSyncState>) -> TemplateSendability {
    let Some(standing) = standing else {
        return TemplateSendability::Yes;
    };
    let because = standing
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    match standing.status.as_deref() {
        Some("PAUSED" | "PENDING" | "IN_APPEAL" | "LOCKED" | "ARCHIVED" | "LIMIT_EXCEEDED") => {
            let status = standing.status.as_deref().unwrap_or("").to_lowercase();
            TemplateSendability::Later(format!(
                "the template {template} is {status}{because}: it waits until it is approved"
            ))
        }
        Some("DISABLED" | "REJECTED" | "DELETED" | "PENDING_DELETION") => {
            let status = standing.status.as_deref().unwrap_or("").to_lowercase();
            TemplateSendability::Never(format!("the template {template} is {status}{because}"))
        }
        _ => TemplateSendability::Yes,
    }
}
