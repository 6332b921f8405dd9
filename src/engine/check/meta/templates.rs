//! The templates that catalogues use: whether the account may send them.

use std::collections::BTreeSet;

use super::Sheet;
use crate::{
    domain::template::name::at_meta,
    engine::{check::Verdict, keyring::Account},
    providers::meta::inspect::Inspector,
};

/// Looks at each of them.
pub(super) async fn look(
    sheet: &mut Sheet<'_>,
    inspector: &Inspector,
    account: &Account,
    used: &BTreeSet<(String, String)>,
    suffix: Option<&str>,
) {
    let Some(waba_id) = &account.waba_id else {
        return;
    };
    let all = match inspector.templates(waba_id).await {
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
    for (name, language) in used {
        let found = all
            .iter()
            .find(|(has, in_language, _)| *has == at_meta(name, suffix) && in_language == language);
        match found.map(|(_, _, status)| status.as_str()) {
            Some("APPROVED") => fine += 1,
            Some(status) => {
                let verdict = if ["PAUSED", "PENDING", "IN_APPEAL"].contains(&status) {
                    Verdict::Warning
                } else {
                    Verdict::Failed
                };
                sheet.add(
                    "templates",
                    verdict,
                    format!(
                        "The template {name} ({language}) is {}.",
                        status.to_lowercase()
                    ),
                    "What uses it waits or fails: see it in WhatsApp Manager.",
                );
            }
            None => unknown.push(format!("{name} ({language})")),
        }
    }
    if !unknown.is_empty() {
        sheet.add("templates", Verdict::Warning, format!("The account has no template {}.", unknown.join(", ")), "Make it in WhatsApp Manager under this very name and language, or send by another account.");
    }
    if fine > 0 && fine == used.len() {
        sheet.good(
            "templates",
            format!("All {fine} templates of the catalogues are approved."),
        );
    }
}
