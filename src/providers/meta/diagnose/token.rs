//! Checks the access token: whether it is valid, for how long, and its permissions.

use super::SenderDiagnosisFindings;
use crate::{
    domain::time::Timestamp,
    providers::{
        FindingSeverity,
        meta::inspect::{MetaQueryError, MetaTokenFacts},
    },
};

/// Permissions that a token needs.
const SCOPES: [(&str, FindingSeverity, &str); 2] = [
    (
        "whatsapp_business_messaging",
        FindingSeverity::Failed,
        "sending is refused",
    ),
    (
        "whatsapp_business_management",
        FindingSeverity::Warning,
        "templates and subscriptions cannot be read",
    ),
];

/// A token that expires within this time gets a warning, in seconds.
const SOON_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Subcode of an expired token (Meta, "Handle errors").
const EXPIRED: i64 = 463;

/// Reports why a token was refused. False: the refusal has another reason.
pub(super) fn is_refused(sheet: &mut SenderDiagnosisFindings, refusal: &MetaQueryError) -> bool {
    match refusal {
        MetaQueryError::Unreachable => {
            sheet.add(
                "reachable",
                FindingSeverity::Failed,
                "Meta's Graph API cannot be reached from here.",
                "Check the network, the proxy and the firewall; its address is WHATSAPP_API_BASE.",
            );
            true
        }
        MetaQueryError::Refused {
            code: 190,
            subcode: EXPIRED,
            ..
        } => {
            sheet.add("token", FindingSeverity::Failed, "The access token has expired.", "Create a new one and set it with herald senders set. Test tokens are valid for 60 minutes; create one of a system user, which does not expire.");
            true
        }
        MetaQueryError::Refused {
            code: 190, message, ..
        } => {
            sheet.add("token", FindingSeverity::Failed, format!("Meta does not know the access token: {message}."), "Was all of it copied, and does it belong to this app? If in doubt, create a new one and set it with herald senders set.");
            true
        }
        MetaQueryError::Refused { .. }
        | MetaQueryError::Unreadable(_)
        | MetaQueryError::Endless => false,
    }
}

/// Rows about a valid token.
pub(super) fn facts(
    sheet: &mut SenderDiagnosisFindings,
    account_id: Option<&String>,
    facts: &MetaTokenFacts,
    now: Timestamp,
) {
    if !facts.is_valid {
        sheet.add(
            "token",
            FindingSeverity::Failed,
            "Meta reports that the access token is not valid.",
            "Create a new one and set it with herald senders set.",
        );
        return;
    }
    match facts.expires_at {
        None => sheet.good("token", "The access token is valid and does not expire."),
        Some(at) if at.micros_since(now) / 1_000_000 < SOON_SECONDS => sheet.add(
            "token",
            FindingSeverity::Warning,
            format!("The access token is valid, and expires at {at}."),
            "Create one of a system user, which does not expire, and set it with herald senders set.",
        ),
        Some(at) => sheet.good("token", format!("The access token is valid until {at}.")),
    }
    let mut missing = false;
    for (scope, verdict, without) in SCOPES {
        if !facts.scopes.iter().any(|has| has == scope) {
            missing = true;
            sheet.add("scopes", verdict, format!("The access token lacks {scope}: {without}."), "Create a new one with this permission, in Meta's Business Manager at the system user.");
        }
    }
    let foreign = facts.accounts.as_ref().zip(account_id);
    if foreign.is_some_and(|(accounts, own)| !accounts.contains(own)) {
        missing = true;
        sheet.add(
            "scopes",
            FindingSeverity::Failed,
            "The access token is not for this sender's business account.",
            "Assign the account to the system user, and create a new token.",
        );
    }
    if !missing {
        sheet.good("scopes", "The access token has all permissions.");
    }
}
