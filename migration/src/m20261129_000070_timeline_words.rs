//! The kinds of lines on a timeline become words: no sentences, and the terms of the glossary.
//!
//! The version before shows the new ones with their underscores as blanks, as it does with any
//! kind that it does not know; what it writes meanwhile is shown so by this one.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    let renamed = WORDS.iter().map(|(old, new)| (*old, *new));
    rename(renamed)
}

pub(crate) fn down(_: Dialect) -> String {
    let renamed = WORDS.iter().map(|(old, new)| (*new, *old));
    rename(renamed.chain(NEW))
}

/// Each word before and after.
const WORDS: [(&str, &str); 15] = [
    (
        "accepted, and kept back by the provider",
        "held_by_provider",
    ),
    ("refused, another try is due", "retry_scheduled"),
    ("not sent, waits", "deferred"),
    ("unknown", "outcome_unknown"),
    ("lease ran out", "lease_expired"),
    ("answered late", "late_response"),
    ("more of what was known", "details_added"),
    ("gave up", "gave_up"),
    ("sent again", "resend_scheduled"),
    ("retry asked", "retry_requested"),
    ("sent now", "send_now_requested"),
    ("follow_up_fired", "rule_fired"),
    ("follow_up_skipped", "rule_skipped"),
    ("follow_up_cancelled", "rule_cancelled"),
    ("follow_up_overruled", "rule_overruled"),
];

/// Words that are new, and what said the same before.
const NEW: [(&str, &str); 2] = [("superseded", "cancelled"), ("suppressed", "skipped")];

fn rename<'a>(words: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let (cases, from): (Vec<String>, Vec<String>) = words
        .map(|(old, new)| (format!("WHEN '{old}' THEN '{new}'"), format!("'{old}'")))
        .unzip();
    let (cases, from) = (cases.join(" "), from.join(", "));
    format!("UPDATE timeline SET kind = CASE kind {cases} END WHERE kind IN ({from});")
}
