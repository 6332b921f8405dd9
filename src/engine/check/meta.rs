//! What is Meta's side: token, number, account, subscription, callback, templates.

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::{Area, Asked, Row, Verdict, webhook_of};
use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        keyring::{Account, Keyring, Token},
    },
    providers::{
        HttpClient,
        meta::inspect::{Inspector, NumberFacts, Refusal, TokenFacts},
    },
    store::{StoreError, catalogue},
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

/// What the app must be told of, and what is missed without it.
const FIELDS: [(&str, Verdict, &str); 5] = [
    (
        "messages",
        Verdict::Failed,
        "nobody learns what was delivered",
    ),
    (
        "message_template_status_update",
        Verdict::Warning,
        "a paused template is noticed by its failures only",
    ),
    (
        "template_category_update",
        Verdict::Warning,
        "a template that becomes marketing is not noticed",
    ),
    (
        "phone_number_quality_update",
        Verdict::Warning,
        "a change of the number's limits is noticed late",
    ),
    (
        "account_update",
        Verdict::Warning,
        "a restriction of the account is noticed by its failures only",
    ),
];

/// A token that expires within this is worth a word, in seconds.
const SOON_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Meta's clock may differ by so much, in seconds: an answer takes its time.
const MOST_SKEW_SECONDS: i64 = 30;

/// The code of an expired token's subcode (Meta, "Handle errors").
const EXPIRED: i64 = 463;

/// Codes of limits and of troubles at Meta that pass: they say nothing of what was asked
/// (Meta, "Handle errors", "Rate limits").
const PASSING: [i64; 5] = [2, 4, 17, 613, 80_008];

fn is_passing(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Refused { code, .. } => PASSING.contains(code),
        Refusal::Unreachable | Refusal::Unreadable(_) => true,
    }
}

/// Rows about one sender.
struct Sheet<'a> {
    name: &'a str,
    rows: Vec<Row>,
}

impl Sheet<'_> {
    fn add(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        remedy: &str,
    ) {
        let row = Row::new(Area::Meta, name, verdict, found)
            .helps(remedy)
            .of(self.name);
        self.rows.push(row);
    }

    fn good(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, Verdict::Ok, found, "");
    }

    fn skip(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, Verdict::Skipped, found, "");
    }
}

/// Every sender of Meta's.
pub(super) async fn all(
    engine: &Engine,
    asked: &Asked,
    http: &HttpClient,
    now: Timestamp,
) -> Result<Vec<Row>, StoreError> {
    let ring = engine.keyring();
    let used: BTreeSet<(String, String)> = catalogue::template_names(&engine.store)
        .await?
        .into_iter()
        .collect();
    let mut rows = Vec::new();
    for account in ring
        .accounts
        .iter()
        .filter(|account| account.kind == "meta")
    {
        let mut sheet = Sheet {
            name: &account.name,
            rows: Vec::new(),
        };
        one(&mut sheet, account, &ring, &used, asked, http, now).await;
        rows.extend(sheet.rows);
    }
    Ok(rows)
}

