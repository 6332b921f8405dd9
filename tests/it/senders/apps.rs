//! Several apps behind one webhook: whose signature is good for what.

use herald::{
    domain::credential::CredentialKind,
    engine::{
        admin::senders::{self, NewCredential, SenderAdminActor},
        delivery::sweeper,
    },
};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{SECOND, add, ask, elsewhere, with_graph};
use crate::harness::{APP_SECRET, Database, PHONE_NUMBER_ID, TestApp, VERIFY_TOKEN, sign, status};

crate::tests![
    each_app_speaks_of_its_own_numbers_only,
    a_word_of_another_app_is_not_joined_later,
    a_secret_is_replaced_without_losing_anything,
    numbers_of_one_app_share_its_secret,
    every_verify_token_answers_the_handshake,
    a_secret_that_no_key_opens_makes_503_and_never_401,
    a_callback_of_another_apps_account_changes_nothing,
    an_account_that_was_only_heard_of_is_protected_too,
    a_reply_to_another_apps_message_is_none,
    what_an_app_has_signed_is_its_own_after_the_number_names_it,
    the_same_bytes_of_two_apps_are_two_callbacks,
    the_environments_secret_stays_good_when_its_token_moves,
    what_was_not_believed_stays_dead_when_it_is_replayed,
    an_app_without_a_number_has_no_secrets,
    a_secret_given_to_another_process_is_good_for_the_very_next_callback,
];

const OTHER_SECRET: &str = "secret-of-the-other-app";

/// A callback about a number's message.
fn about(number: &str, statuses: Value) -> Vec<u8> {
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": number },
            "statuses": statuses,
        }}]}],
    })
    .to_string()
    .into_bytes()
}

async fn tell(app: &TestApp, secret: &str, body: Vec<u8>) -> u16 {
    let signature = sign(secret, &body);
    let (code, _) = app.callback_with(body, Some(&signature)).await;
    app.process().await;
    code
}

async fn dead(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM dead_letter WHERE reason LIKE 'signed by a different app%'")
        .await
}

/// Two numbers of two apps, and an accepted message of each: (attempt, wamid, id).
async fn two_apps(database: &Database) -> (TestApp, Vec<(String, String, String)>) {
    let (app, _graph) = with_graph(database, &[]).await;
    let shop = add(
        &app,
        "shop",
        SECOND,
        json!({ "app_id": "222", "credentials": [
            { "kind": "access_token", "value": "token-of-shop-0123456789" },
            { "kind": "app_secret", "value": OTHER_SECRET },
        ]}),
    )
    .await;
    let mut messages = Vec::new();
    for (named, sender) in [(None, app.sender), (Some("shop"), shop)] {
        let id = ask(&app, "+12025550150", named).await;
        app.send_of(sender).await;
        let attempt = app.notification(&id).await["attempts"][0].clone();
        messages.push((
            attempt["id"].as_str().unwrap().to_owned(),
            attempt["provider_message_id"].as_str().unwrap().to_owned(),
            id,
        ));
    }
    (app, messages)
}

async fn each_app_speaks_of_its_own_numbers_only(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let at = app.now().unix_seconds();
    let [(ours, our_wamid, first), (_, their_wamid, second)] = messages.try_into().unwrap();
    // The other app's signature, our number.
    let forged = about(
        PHONE_NUMBER_ID,
        json!([status(&our_wamid, Some(&ours), "read", at, None)]),
    );
    assert_eq!(
        tell(&app, OTHER_SECRET, forged).await,
        200,
        "stored, and not believed"
    );
    assert_eq!(
        (app.status_of(&first).await.as_str(), dead(&app).await),
        ("accepted", 1)
    );
    // The other app's signature and number, our message: by our id, and by its wamid.
    for our_id in [Some(ours.as_str()), None] {
        let forged = about(
            SECOND,
            json!([status(&our_wamid, our_id, "read", at, None)]),
        );
        tell(&app, OTHER_SECRET, forged).await;
        assert_eq!(app.status_of(&first).await, "accepted");
    }
    assert_eq!(dead(&app).await, 3);
    // A number that nobody knows, our message.
    let forged = about(
        "999",
        json!([status(&our_wamid, Some(&ours), "read", at, None)]),
    );
    tell(&app, OTHER_SECRET, forged).await;
    assert_eq!(
        (app.status_of(&first).await.as_str(), dead(&app).await),
        ("accepted", 4)
    );
    // Each of its own.
    let own = about(
        SECOND,
        json!([status(&their_wamid, None, "delivered", at, None)]),
    );
    assert_eq!(tell(&app, OTHER_SECRET, own).await, 200);
    let own = about(
        PHONE_NUMBER_ID,
        json!([status(&our_wamid, Some(&ours), "delivered", at, None)]),
    );
    assert_eq!(tell(&app, APP_SECRET, own).await, 200);
    assert_eq!(
        (
            app.status_of(&first).await.as_str(),
            app.status_of(&second).await.as_str(),
            dead(&app).await
        ),
        ("delivered", "delivered", 4)
    );
    assert_eq!(
        tell(&app, "nobodys-secret", about(SECOND, json!([]))).await,
        401
    );
}

