//! The access token: whether it is known, for how long, and what it allows.

use super::Sheet;
use crate::{
    domain::time::Timestamp,
    providers::{
        Verdict,
        meta::inspect::{Refusal, TokenFacts},
    },
};

/// What a token must allow.
const SCOPES: [(&str, Verdict, &str); 2] = [
    (
        "whatsapp_business_messaging",
        Verdict::Failed,
        "sending is refused",
    ),
    (
        "whatsapp_business_management",
        Verdict::Warning,
        "templates and subscriptions cannot be looked at",
    ),
];

/// A token that expires within this is worth a word, in seconds.
const SOON_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The code of an expired token's subcode (Meta, "Handle errors").
const EXPIRED: i64 = 463;

/// Says what is wrong with a token that was refused. False: it was refused for something
/// else.
pub(super) fn is_refused(sheet: &mut Sheet, refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Unreachable => {
            sheet.add("reachable", Verdict::Failed, "Meta's Graph API cannot be reached from here.", "Look at the network, the proxy and the firewall; WHATSAPP_API_BASE says where it is.");
            true
        }
        Refusal::Refused {
            code: 190,
            subcode: EXPIRED,
            ..
        } => {
            sheet.add("token", Verdict::Failed, "The access token has expired.", "Make a new one and give it to Herald: herald senders set. Test tokens live 60 minutes; make one of a system user, which does not expire.");
            true
        }
        Refusal::Refused {
            code: 190, message, ..
        } => {
            sheet.add("token", Verdict::Failed, format!("Meta does not know the access token: {message}."), "Was all of it copied, and is it of this app? Make a new one if in doubt: herald senders set.");
            true
        }
        Refusal::Refused { .. } | Refusal::Unreadable(_) | Refusal::Endless => false,
    }
}

/// What is known of a token that was not refused.
pub(super) fn facts(
    sheet: &mut Sheet,
    account_id: Option<&String>,
    facts: &TokenFacts,
    now: Timestamp,
) {
    if !facts.is_valid {
        sheet.add(
            "token",
            Verdict::Failed,
            "Meta says that the access token is not valid.",
            "Make a new one and give it to Herald: herald senders set.",
        );
        return;
    }
    match facts.expires_at {
        None => sheet.good("token", "The access token is valid and does not expire."),
        Some(at) if at.micros_since(now) / 1_000_000 < SOON_SECONDS => sheet.add(
            "token",
            Verdict::Warning,
            format!("The access token is valid, and expires at {at}."),
            "Make one of a system user, which does not expire, and give it to Herald: herald senders set.",
        ),
        Some(at) => sheet.good("token", format!("The access token is valid until {at}.")),
    }
    let mut missing = false;
    for (scope, verdict, without) in SCOPES {
        if !facts.scopes.iter().any(|has| has == scope) {
            missing = true;
            sheet.add("scopes", verdict, format!("The access token lacks {scope}: {without}."), "Make a new one with this permission, in Meta's Business Manager at the system user.");
        }
    }
    let foreign = facts.accounts.as_ref().zip(account_id);
    if foreign.is_some_and(|(accounts, own)| !accounts.contains(own)) {
        missing = true;
        sheet.add(
            "scopes",
            Verdict::Failed,
            "The access token is not for this sender's business account.",
            "Assign the account to the system user, and make a new token.",
        );
    }
    if !missing {
        sheet.good("scopes", "The access token may send and look.");
    }
}
