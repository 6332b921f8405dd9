//! The templates that catalogues use: whether the account may send them.

use std::collections::BTreeMap;

use super::Sheet;
use crate::providers::{UsedTemplate, Verdict, meta::inspect::Inspector};

/// Looks at each of them.
pub(super) async fn look(
    sheet: &mut Sheet,
    inspector: &Inspector,
    account_id: &str,
    used: &[UsedTemplate],
) {
    let all = match inspector.templates(account_id).await {
        Ok(all) => all,
        Err(refusal) => {
            sheet.add(
                "templates",
                Verdict::Warning,
                format!("The templates cannot be looked at: {refusal}."),
                "Has the token whatsapp_business_management?",
            );
            return;
        }
    };
    let mut fine = 0;
    let mut unknown = Vec::new();
    // One row for a status: there may be many templates.
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
                Verdict::Warning,
                "Meta decides, within a day as a rule, and what uses it waits: herald templates status --check-status.",
            ),
            "PAUSED" => (
                Verdict::Warning,
                "People have blocked or reported it, and what uses it waits: change its words in the catalogue, then herald templates sync.",
            ),
            "REJECTED" => (
                Verdict::Failed,
                "herald templates status says why; change it in the catalogue, then herald apply and herald templates sync.",
            ),
            _ => (
                Verdict::Failed,
                "What uses it fails: herald templates status has the reason; let the route use another one, or make it anew under another name.",
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
            Verdict::Warning,
            format!("The account has no template {}.", unknown.join(", ")),
            "herald templates plan shows what would be made, herald templates sync makes it; or send by another account.",
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

/// Templates with what is said of them.
fn said(names: &[String], what: &str) -> String {
    match names {
        [one] => format!("The template {one} {what}."),
        many => format!("{} templates {what}: {}.", many.len(), many.join(", ")),
    }
}
