//! Decides whether a template may be sent, by its status in the account.

use crate::{
    domain::template_status::{TemplateOutlook, TemplateStatus},
    store::template_sync::ReportedTemplateState,
};

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
pub fn sendable(template: &str, standing: Option<&ReportedTemplateState>) -> TemplateSendability {
    let status = standing.and_then(|standing| standing.status);
    let outlook = status.map_or(TemplateOutlook::Sendable, TemplateStatus::outlook);
    let because = standing
        .and_then(|standing| standing.reason.as_ref())
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let status = status.map(TemplateStatus::phrase).unwrap_or_default();
    match outlook {
        TemplateOutlook::Sendable => TemplateSendability::Yes,
        TemplateOutlook::Waiting => TemplateSendability::Later(format!(
            "the template {template} is {status}{because}: it waits until it is approved"
        )),
        TemplateOutlook::Refused => {
            TemplateSendability::Never(format!("the template {template} is {status}{because}"))
        }
    }
}
