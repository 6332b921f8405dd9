//! What is Meta's side: token, number, account, subscription, callback, templates.

mod number;
mod subscription;
mod templates;
mod token;

use std::collections::BTreeSet;

use super::{Area, Asked, Row, Verdict};
use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        runtime::keyring::{Account, Token},
    },
    providers::{
        HttpClient,
        meta::inspect::{Inspector, Refusal},
    },
    store::{StoreError, catalogue},
};

/// Codes of limits and of troubles at Meta that pass: they say nothing of what was asked
/// (Meta, "Handle errors", "Rate limits").
const PASSING: [i64; 5] = [2, 4, 17, 613, 80_008];

fn is_passing(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Refused { code, .. } => PASSING.contains(code),
        Refusal::Unreachable | Refusal::Unreadable(_) | Refusal::Endless => true,
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
        .filter(|account| asked.sender.is_none_or(|sender| sender == account.id))
    {
        let mut sheet = Sheet {
            name: &account.name,
            rows: Vec::new(),
        };
        one(&mut sheet, account, engine, &used, asked, http, now).await;
        rows.extend(sheet.rows);
    }
    Ok(rows)
}

async fn one(
    sheet: &mut Sheet<'_>,
    account: &Account,
    engine: &Engine,
    used: &BTreeSet<(String, String)>,
    asked: &Asked,
    http: &HttpClient,
    now: Timestamp,
) {
    let (Token::Ready(token), Some(number)) = (&account.token, &account.phone_number_id) else {
        let why = account.obstacle().unwrap_or_default();
        if !asked.is_enabled && matches!(account.token, Token::Missing) {
            sheet.skip("token", format!("{why}; nothing is sent anyway."));
            return;
        }
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
            if token::is_refused(sheet, &refusal) {
                return;
            }
            None
        }
    };
    if let Some(facts) = &facts {
        token::facts(sheet, account, facts, now);
    }
    let number = match inspector.number(number).await {
        Ok(found) => found,
        Err(refusal) => {
            if !token::is_refused(sheet, &refusal) {
                sheet.add("number", if is_passing(&refusal) { Verdict::Warning } else { Verdict::Failed }, format!("The number cannot be looked at: {refusal}."), "Is WHATSAPP_PHONE_NUMBER_ID Meta's id of the number (not the number itself), and in an account that the token may use?");
            }
            return;
        }
    };
    number::facts(sheet, &number, now);
    let app_id = account
        .scope
        .strip_prefix("app:")
        .map(str::to_owned)
        .or_else(|| facts.as_ref().and_then(|facts| facts.app_id.clone()));
    subscription::look(
        sheet,
        &inspector,
        account,
        app_id.as_deref(),
        &engine.keyring(),
        &number,
        asked,
    )
    .await;
    let suffix = engine.settings.template_suffix.as_deref();
    templates::look(sheet, &inspector, account, used, suffix).await;
}