async fn a_word_of_another_app_is_not_joined_later(database: Database) {
    let (app, _) = two_apps(&database).await;
    let at = app.now().unix_seconds();
    let id = ask(&app, "+12025550151", None).await;
    // It guesses the next message id, before there is such a message.
    let forged = about(
        SECOND,
        json!([status("wamid.GRAPH3", None, "read", at, None)]),
    );
    tell(&app, OTHER_SECRET, forged).await;
    app.send_of(app.sender).await;
    assert_eq!(app.status_of(&id).await, "accepted");
    sweeper::parked_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn a_secret_is_replaced_without_losing_anything(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let at = app.now().unix_seconds();
    let (_, wamid, id) = messages[1].clone();
    let body = json!({ "kind": "app_secret", "value": "the-next-secret" });
    let (code, view) = app
        .admin("POST", "/api/v1/senders/shop/credentials", &body)
        .await;
    assert_eq!(code, 201);
    // Both are good while the app is being changed over.
    for (secret, word) in [
        (OTHER_SECRET, "sent"),
        ("the-next-secret", "delivered"),
        (OTHER_SECRET, "read"),
    ] {
        let told = about(SECOND, json!([status(&wamid, None, word, at, None)]));
        assert_eq!(tell(&app, secret, told).await, 200);
    }
    assert_eq!(app.status_of(&id).await, "read");
    let old = view["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["kind"] == "app_secret")
        .unwrap();
    let path = format!(
        "/api/v1/senders/shop/credentials/{}",
        old["id"].as_str().unwrap()
    );
    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 200);
    assert_eq!(
        tell(&app, OTHER_SECRET, about(SECOND, json!([]))).await,
        401
    );
    assert_eq!(
        tell(&app, "the-next-secret", about(SECOND, json!([]))).await,
        200
    );
}

async fn numbers_of_one_app_share_its_secret(database: Database) {
    let (app, _graph) = with_graph(&database, &[]).await;
    let secret = json!([{ "kind": "access_token", "value": "token-of-the-first-0123" }, { "kind": "app_secret", "value": OTHER_SECRET }]);
    add(
        &app,
        "first",
        SECOND,
        json!({ "app_id": "222", "credentials": secret }),
    )
    .await;
    let third = add(&app, "third", "106540352242924", json!({ "app_id": "222" })).await;
    let id = ask(&app, "+12025550150", Some("third")).await;
    app.send_of(third).await;
    let at = app.now().unix_seconds();
    let told = about(
        "106540352242924",
        json!([status("wamid.GRAPH1", None, "delivered", at, None)]),
    );
    assert_eq!(tell(&app, APP_SECRET, told.clone()).await, 200);
    assert_eq!(
        app.status_of(&id).await,
        "accepted",
        "the environment's app is another"
    );
    let told = about(
        "106540352242924",
        json!([status("wamid.GRAPH1", None, "read", at, None)]),
    );
    assert_eq!(tell(&app, OTHER_SECRET, told).await, 200);
    assert_eq!(app.status_of(&id).await, "read");
    // A number that names no app has the environment's.
    let fourth = add(&app, "fourth", "106540352242925", json!({})).await;
    let id = ask(&app, "+12025550151", Some("fourth")).await;
    app.send_of(fourth).await;
    let told = about(
        "106540352242925",
        json!([status("wamid.GRAPH2", None, "delivered", at, None)]),
    );
    assert_eq!(tell(&app, APP_SECRET, told).await, 200);
    assert_eq!(app.status_of(&id).await, "delivered");
}

async fn every_verify_token_answers_the_handshake(database: Database) {
    let app = TestApp::spawn(&database).await;
    let verify = async |token: &str| {
        let path = format!(
            "/webhooks/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}"
        );
        app.text(&path).await
    };
    assert_eq!(verify("another-verify-token").await.0, 403);
    add(
        &app,
        "shop",
        SECOND,
        json!({ "credentials": [{ "kind": "verify_token", "value": "another-verify-token" }] }),
    )
    .await;
    for token in [VERIFY_TOKEN, "another-verify-token"] {
        assert_eq!(verify(token).await, (200, "1158201444".to_owned()));
    }
    assert_eq!(verify("nobodys").await.0, 403);
}

async fn a_secret_that_no_key_opens_makes_503_and_never_401(database: Database) {
    let (app, _) = two_apps(&database).await;
    // As a process sees it that has the old key still, after the key was replaced.
    app.sql("UPDATE credential SET sealed = 'v1:00000000:' || substr(sealed, 13)")
        .await;
    app.sql("UPDATE setting SET value = '1000' WHERE name = 'senders_revision'")
        .await;
    assert_eq!(
        tell(&app, "nobodys-secret", about(SECOND, json!([]))).await,
        503,
        "it may be right"
    );
    assert_eq!(
        tell(&app, OTHER_SECRET, about(SECOND, json!([]))).await,
        503
    );
    assert_eq!(
        tell(&app, APP_SECRET, about(PHONE_NUMBER_ID, json!([]))).await,
        200
    );
    let (_, view) = app.admin("GET", "/api/v1/senders/shop", &Value::Null).await;
    assert!(
        view["reason"]
            .as_str()
            .unwrap()
            .contains("another HERALD_SECRET_KEY"),
        "{view}"
    );
    assert_eq!(view["credentials"][0]["masked"], Value::Null);
}

async fn a_callback_of_another_apps_account_changes_nothing(database: Database) {
    let (app, _) = two_apps(&database).await;
    app.admin(
        "PATCH",
        &format!("/api/v1/senders/{}", app.sender),
        &json!({ "waba_id": "102290129340398" }),
    )
    .await;
    let restricted = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "time": app.now().unix_seconds(), "changes": [{ "field": "account_update",
            "value": { "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE", "waba_ban_date": "January 1, 2026" } } }] }],
    });
    let body = restricted.to_string().into_bytes();
    assert_eq!(tell(&app, OTHER_SECRET, body.clone()).await, 200);
    let state =
        async || app.get(&format!("/api/v1/senders/{}", app.sender)).await.1["state"].clone();
    assert_eq!((state().await, dead(&app).await), (json!("active"), 1));
    let again = [body, b" ".to_vec()].concat();
    assert_eq!(tell(&app, APP_SECRET, again).await, 200);
    assert_eq!(state().await, "held");
}

