//! News that stop sending: they hold the senders that they name, wherever they name them, and raise
//! an alarm.

use herald::engine::insight::attention;
use serde_json::{Value, json};

use super::{app, told};
use crate::harness::{Database, PHONE_NUMBER_ID, TestApp};

crate::tests![
    a_removed_partner_holds_the_account_that_the_news_names,
    news_of_one_number_hold_that_number_only,
    a_number_that_is_learned_later_is_held_then,
    what_was_said_of_an_account_and_of_its_number_holds_until_both_are_over,
];

const AT: i64 = 1_767_225_600;
const OTHER_NUMBER: &str = "106540352242999";

/// A second sender in the account of the first one.
async fn with_two_senders(database: &Database) -> TestApp {
    let app = app(database).await;
    let body =
        json!({ "name": "second", "phone_number_id": OTHER_NUMBER, "waba_id": super::ACCOUNT });
    let (code, made) = app.admin("POST", "/api/v1/senders", &body).await;
    assert_eq!(code, 201, "{made}");
    heard(&app, PHONE_NUMBER_ID, "15550783881").await;
    heard(&app, OTHER_NUMBER, "+1 555-078-3882").await;
    app
}

async fn heard(app: &TestApp, id: &str, number: &str) {
    let metadata = json!({ "display_phone_number": number, "phone_number_id": id });
    told(
        app,
        "messages",
        None,
        json!({ "metadata": metadata, "statuses": [], "x": number }),
    )
    .await;
}

/// Whether each sender sends, the first one first.
async fn held(app: &TestApp) -> Vec<bool> {
    let (_, senders) = app.get("/api/v1/senders").await;
    let senders = senders.as_array().unwrap();
    senders.iter().map(|row| row["state"] == "held").collect()
}

/// What the Overview says of restricted accounts.
async fn restricted(app: &TestApp) -> Vec<String> {
    let found = attention::findings(&app.engine, app.now()).await.unwrap();
    let mut said: Vec<String> = found
        .into_iter()
        .filter(|finding| finding.kind.name() == "account_restricted")
        .map(|finding| format!("{} {}", finding.summary, finding.meaning))
        .collect();
    said.sort();
    said
}

async fn a_removed_partner_holds_the_account_that_the_news_names(database: Database) {
    for event in ["PARTNER_REMOVED", "PARTNER_APP_UNINSTALLED"] {
        let app = with_two_senders(&database).await;
        let of_another =
            json!({ "event": event, "waba_info": { "waba_id": "555", "owner_business_id": "1" } });
        told(&app, "account_update", Some(AT), of_another).await;
        assert_eq!(held(&app).await, [false, false]);
        assert!(
            restricted(&app).await.is_empty(),
            "none of our senders is in it"
        );
        // As a partner gets it: the entry is another's.
        let value = json!({ "event": event, "waba_info": { "waba_id": super::ACCOUNT, "owner_business_id": "2329417887457253" },
            "disconnection_info": { "reason": "USER_INITIATED", "initiated_by": "BUSINESS" } });
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "999", "time": AT + 1,
            "changes": [{ "field": "account_update", "value": value }] }] });
        assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
        app.process().await;
        assert_eq!(held(&app).await, [true, true]);
        let said = restricted(&app).await;
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("second") && said[0].contains("their messages wait"),
            "{said:?}"
        );
        let id = app.order("A-1", "+12025550101").await;
        app.send().await;
        assert_eq!(app.status_of(&id).await, "queued");
        let back = json!({ "event": "PARTNER_ADDED", "waba_info": { "waba_id": super::ACCOUNT } });
        told(&app, "account_update", Some(AT + 2), back).await;
        assert_eq!(held(&app).await, [false, false]);
        assert!(restricted(&app).await.is_empty());
        app.send().await;
        assert_eq!(app.status_of(&id).await, "accepted");
    }
}

fn offboarded(number: &str) -> Value {
    json!({ "event": "ACCOUNT_OFFBOARDED", "phone_number": number,
        "disconnection_info": { "reason": "DEVICE_CHANGED", "initiated_by": "USER" } })
}

async fn news_of_one_number_hold_that_number_only(database: Database) {
    let app = with_two_senders(&database).await;
    told(&app, "account_update", Some(AT), offboarded("15550783882")).await;
    assert_eq!(held(&app).await, [false, true]);
    let said = restricted(&app).await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("Held: second."), "{said:?}");
    // A number that is none of ours concerns nobody, as all of ours are known.
    told(&app, "account_update", Some(AT), offboarded("15550783999")).await;
    assert_eq!(held(&app).await, [false, true]);
    assert_eq!(restricted(&app).await.len(), 1);
    let back = json!({ "event": "ACCOUNT_RECONNECTED", "phone_number": "15550783882" });
    told(&app, "account_update", Some(AT + 1), back).await;
    assert_eq!(held(&app).await, [false, false]);
}

async fn a_number_that_is_learned_later_is_held_then(database: Database) {
    let app = app(&database).await;
    let account = json!({ "waba_id": super::ACCOUNT });
    let (_, senders) = app.get("/api/v1/senders").await;
    let id = senders[0]["id"].as_str().unwrap();
    let (code, _) = app
        .admin("PATCH", &format!("/api/v1/senders/{id}"), &account)
        .await;
    assert_eq!(code, 200);
    told(&app, "account_update", Some(AT), offboarded("15550783881")).await;
    assert_eq!(held(&app).await, [false]);
    let said = restricted(&app).await;
    assert!(said[0].contains("not known yet which sender"), "{said:?}");
    // A callback says how people write it.
    heard(&app, PHONE_NUMBER_ID, "15550783881").await;
    assert_eq!(held(&app).await, [true]);
    let (_, senders) = app.get("/api/v1/senders").await;
    assert_eq!(senders[0]["number"], "15550783881");
    assert!(restricted(&app).await[0].contains("Held: "));
}

async fn what_was_said_of_an_account_and_of_its_number_holds_until_both_are_over(
    database: Database,
) {
    let app = with_two_senders(&database).await;
    let disabled = |state: &str| json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": state } });
    told(&app, "account_update", Some(AT), offboarded("15550783882")).await;
    told(&app, "account_update", Some(AT + 1), disabled("DISABLE")).await;
    assert_eq!(held(&app).await, [true, true]);
    // The number is back, its account is not.
    let back = json!({ "event": "ACCOUNT_RECONNECTED", "phone_number": "15550783882" });
    told(&app, "account_update", Some(AT + 2), back).await;
    assert_eq!(held(&app).await, [true, true]);
    told(&app, "account_update", Some(AT + 3), disabled("REINSTATE")).await;
    assert_eq!(held(&app).await, [false, false]);
    // The number goes again after the account came back.
    told(
        &app,
        "account_update",
        Some(AT + 4),
        offboarded("15550783882"),
    )
    .await;
    assert_eq!(held(&app).await, [false, true]);
    // A newer word of the whole account is one of the number, too.
    told(
        &app,
        "account_update",
        Some(AT + 5),
        json!({ "event": "ACCOUNT_RECONNECTED" }),
    )
    .await;
    assert_eq!(held(&app).await, [false, false]);
    assert!(restricted(&app).await.is_empty());
}