async fn one(
    sheet: &mut Sheet<'_>,
    account: &Account,
    ring: &Keyring,
    used: &BTreeSet<(String, String)>,
    asked: &Asked,
    http: &HttpClient,
    now: Timestamp,
) {
    let (Token::Ready(token), Some(number)) = (&account.token, &account.phone_number_id) else {
        let why = account.obstacle().unwrap_or_default();
        sheet.add("token", Verdict::Failed, why, "Give it what is missing: WHATSAPP_ACCESS_TOKEN and WHATSAPP_PHONE_NUMBER_ID, or herald senders set.");
        return;
    };
    let inspector = Inspector::new(
        http.clone(),
        &account.api_base,
        &account.api_version,
        token.clone(),
    );
    let facts = match inspector.token().await {
        Ok(facts) => Some(facts),
        Err(refusal) => {
            if refused_token(sheet, &refusal) {
                return;
            }
            None
        }
    };
    if let Some(facts) = &facts {
        of_token(sheet, account, facts, now);
    }
    let number = match inspector.number(number).await {
        Ok(found) => found,
        Err(refusal) => {
            if !refused_token(sheet, &refusal) {
                sheet.add("number", if is_passing(&refusal) { Verdict::Warning } else { Verdict::Failed }, format!("The number cannot be looked at: {refusal}."), "Is WHATSAPP_PHONE_NUMBER_ID Meta's id of the number (not the number itself), and in an account that the token may use?");
            }
            return;
        }
    };
    of_number(sheet, &number, now);
    let app_id = account
        .scope
        .strip_prefix("app:")
        .map(str::to_owned)
        .or_else(|| facts.as_ref().and_then(|facts| facts.app_id.clone()));
    subscription(
        sheet,
        &inspector,
        account,
        app_id.as_deref(),
        ring,
        &number,
        asked,
    )
    .await;
    templates(sheet, &inspector, account, used).await;
}

/// Says what is wrong with a token that was refused. False: it was refused for something
/// else.
fn refused_token(sheet: &mut Sheet<'_>, refusal: &Refusal) -> bool {
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
        Refusal::Refused { .. } | Refusal::Unreadable(_) => false,
    }
}

fn of_token(sheet: &mut Sheet<'_>, account: &Account, facts: &TokenFacts, now: Timestamp) {
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
    let foreign = facts.accounts.as_ref().zip(account.waba_id.as_ref());
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

fn of_number(sheet: &mut Sheet<'_>, number: &NumberFacts, now: Timestamp) {
    match number.status.as_deref() {
        Some("CONNECTED") | None => sheet.good("number", "The number is connected."),
        Some(status @ ("FLAGGED" | "RATE_LIMITED")) => sheet.add(
            "number",
            Verdict::Warning,
            format!("The number is {}.", status.to_lowercase()),
            "Look at its quality in WhatsApp Manager.",
        ),
        Some(status) => sheet.add(
            "number",
            Verdict::Failed,
            format!("The number is {}: it does not send.", status.to_lowercase()),
            "See the number's page in WhatsApp Manager.",
        ),
    }
    match number.quality.as_deref() {
        Some("RED") => sheet.add(
            "quality",
            Verdict::Warning,
            "The number's quality is red: people block or report its messages.",
            "Send less marketing, and only to who asked for it.",
        ),
        Some(quality) => sheet.good(
            "quality",
            format!("The number's quality is {}.", quality.to_lowercase()),
        ),
        None => sheet.skip("quality", "Meta says nothing of the number's quality."),
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
            Verdict::Failed
        } else {
            Verdict::Warning
        };
        let kind = kind.replace('_', " ").to_lowercase();
        sheet.add(
            name,
            verdict,
            format!("Meta says of the {kind}: {description} (code {code})."),
            solution,
        );
    }
    match number.can_send.as_deref() {
        Some("BLOCKED") if !known => sheet.add(
            "account",
            Verdict::Failed,
            "Meta blocks the sending.",
            "See the account's page in Meta's Business Manager.",
        ),
        Some("LIMITED") if !known => sheet.add(
            "account",
            Verdict::Warning,
            "Meta limits the sending.",
            "See the account's page in Meta's Business Manager.",
        ),
        _ if known => {}
        Some(_) => sheet.good("account", "Account, business and app may send."),
        None => sheet.skip("account", "Meta says nothing of the account's health."),
    }
    if let Some(theirs) = number.clock {
        let skew = now.micros_since(theirs) / 1_000_000;
        if skew.abs() > MOST_SKEW_SECONDS {
            sheet.add(
                "clock",
                Verdict::Warning,
                format!(
                    "This machine's clock and Meta's differ by {} seconds.",
                    skew.abs()
                ),
                "Let this machine keep the time by NTP: windows and expiry are counted by it.",
            );
        } else {
            sheet.good("clock", "The clocks of this machine and of Meta agree.");
        }
    }
}