fn restricted(account: &str, number: Option<&str>, at: i64) -> Vec<u8> {
    let mut changes = vec![json!({ "field": "account_update",
        "value": { "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE", "waba_ban_date": "January 1, 2026" } } })];
    if let Some(number) = number {
        changes.push(json!({ "field": "messages", "value": { "messaging_product": "whatsapp",
            "metadata": { "phone_number_id": number }, "statuses": [status("wamid.NOBODYS", None, "sent", at, None)] } }));
    }
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": account, "time": at, "changes": changes }] })
        .to_string()
        .into_bytes()
}

async fn an_account_that_was_only_heard_of_is_protected_too(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let at = app.now().unix_seconds();
    let state = async || app.get(&format!("/api/v1/senders/{}", app.sender)).await.1;
    // Nobody has this account yet: with several apps that is nobody's word.
    tell(&app, OTHER_SECRET, restricted("102290129340398", None, at)).await;
    // Our number is heard of, with its account.
    let (attempt, wamid, _) = messages[0].clone();
    let heard = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": [{ "field": "messages",
        "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": PHONE_NUMBER_ID },
            "statuses": [status(&wamid, Some(&attempt), "sent", at, None)] } }] }] });
    assert_eq!(
        tell(&app, APP_SECRET, heard.to_string().into_bytes()).await,
        200
    );
    assert_eq!(
        (&state().await["account"], &state().await["state"]),
        (&json!("102290129340398"), &json!("active"))
    );
    // The other app's number does not walk into it, and its word is not taken.
    tell(
        &app,
        OTHER_SECRET,
        restricted("102290129340398", Some(SECOND), at + 1),
    )
    .await;
    let (_, shop) = app.get("/api/v1/senders/shop").await;
    assert_eq!(
        (&shop["account"], &state().await["state"]),
        (&Value::Null, &json!("active"))
    );
    tell(
        &app,
        OTHER_SECRET,
        restricted("102290129340398", None, at + 2),
    )
    .await;
    assert_eq!(state().await["state"], "active");
    tell(
        &app,
        APP_SECRET,
        restricted("102290129340398", None, at + 3),
    )
    .await;
    assert_eq!(state().await["state"], "held");
}

