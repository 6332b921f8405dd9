//! Checks whether the account may send the templates that catalogues use.

use std::collections::BTreeMap;

use super::SenderDiagnosisFindings;
use crate::providers::{FindingSeverity, UsedTemplate, meta::inspect::MetaQueryClient};

/// Checks each of them.
pub(super) async fn look(
    sheet: &mut SenderDiagnosisFindings,
    inspector: &MetaQueryClient,
    account_id: &str,
    used: &[UsedTemplate],
) {
    let all = match inspector.templates(account_id).await {
        Ok(all) => all,
        Err(refusal) => {
            sheet.add(
                "templates",
                FindingSeverity::Warning,
                format!("The templates cannot be read: {refusal}."),
                "Does the token have whatsapp_business_management?",
            );
            return;
        }
    };
    let mut fine = 0;
    let mut unknown = Vec::new();
    // One row per status: there may be many templates.
    let mut others: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for template in used {
        let found = all.iter().find(|(name, language, _)| {
            *name == template.remote_name && *language == template.language
        });
        let called = format!("{} ({})", template.name, template.language);
        match found.map(|(_, _, status)| status.as_str()) {
            Some("APPROVED") => fine += 1,
            Some(status) => others.entry(status.to_owned()).or_default().push(called),
            None => unknown.push(called),
        }
    }
    for (status, names) in others {
        let (verdict, remedy) = match status.as_str() {
            "PENDING" | "IN_APPEAL" => (
                FindingSeverity::Warning,
                "Meta usually decides within a day, and messages that use it wait: herald templates status --check-status.",
            ),
            "PAUSED" => (
                FindingSeverity::Warning,
                "People have blocked or reported it, and messages that use it wait: change its text in the catalogue, then herald templates sync.",
            ),
            "REJECTED" => (
                FindingSeverity::Failed,
                "herald templates status shows the reason; change it in the catalogue, then herald apply and herald templates sync.",
            ),
            _ => (
                FindingSeverity::Failed,
                "Messages that use it fail: herald templates status shows the reason; let the route use another one, or create it again under another name.",
            ),
        };
        let found = said(
            &names,
            &format!("{} {}", verb(&names), status.to_lowercase()),
        );
        sheet.add("templates", verdict, found, remedy);
    }
    if !unknown.is_empty() {
        sheet.add(
            "templates",
            FindingSeverity::Warning,
            format!("The account has no template {}.", unknown.join(", ")),
            "herald templates plan shows what would be created, herald templates sync creates it; or send with another account.",
        );
    }
    if fine > 0 && fine == used.len() {
        sheet.good(
            "templates",
            format!("All {fine} templates of the catalogues are approved."),
        );
    }
}

const fn verb(names: &[String]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

/// Names of templates followed by their state.
fn said(names: &[String], what: &str) -> String {
    match names {
        [one] => format!("The template {one} {what}."),
        many => format!("{} templates {what}: {}.", many.len(), many.join(", ")),
    }
}