async fn subscription(
    sheet: &mut Sheet<'_>,
    inspector: &Inspector,
    account: &Account,
    app_id: Option<&str>,
    ring: &Keyring,
    number: &NumberFacts,
    asked: &Asked,
) {
    let Some(waba_id) = &account.waba_id else {
        sheet.skip("subscribed", "The sender's business account is not known, so its subscription was not looked at: set WHATSAPP_WABA_ID.");
        return;
    };
    let subscribed = match inspector.subscribed(waba_id).await {
        Ok(subscribed) => subscribed,
        Err(refusal) => {
            sheet.add(
                "subscribed",
                Verdict::Warning,
                format!("The account's subscriptions cannot be looked at: {refusal}."),
                "Is WHATSAPP_WABA_ID right, and has the token whatsapp_business_management?",
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
        None => sheet.add("subscribed", Verdict::Failed, "This app does not get the account's callbacks.", &format!("POST /{waba_id}/subscribed_apps with the access token, or add the app to the account in Meta's Business Manager.")),
    }
    let secrets: Vec<&SecretString> = ring
        .signers
        .iter()
        .filter(|signer| signer.is_of(&account.scope))
        .map(|signer| &signer.secret)
        .collect();
    // An app without a secret of its own has the environment's.
    let secrets = if secrets.is_empty() {
        ring.signers.iter().map(|signer| &signer.secret).collect()
    } else {
        secrets
    };
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
            Verdict::Warning
        } else {
            Verdict::Failed
        };
        sheet.add("app_secret", verdict, format!("Meta does not take the app secret for this app: {refusal}."), "Copy it anew from the App Dashboard (Settings, Basic): with a wrong one, every callback is refused.");
    } else if of_app.is_some() {
        sheet.good("app_secret", "The app secret is this app's.");
    }
    if let Some(found) = &of_app {
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
                Verdict::Failed,
                "The app's subscription is not active.",
                "App Dashboard, WhatsApp, Configuration: verify and save the callback URL again.",
            );
        }
        if !missing {
            sheet.good("fields", "The app is subscribed to what Herald listens to.");
        }
    }
    // The number's override goes before the account's, and that before the app's.
    let of_app = of_app
        .and_then(|found| found.callback_url)
        .or_else(|| number.callback_of_app.clone());
    let of_account = ours
        .and_then(|app| app.override_url.clone())
        .or_else(|| number.callback_of_account.clone());
    let effective = [
        ("number", number.callback_of_number.clone()),
        ("account", of_account),
        ("app", of_app),
    ]
    .into_iter()
    .find_map(|(level, url)| Some((level, url?)));
    match (effective, &asked.public_url) {
        (None, _) => sheet.add("callback", Verdict::Failed, "Meta knows no address for callbacks.", "App Dashboard, WhatsApp, Configuration: set the callback URL and the verify token."),
        (Some((level, url)), None) => sheet.skip("callback", format!("Callbacks go to {url} (set at the {level}); HERALD_PUBLIC_URL is not set, so it was not compared.")),
        (Some((level, url)), Some(public_url)) => {
            let own = webhook_of(public_url);
            if url == own {
                sheet.good("callback", format!("Callbacks go to {url} (set at the {level})."));
            } else {
                sheet.add("callback", Verdict::Failed, format!("Callbacks go to {url} (set at the {level}), not to {own}."), "Take the override away, or set it to this server: the number's goes before the account's, and that before the app's.");
            }
        }
    }
}

async fn templates(
    sheet: &mut Sheet<'_>,
    inspector: &Inspector,
    account: &Account,
    used: &BTreeSet<(String, String)>,
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
            .find(|(has, in_language, _)| has == name && in_language == language);
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