fn reply(number: &str, id: &str, to: &str, at: i64) -> Vec<u8> {
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": {
        "messaging_product": "whatsapp", "metadata": { "phone_number_id": number },
        "contacts": [{ "wa_id": "12025550199", "profile": { "name": "Asha" } }],
        "messages": [{ "from": "12025550199", "id": id, "timestamp": at.to_string(), "type": "text",
            "text": { "body": "STOP" }, "context": { "id": to } }] } }] }] })
    .to_string()
    .into_bytes()
}

async fn a_reply_to_another_apps_message_is_none(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let (_, wamid, id) = messages[0].clone();
    let at = app.now().unix_seconds();
    tell(&app, OTHER_SECRET, reply(SECOND, "wamid.IN1", &wamid, at)).await;
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE replied")
            .await,
        0
    );
    // And nobody opts out by a number that nobody knows.
    let before = app.number("SELECT count(*) FROM inbound_message").await;
    tell(&app, OTHER_SECRET, reply("999", "wamid.IN2", &wamid, at)).await;
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        before
    );
    tell(
        &app,
        APP_SECRET,
        reply(PHONE_NUMBER_ID, "wamid.IN3", &wamid, at),
    )
    .await;
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE replied")
            .await,
        1
    );
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn what_an_app_has_signed_is_its_own_after_the_number_names_it(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let shop = add(&app, "shop", SECOND, json!({ "credentials": [
        { "kind": "access_token", "value": "token-of-shop-0123456789" }, { "kind": "app_secret", "value": OTHER_SECRET } ] })).await;
    let id = ask(&app, "+12025550150", Some("shop")).await;
    app.send_of(shop).await;
    assert_eq!(graph.accepted(), 1);
    let body = about(
        SECOND,
        json!([status(
            "wamid.GRAPH1",
            None,
            "delivered",
            app.now().unix_seconds(),
            None
        )]),
    );
    let signature = sign(OTHER_SECRET, &body);
    assert_eq!(app.callback_with(body, Some(&signature)).await.0, 200);
    // Stored, and not yet processed, when the number is said to be of app 222.
    let (code, _) = app
        .admin("PATCH", "/api/v1/senders/shop", &json!({ "app_id": "222" }))
        .await;
    assert_eq!(code, 200);
    app.process().await;
    assert_eq!(
        (app.status_of(&id).await.as_str(), dead(&app).await),
        ("delivered", 0)
    );
}

async fn the_same_bytes_of_two_apps_are_two_callbacks(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let (attempt, wamid, id) = messages[0].clone();
    let body = about(
        PHONE_NUMBER_ID,
        json!([status(
            &wamid,
            Some(&attempt),
            "delivered",
            app.now().unix_seconds(),
            None
        )]),
    );
    assert_eq!(tell(&app, OTHER_SECRET, body.clone()).await, 200);
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(tell(&app, APP_SECRET, body.clone()).await, 200);
    assert_eq!(
        app.status_of(&id).await,
        "delivered",
        "the right app's copy is no repeat"
    );
    let stored = app.callbacks_stored().await;
    assert_eq!(tell(&app, APP_SECRET, body).await, 200);
    assert_eq!(app.callbacks_stored().await, stored, "this one is");
}

