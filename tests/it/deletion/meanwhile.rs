//! What is said and written of somebody while they are deleted, and after it.

use herald::{
    domain::preference::{ConsentChange, ConsentScope},
    engine::delivery,
    store::{
        DatabaseTransaction, alias,
        people::{self, StaffEntryKind},
        suppression,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CATALOGUE, add, hello};
use crate::harness::{Database, TestApp, status, while_open};

crate::tests![
    an_opt_out_that_a_failure_tells_after_a_deletion_is_of_the_number,
    a_refusal_and_a_link_that_are_being_written_are_seen_by_a_deletion,
    what_arrives_while_somebody_is_deleted_is_of_somebody_new,
    a_route_does_not_name_a_user_who_is_being_deleted,
    a_name_that_is_told_of_two_goes_to_whoever_is_there,
];

const PHONE: &str = "+12025550111";
const PHONE_2: &str = "+12025550112";
const USER_ID: &str = "US.13491208655302741918";
/// Nothing but a contact's row itself is left of who was deleted.
const LEFT: [&str; 5] = [
    "contact_alias",
    "suppression",
    "preference",
    "conversation",
    "user_account",
];

const OFFER: &str = r#"
name = "offers"
[[template]]
name = "offer"
category = "marketing"
body = "An offer."
"#;

async fn offer(app: &TestApp, to: &str) -> String {
    let body = json!({ "to": to, "template": "offer" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn delete(app: &TestApp, path: &str) -> (u16, Value) {
    app.admin("DELETE", path, &Value::Null).await
}

async fn is_empty(app: &TestApp) {
    for table in LEFT {
        let sql = format!(
            "SELECT count(*) FROM {table} t JOIN contact c ON c.id = t.contact_id WHERE c.deleted_at IS NOT NULL"
        );
        assert_eq!(app.number(&sql).await, 0, "{table}");
    }
}

async fn an_opt_out_that_a_failure_tells_after_a_deletion_is_of_the_number(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(OFFER).await;
    for (to, key) in [(PHONE, "phone"), (USER_ID, "user_id")] {
        let path = add(&app, &json!({ key: to })).await;
        let sent = offer(&app, to).await;
        app.send().await;
        assert_eq!(delete(&app, &path).await.0, 200);
        app.told(&sent, "failed", Some(131_050)).await;
        let next = offer(&app, to).await;
        let next = app.notification(&next).await;
        assert_eq!(
            next["reason"], "the person has opted out of marketing",
            "{next}"
        );
    }
    // The same, when the answer to the call says so.
    let path = add(&app, &json!({"phone": "+12025550112"})).await;
    let sent = offer(&app, "+12025550112").await;
    let slots = delivery::ProviderCallSlots::each(1);
    let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    assert_eq!(delete(&app, &path).await.0, 200);
    app.meta.will_answer(&[(
        400,
        r#"{"error":{"code":131050,"message":"User has stopped marketing messages"}}"#,
    )]);
    app.answer(claim).await;
    assert_eq!(app.status_of(&sent).await, "failed");
    let next = offer(&app, "+12025550112").await;
    assert_eq!(app.status_of(&next).await, "skipped");
    is_empty(&app).await;
    // A failure that calls them by another name, too.
    let path = add(&app, &json!({"phone": "+12025550114", "user_id": "US.777"})).await;
    let sent = offer(&app, "+12025550114").await;
    app.send().await;
    assert_eq!(delete(&app, &path).await.0, 200);
    let wamid = app.notification(&sent).await["attempts"][0]["provider_message_id"].clone();
    let at = app.now().unix_seconds();
    let mut told = status(wamid.as_str().unwrap(), None, "failed", at, Some(131_050));
    told["recipient_id"] = json!("12025550114");
    told["recipient_user_id"] = json!("US.777");
    app.callback(json!({ "statuses": [told] })).await;
    for to in ["+12025550114", "US.777"] {
        let next = offer(&app, to).await;
        assert_eq!(app.status_of(&next).await, "skipped", "{to}");
    }
    // What the pair is told to wait for is of nobody any more.
    let path = add(&app, &json!({"phone": "+12025550115"})).await;
    offer(&app, "+12025550115").await;
    let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    assert_eq!((claim.jobs.len(), delete(&app, &path).await.0), (1, 200));
    let pair = r#"{"error":{"code":131056,"message":"Pair rate limit hit"}}"#;
    app.meta.will_answer(&[(400, pair)]);
    app.answer(claim).await;
    is_empty(&app).await;
    // A number that was not told of is free.
    let other = offer(&app, "+12025550113").await;
    assert_eq!(app.status_of(&other).await, "queued");
}

fn id(path: &str) -> Uuid {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

async fn a_refusal_and_a_link_that_are_being_written_are_seen_by_a_deletion(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": PHONE, "name": "Mina"})).await;
    let now = app.now();
    let word = async |tx: &DatabaseTransaction| {
        let of_phone = alias::ContactAlias {
            kind: alias::ContactAliasKind::Phone,
            value: PHONE.to_owned(),
        };
        let known = herald::store::identity::known(tx, &[of_phone]).await?;
        let wish = ConsentChange {
            scope: ConsentScope::All,
            wanted: false,
            source: "word",
            at: now,
        };
        suppression::set(tx, known[0].holder.contact, &wish, None, now).await?;
        Ok(())
    };
    let (code, deleted) = while_open(&app, word, delete(&app, &path)).await;
    assert_eq!(
        (code, &deleted["refusal_kept"]),
        (200, &json!(true)),
        "{deleted}"
    );
    let next = hello(&app, PHONE).await;
    assert_eq!(app.status_of(&next).await, "skipped");

    let path = add(&app, &json!({"phone": "+12025550112"})).await;
    let waiting = hello(&app, "+12025550112").await;
    let link = async |tx: &DatabaseTransaction| {
        people::keep_found(tx, id(&path)).await?;
        people::link_user(tx, "ravi", Some(id(&path)), now)
            .await
            .map(drop)
    };
    let (code, problem) = while_open(&app, link, delete(&app, &path)).await;
    assert_eq!(code, 422, "{problem}");
    assert_eq!(app.get(&path).await.0, 200);
    // Nothing is cancelled for a deletion that did not come about.
    assert_eq!(app.status_of(&waiting).await, "queued");
}

async fn what_arrives_while_somebody_is_deleted_is_of_somebody_new(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!(
        "{CATALOGUE}{}",
        OFFER.replace("name = \"offers\"", "")
    ))
    .await;
    let person = json!({"phone": PHONE, "user_id": USER_ID, "name": "Mina", "handle": "late"});
    let now = app.now();
    let removal = |contact: Uuid| {
        async move |tx: &DatabaseTransaction| {
            assert!(people::lock(tx, contact).await?);
            people::delete_contact(tx, contact, false, now)
                .await
                .map(drop)
        }
    };
    // A word to stop, by what WhatsApp calls them.
    let path = add(&app, &person).await;
    let word = Box::pin(app.callback(json!({ "messages": [{
        "from": "12025550111", "from_user_id": USER_ID, "id": "wamid.STOP",
        "timestamp": now.unix_seconds().to_string(), "type": "text", "text": {"body": "STOP"},
    }] })));
    while_open(&app, removal(id(&path)), word).await;
    let next = hello(&app, PHONE).await;
    assert_eq!(app.status_of(&next).await, "skipped");
    is_empty(&app).await;

    // What people and products say of them: it is not found, or is about somebody new.
    let user = "/api/v1/users/ravi/contact";
    let unwanted = json!({"preferences": [{"kind": "shop.news", "wanted": false}]});
    let requests = async |path: &str, turn: usize| match turn {
        0 => {
            app.admin("PATCH", path, &json!({"phone": "+12025550130"}))
                .await
        }
        1 => {
            app.admin("PUT", &format!("{path}/preferences"), &unwanted)
                .await
        }
        2 => {
            app.admin(
                "POST",
                "/api/v1/contacts",
                &json!({"phone": PHONE_2, "name": "M"}),
            )
            .await
        }
        3 => app.admin("PUT", user, &json!({"contact": PHONE_2})).await,
        _ => {
            app.admin("PUT", user, &json!({"contact": "contact:late"}))
                .await
        }
    };
    let person = json!({"phone": PHONE_2, "user_id": "US.7777777", "handle": "late"});
    for (turn, expected) in [404, 404, 201, 200, 422].into_iter().enumerate() {
        app.admin("PUT", user, &json!({"contact": null})).await;
        let path = add(&app, &person).await;
        let (code, answer) = while_open(&app, removal(id(&path)), requests(&path, turn)).await;
        assert_eq!(code, expected, "{turn}: {answer}");
        is_empty(&app).await;
        assert_eq!(app.get(&path).await.0, 404, "{turn}: {answer}");
    }
    // A catalogue that has their number.
    let path = add(&app, &json!({"phone": "+12025550114"})).await;
    let catalogue = "name = \"late\"\n[[contact]]\nname = \"later\"\nphone = \"+12025550114\"\n";
    while_open(&app, removal(id(&path)), app.apply_catalogue(catalogue)).await;
    assert_eq!(app.get(&path).await.0, 404);
    // A failure that tells of their wish.
    let path = add(&app, &json!({"phone": "+12025550115"})).await;
    let sent = offer(&app, "+12025550115").await;
    app.send().await;
    let failure = Box::pin(app.told(&sent, "failed", Some(131_050)));
    while_open(&app, removal(id(&path)), failure).await;
    let next = offer(&app, "+12025550115").await;
    assert_eq!(app.status_of(&next).await, "skipped");
    is_empty(&app).await;
}

async fn a_route_does_not_name_a_user_who_is_being_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let catalogue = "name = \"late\"\n[[route]]\nname = \"late\"\nevent = \"shop.late\"\nto = \"user:mina\"\ntemplate = \"hello\"\n";
    let user = "/api/v1/users/mina";
    assert_eq!(app.admin("PUT", user, &Value::Null).await.0, 201);
    let removal = async |tx: &DatabaseTransaction| {
        people::lock_staff(tx, StaffEntryKind::User, "mina").await?;
        people::delete_staff(tx, StaffEntryKind::User, "mina").await
    };
    let applied = while_open(&app, removal, app.try_catalogue(catalogue)).await;
    let said = applied.unwrap_err().join("\n");
    assert!(said.contains("to: there is no user mina"), "{said}");
    // The other way round: a deletion waits for whoever needs the user.
    assert_eq!(app.admin("PUT", user, &Value::Null).await.0, 201);
    let need = async |tx: &DatabaseTransaction| {
        people::keep_staff(tx, StaffEntryKind::User, "mina")
            .await
            .map(drop)
    };
    let deletion = app.admin("DELETE", user, &Value::Null);
    assert_eq!(while_open(&app, need, deletion).await.0, 204);
}

async fn a_name_that_is_told_of_two_goes_to_whoever_is_there(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let mut told = Vec::new();
    for deleted in [true, false] {
        let path = add(&app, &json!({"phone": PHONE})).await;
        let sent = hello(&app, PHONE).await;
        app.send().await;
        let wamid = app.notification(&sent).await["attempts"][0]["provider_message_id"].clone();
        let at = app.now().unix_seconds();
        let mut status = status(wamid.as_str().unwrap(), None, "delivered", at, None);
        status["recipient_id"] = json!(PHONE.trim_start_matches('+'));
        status["recipient_user_id"] = json!(USER_ID);
        told.push(status);
        if deleted {
            assert_eq!(delete(&app, &path).await.0, 200);
        }
    }
    app.callback(json!({ "statuses": told })).await;
    let (_, by_number) = app.get("/api/v1/contacts?phone=%2B12025550111").await;
    let (code, by_id) = app
        .get(&format!("/api/v1/contacts?user_id={USER_ID}"))
        .await;
    assert_eq!((code, &by_id["id"]), (200, &by_number["id"]), "{by_id}");
}
