//! Checks the webhook subscription: whether this app gets the account's callbacks, which fields,
//! and at which address.

use secrecy::SecretString;

use super::{SenderDiagnosisFindings, is_passing};
use crate::providers::{
    DiagnosisRequest, FindingSeverity,
    meta::inspect::{MetaAppSubscription, MetaNumberFacts, MetaQueryClient},
};

/// Fields that the app must be subscribed to, and what is missed without them.
const FIELDS: [(&str, FindingSeverity, &str); 5] = [
    (
        "messages",
        FindingSeverity::Failed,
        "deliveries are not known",
    ),
    (
        "message_template_status_update",
        FindingSeverity::Warning,
        "a paused template is noticed by its failures only",
    ),
    (
        "template_category_update",
        FindingSeverity::Warning,
        "a template that becomes marketing is not noticed",
    ),
    (
        "phone_number_quality_update",
        FindingSeverity::Warning,
        "a change of the number's limits is noticed late",
    ),
    (
        "account_update",
        FindingSeverity::Warning,
        "a restriction of the account is noticed by its failures only",
    ),
];

/// Checks the subscription of the app, level by level.
pub(super) async fn look(
    sheet: &mut SenderDiagnosisFindings,
    inspector: &MetaQueryClient,
    app_id: Option<&str>,
    number: &MetaNumberFacts,
    request: &DiagnosisRequest<'_>,
) {
    let Some(waba_id) = &request.connection.account_id else {
        sheet.skip("subscribed", "The sender's business account is not known, so its subscription was not checked: set WHATSAPP_WABA_ID.");
        return;
    };
    let subscribed = match inspector.subscribed(waba_id).await {
        Ok(subscribed) => subscribed,
        Err(refusal) => {
            sheet.add(
                "subscribed",
                FindingSeverity::Warning,
                format!("The account's subscriptions cannot be read: {refusal}."),
                "Is WHATSAPP_WABA_ID right, and does the token have whatsapp_business_management?",
            );
            return;
        }
    };
    let Some(app_id) = app_id else {
        sheet.skip(
            "subscribed",
            "The app is not known: herald senders set --app-id.",
        );
        return;
    };
    let ours = subscribed.iter().find(|app| app.app_id == app_id);
    match ours {
        Some(_) => sheet.good("subscribed", "This app gets the account's callbacks."),
        None => sheet.add("subscribed", FindingSeverity::Failed, "This app does not get the account's callbacks.", &format!("POST /{waba_id}/subscribed_apps with the access token, or add the app to the account in Meta's Business Manager.")),
    }
    let of_app = of_app(sheet, inspector, app_id, &request.app_secrets).await;
    if let Some(found) = &of_app {
        fields(sheet, found);
    }
    let own = ours.and_then(|app| app.override_url.clone());
    callback(sheet, own, of_app, number, request.webhook_url.as_deref());
}

/// The app's subscriptions: its secret authorizes the request.
async fn of_app(
    sheet: &mut SenderDiagnosisFindings,
    inspector: &MetaQueryClient,
    app_id: &str,
    secrets: &[SecretString],
) -> Option<MetaAppSubscription> {
    let mut of_app = None;
    let mut wrong = None;
    for secret in secrets {
        match inspector.subscription(app_id, secret).await {
            Ok(found) => {
                of_app = Some(found.unwrap_or_default());
                wrong = None;
                break;
            }
            Err(refusal) => wrong = Some(refusal),
        }
    }
    if let Some(refusal) = wrong {
        let verdict = if is_passing(&refusal) {
            FindingSeverity::Warning
        } else {
            FindingSeverity::Failed
        };
        sheet.add("app_secret", verdict, format!("Meta does not accept the app secret for this app: {refusal}."), "Copy it again from the App Dashboard (Settings, Basic): with a wrong one, every callback is refused.");
    } else if of_app.is_some() {
        sheet.good("app_secret", "The app secret is this app's.");
    }
    of_app
}

fn fields(sheet: &mut SenderDiagnosisFindings, found: &MetaAppSubscription) {
    let mut missing = false;
    for (field, verdict, without) in FIELDS {
        if !found.fields.iter().any(|has| has == field) {
            missing = true;
            sheet.add(
                "fields",
                verdict,
                format!("The app is not subscribed to {field}: {without}."),
                "App Dashboard, WhatsApp, Configuration: subscribe to the field.",
            );
        }
    }
    if !found.active {
        missing = true;
        sheet.add(
            "fields",
            FindingSeverity::Failed,
            "The app's subscription is not active.",
            "App Dashboard, WhatsApp, Configuration: verify and save the callback URL again.",
        );
    }
    if !missing {
        sheet.good(
            "fields",
            "The app is subscribed to all fields that Herald needs.",
        );
    }
}

/// The address of callbacks.
fn callback(
    sheet: &mut SenderDiagnosisFindings,
    of_account: Option<String>,
    of_app: Option<MetaAppSubscription>,
    number: &MetaNumberFacts,
    own_url: Option<&str>,
) {
    // The number's override has precedence over the account's, and that over the app's.
    let of_app = of_app
        .and_then(|found| found.callback_url)
        .or_else(|| number.callback_of_app.clone());
    let of_account = of_account.or_else(|| number.callback_of_account.clone());
    let effective = [
        ("number", number.callback_of_number.clone()),
        ("account", of_account),
        ("app", of_app),
    ]
    .into_iter()
    .find_map(|(level, url)| Some((level, url?)));
    match (effective, own_url) {
        (None, _) => sheet.add("callback", FindingSeverity::Failed, "Meta has no address for callbacks.", "App Dashboard, WhatsApp, Configuration: set the callback URL and the verify token."),
        (Some((level, url)), None) => sheet.skip("callback", format!("Callbacks go to {url} (set at the {level}); HERALD_PUBLIC_URL is not set, so it was not compared.")),
        (Some((level, url)), Some(own)) => {
            if url == own {
                sheet.good("callback", format!("Callbacks go to {url} (set at the {level})."));
            } else {
                sheet.add("callback", FindingSeverity::Failed, format!("Callbacks go to {url} (set at the {level}), not to {own}."), "Remove the override, or set it to this server: the number's has precedence over the account's, and that over the app's.");
            }
        }
    }
}
