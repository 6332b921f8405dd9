//! Checks a number: status, quality, throughput, and restrictions on sending.

use super::SenderDiagnosisFindings;
use crate::{
    domain::{quality::QualityRating, time::Timestamp},
    providers::{FindingSeverity, meta::inspect::MetaNumberFacts},
};

/// Tolerated difference to Meta's clock, in seconds: an answer takes time.
const MOST_SKEW_SECONDS: i64 = 30;

/// Rows from Meta's data about the number.
pub(super) fn facts(sheet: &mut SenderDiagnosisFindings, number: &MetaNumberFacts, now: Timestamp) {
    match number.status.as_deref() {
        Some("CONNECTED") | None => sheet.good("number", "The number is connected."),
        Some(status @ ("FLAGGED" | "RATE_LIMITED")) => sheet.add(
            "number",
            FindingSeverity::Warning,
            format!("The number is {}.", status.to_lowercase()),
            "Check its quality in WhatsApp Manager.",
        ),
        Some(status) => sheet.add(
            "number",
            FindingSeverity::Failed,
            format!("The number is {}: it does not send.", status.to_lowercase()),
            "See the number's page in WhatsApp Manager.",
        ),
    }
    match number.quality {
        Some(QualityRating::Red) => sheet.add(
            "quality",
            FindingSeverity::Warning,
            "The number's quality is red: people block or report its messages.",
            "Send less marketing, and only to people who asked for it.",
        ),
        Some(quality) => sheet.good("quality", format!("The number's quality is {quality}.")),
        None => sheet.skip("quality", "Meta does not report the number's quality."),
    }
    if let Some(throughput) = &number.throughput {
        sheet.good(
            "throughput",
            format!("The number's throughput is {}.", throughput.to_lowercase()),
        );
    }
    let mut known = false;
    for (kind, code, description, solution) in &number.obstacles {
        known = true;
        let payment = *code == 131_042 || description.to_lowercase().contains("payment");
        let name = if payment { "payment" } else { "account" };
        let verdict = if number.can_send.as_deref() == Some("BLOCKED") {
            FindingSeverity::Failed
        } else {
            FindingSeverity::Warning
        };
        let kind = kind.replace('_', " ").to_lowercase();
        sheet.add(
            name,
            verdict,
            format!("Meta reports for the {kind}: {description} (code {code})."),
            solution,
        );
    }
    match number.can_send.as_deref() {
        Some("BLOCKED") if !known => sheet.add(
            "account",
            FindingSeverity::Failed,
            "Meta blocks the sending.",
            "See the account's page in Meta's Business Manager.",
        ),
        Some("LIMITED") if !known => sheet.add(
            "account",
            FindingSeverity::Warning,
            "Meta limits the sending.",
            "See the account's page in Meta's Business Manager.",
        ),
        _ if known => {}
        Some(_) => sheet.good("account", "Account, business and app may send."),
        None => sheet.skip("account", "Meta does not report the account's health."),
    }
    if let Some(theirs) = number.clock {
        let skew = now.micros_since(theirs) / 1_000_000;
        if skew.abs() > MOST_SKEW_SECONDS {
            sheet.add(
                "clock",
                FindingSeverity::Warning,
                format!(
                    "This machine's clock and Meta's differ by {} seconds.",
                    skew.abs()
                ),
                "Synchronize this machine by NTP: service windows and expiry depend on it.",
            );
        } else {
            sheet.good("clock", "The clocks of this machine and of Meta agree.");
        }
    }
}