async fn the_environments_secret_stays_good_when_its_token_moves(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let path = format!("/api/v1/senders/{}", app.sender);
    let (code, _) = app.admin("PATCH", &path, &json!({ "app_id": "111" })).await;
    assert_eq!(code, 200);
    let body = json!({ "kind": "access_token", "value": "token-of-the-database-01" });
    assert_eq!(
        app.admin("POST", &format!("{path}/credentials"), &body)
            .await
            .0,
        201
    );
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(
        &url,
        &[
            ("WHATSAPP_ACCESS_TOKEN", ""),
            ("WHATSAPP_API_BASE", &graph.base),
        ],
    )
    .await;
    app.apply_catalogue(crate::harness::DEMO).await;
    let id = ask(&app, "+12025550150", None).await;
    app.send_of(app.sender).await;
    let told = about(
        PHONE_NUMBER_ID,
        json!([status(
            "wamid.GRAPH1",
            None,
            "delivered",
            app.now().unix_seconds(),
            None
        )]),
    );
    assert_eq!(tell(&app, APP_SECRET, told).await, 200);
    assert_eq!(
        (app.status_of(&id).await.as_str(), dead(&app).await),
        ("delivered", 0)
    );
}

async fn what_was_not_believed_stays_dead_when_it_is_replayed(database: Database) {
    let (app, messages) = two_apps(&database).await;
    let (attempt, wamid, id) = messages[0].clone();
    let forged = about(
        SECOND,
        json!([status(
            &wamid,
            Some(&attempt),
            "read",
            app.now().unix_seconds(),
            None
        )]),
    );
    tell(&app, OTHER_SECRET, forged).await;
    let callback = app.newest_callback().await;
    assert_eq!((dead(&app).await, app.newest_counts().await.1), (1, 1));
    let applied = app.replay(callback).await;
    assert_eq!(applied.dead, 1);
    let open = app
        .number("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL")
        .await;
    assert_eq!((open, app.status_of(&id).await.as_str()), (1, "accepted"));
}

async fn an_app_without_a_number_has_no_secrets(database: Database) {
    let (app, _) = two_apps(&database).await;
    assert_eq!(
        app.admin("PATCH", "/api/v1/senders/shop", &json!({ "app_id": "333" }))
            .await
            .0,
        200
    );
    assert_eq!(
        app.number("SELECT count(*) FROM credential WHERE active AND kind = 'app_secret'")
            .await,
        0
    );
    assert_eq!(
        tell(&app, OTHER_SECRET, about(SECOND, json!([]))).await,
        401
    );
    let (_, page) = app
        .admin("GET", "/api/v1/audit?subject=shop&limit=1", &Value::Null)
        .await;
    assert_eq!(page["entries"][0]["detail"]["secrets_deactivated"], 1);
}

async fn a_secret_given_to_another_process_is_good_for_the_very_next_callback(database: Database) {
    let (app, _) = two_apps(&database).await;
    let body = about(SECOND, json!([]));
    // Somebody forges, so that this process has just looked.
    assert_eq!(tell(&app, "forged", body.clone()).await, 401);
    let other = elsewhere(&app);
    let new = NewCredential {
        kind: CredentialKind::AppSecret,
        value: SecretString::from("the-next-secret"),
        expires_at: None,
    };
    let by = SenderAdminActor {
        actor: "tests",
        now: app.now(),
        key: None,
    };
    let shop = herald::store::sender::named(app.store.reader(), "shop")
        .await
        .unwrap()
        .unwrap();
    senders::add_credential(&other, by, shop.id, &new, [7; 24])
        .await
        .unwrap();
    // A flood of forged ones beside it changes nothing.
    let forged = (0..10).map(async |number| tell_of(&app, "forged", number).await);
    let (code, forged) = tokio::join!(
        tell(&app, "the-next-secret", body),
        futures_util::future::join_all(forged)
    );
    assert_eq!(code, 200);
    assert_eq!(forged, [401; 10]);
}

/// A callback that differs from the others.
async fn tell_of(app: &TestApp, secret: &str, number: i64) -> u16 {
    let body = about(SECOND, json!([number]));
    let signature = sign(secret, &body);
    app.callback_with(body, Some(&signature)).await.0
}
