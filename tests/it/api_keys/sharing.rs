//! Two products and one person: what is shared between them, and what is not.

use serde_json::{Value, json};

use super::{CLINIC_NUMBER, ask, id_of, key, two, write};
use crate::harness::{APP_SECRET, Database, PHONE_NUMBER_ID};

crate::tests![
    nobody_occupies_another_products_source_and_id,
    two_keys_of_one_product_see_the_same_and_one_ledger,
    what_a_product_says_of_a_person_is_its_own,
    a_number_that_others_know_is_not_changed_for_them,
    preferences_hold_for_the_product_that_set_them,
    an_opt_out_and_a_deletion_hold_for_all,
    a_person_who_writes_is_seen_by_whom_they_wrote_to,
    a_dedupe_key_of_one_product_stops_no_other,
    a_key_sends_with_its_own_sender_and_sees_what_went_out_by_it,
    what_a_rule_makes_belongs_to_the_product_of_its_message,
    what_herald_says_itself_belongs_to_the_product_of_the_catalogue,
    an_event_names_only_whom_its_product_may_name,
];

const PHONE: &str = "+12025550101";

async fn nobody_occupies_another_products_source_and_id(database: Database) {
    let two = two(&database).await;
    let body = json!({ "id": "1", "source": "shop", "type": "clinic.order", "data": {} });
    for source in ["shop", "shop/eu", "herald", "clinics"] {
        let mut body = body.clone();
        body["source"] = json!(source);
        let (code, problem) = ask(&two.app, &two.clinic, "POST", "/api/v1/events", &body).await;
        assert_eq!(code, 403, "{source}");
        assert_eq!(problem["type"], "/problems/forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("source"));
    }
    assert_eq!(two.app.number("SELECT count(*) FROM event").await, 0);
    // So that the real one is the first.
    let answer = two.order(&two.shop, "shop", "1", PHONE).await;
    assert_eq!(answer["duplicate"], false);
}

async fn two_keys_of_one_product_see_the_same_and_one_ledger(database: Database) {
    let two = two(&database).await;
    let next = key(
        &two.app,
        json!({ "product": "shop", "source": "shop", "senders": [two.app.sender], "catalogue": "shop" }),
    )
    .await;
    let made = two.order(&two.shop, "shop", "1", PHONE).await;
    let path = format!("/api/v1/events/{}", id_of(&made));
    let (code, _) = ask(&two.app, &next, "GET", &path, &Value::Null).await;
    assert_eq!(code, 200);
    // A repeat under the key that replaces the first is the same request.
    let body = json!({ "to": PHONE, "template": "shop_order", "params": { "number": "7" } });
    let mut ids = Vec::new();
    for key in [&two.shop, &next] {
        let answer = two
            .app
            .http
            .post(format!("{}/api/v1/notifications", two.app.base))
            .bearer_auth(key)
            .header("Idempotency-Key", "once")
            .json(&body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        ids.push(answer["notifications"][0]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].is_string());
}

async fn what_a_product_says_of_a_person_is_its_own(database: Database) {
    let two = two(&database).await;
    let said = json!({ "phone": PHONE, "name": "Asha, who owes us money", "handle": "asha", "language": "hi",
        "time_zone": "Asia/Kolkata" });
    let (code, made) = ask(&two.app, &two.shop, "POST", "/api/v1/contacts", &said).await;
    assert_eq!((code, &made["name"]), (201, &said["name"]));
    assert_eq!(two.contact(&two.clinic, PHONE).await.0, 404);
    // The clinic comes to know the same person by sending to them.
    let sent = two.order(&two.clinic, "clinic", "1", PHONE).await;
    let (code, seen) = two.contact(&two.clinic, PHONE).await;
    assert_eq!(code, 200);
    for field in ["name", "handle", "language", "time_zone", "catalogue"] {
        assert_eq!(seen[field], Value::Null, "{field}");
    }
    assert_eq!(seen["aliases"][0]["value"], PHONE);
    let path = format!(
        "/api/v1/notifications/{}",
        sent["notifications"][0].as_str().unwrap()
    );
    let (_, shown) = ask(&two.app, &two.clinic, "GET", &path, &Value::Null).await;
    assert_eq!(shown["text"], "Dear customer, your order 1 is here.");
    // And says what it likes, which the shop does not see.
    let path = format!("/api/v1/contacts/{}", id_of(&seen));
    let named = json!({ "name": "Patient 7", "handle": "asha" });
    let (code, changed) = ask(&two.app, &two.clinic, "PATCH", &path, &named).await;
    assert_eq!(
        (code, &changed["name"]),
        (200, &json!("Patient 7")),
        "{changed}"
    );
    let (_, seen) = two.contact(&two.shop, PHONE).await;
    assert_eq!(
        (&seen["name"], &seen["handle"], &seen["language"]),
        (&said["name"], &json!("asha"), &json!("hi"))
    );
    // Each finds by its own name only, and writes with it.
    for (key, text, found) in [
        (&two.shop, "Asha", 1),
        (&two.shop, "Patient", 0),
        (&two.clinic, "Asha,", 0),
        (&two.clinic, "Patient", 1),
        (&two.clinic, "%2B1202555010", 1),
    ] {
        let path = format!("/api/v1/contacts?query={text}");
        let (_, list) = ask(&two.app, key, "GET", &path, &Value::Null).await;
        assert_eq!(list["contacts"].as_array().unwrap().len(), found, "{text}");
    }
    let named = two.order(&two.clinic, "clinic", "2", "contact:asha").await;
    let path = format!(
        "/api/v1/notifications/{}",
        named["notifications"][0].as_str().unwrap()
    );
    let (_, shown) = ask(&two.app, &two.clinic, "GET", &path, &Value::Null).await;
    assert_eq!(shown["text"], "Dear Patient 7, your order 2 is here.");
}

async fn a_number_that_others_know_is_not_changed_for_them(database: Database) {
    let two = two(&database).await;
    two.order(&two.shop, "shop", "1", PHONE).await;
    two.order(&two.clinic, "clinic", "1", PHONE).await;
    let (_, of_shop) = two.contact(&two.shop, PHONE).await;
    let path = format!("/api/v1/contacts/{}", id_of(&of_shop));
    // To a number that nobody has, and to one that only the shop knows.
    two.order(&two.shop, "shop", "2", "+12025550103").await;
    for phone in ["+12025550102", "+12025550103"] {
        two.order(&two.clinic, "clinic", phone, PHONE).await;
        let changed = json!({ "phone": phone, "name": "Moved" });
        let (code, answer) = ask(&two.app, &two.clinic, "PATCH", &path, &changed).await;
        assert_eq!(code, 200, "{answer}");
        assert_eq!(answer["aliases"][0]["value"], phone);
        assert_ne!(
            answer["id"], of_shop["id"],
            "the shop's contact keeps its number"
        );
        let (_, still) = two.contact(&two.shop, PHONE).await;
        assert_eq!(still, of_shop);
        let (code, moved) = two.contact(&two.clinic, phone).await;
        assert_eq!((code, &moved["name"]), (200, &json!("Moved")));
        assert_eq!(two.contact(&two.clinic, PHONE).await.0, 404);
    }
    // Of a contact of its own alone the number changes, and the contact stays.
    let own = json!({ "phone": "+12025550104", "name": "Own" });
    let (_, made) = ask(&two.app, &two.clinic, "POST", "/api/v1/contacts", &own).await;
    let path = format!("/api/v1/contacts/{}", id_of(&made));
    let (code, changed) = ask(
        &two.app,
        &two.clinic,
        "PATCH",
        &path,
        &json!({ "phone": "+12025550105" }),
    )
    .await;
    assert_eq!(
        (code, &changed["id"], &changed["name"]),
        (200, &made["id"], &json!("Own"))
    );
    assert_eq!(two.contact(&two.clinic, "+12025550104").await.0, 404);
}

async fn preferences_hold_for_the_product_that_set_them(database: Database) {
    let two = two(&database).await;
    two.order(&two.shop, "shop", "1", PHONE).await;
    two.order(&two.clinic, "clinic", "1", PHONE).await;
    let (_, contact) = two.contact(&two.shop, PHONE).await;
    let path = format!("/api/v1/contacts/{}/preferences", id_of(&contact));
    let nothing = json!({ "preferences": [{ "channel": "whatsapp", "wanted": false }] });
    let (code, _) = ask(&two.app, &two.shop, "PUT", &path, &nothing).await;
    assert_eq!(code, 200);
    let (_, seen) = ask(&two.app, &two.clinic, "GET", &path, &Value::Null).await;
    assert_eq!(seen, json!({ "preferences": [] }));
    let status = async |key: &str, product: &str, id: &str| {
        let made = two.order(key, product, id, PHONE).await;
        let path = format!(
            "/api/v1/notifications/{}",
            made["notifications"][0].as_str().unwrap()
        );
        let (_, shown) = ask(&two.app, key, "GET", &path, &Value::Null).await;
        shown["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&two.shop, "shop", "2").await, "skipped");
    assert_eq!(status(&two.clinic, "clinic", "2").await, "queued");
    // A kind of the shop is none to the clinic.
    let kind = json!({ "preferences": [{ "kind": "shop-news", "wanted": false }] });
    let (code, _) = ask(&two.app, &two.clinic, "PUT", &path, &kind).await;
    assert_eq!(code, 422);
    // Quiet hours of the shop hold back the shop.
    let path = format!("/api/v1/contacts/{}", id_of(&contact));
    let quiet = json!({ "quiet_hours": { "from": "00:00", "until": "23:59" } });
    ask(&two.app, &two.shop, "PATCH", &path, &quiet).await;
    let empty = json!({ "preferences": [] });
    ask(
        &two.app,
        &two.shop,
        "PUT",
        &format!("{path}/preferences"),
        &empty,
    )
    .await;
    assert_eq!(status(&two.shop, "shop", "3").await, "queued");
    assert_eq!(two.app.send_of(two.clinic_sender).await, 2);
    assert_eq!(
        two.app.send().await,
        0,
        "the shop's wait until its contact is awake"
    );
}

async fn an_opt_out_and_a_deletion_hold_for_all(database: Database) {
    let two = two(&database).await;
    two.order(&two.shop, "shop", "1", PHONE).await;
    two.order(&two.clinic, "clinic", "1", PHONE).await;
    let stop = json!({ "text": { "body": "STOP" } });
    write(
        &two.app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        "12025550101",
        "wamid.stop",
        stop,
    )
    .await;
    for (key, product) in [(&two.shop, "shop"), (&two.clinic, "clinic")] {
        let made = two.order(key, product, "2", PHONE).await;
        let id = made["notifications"][0].as_str().unwrap();
        let path = format!("/api/v1/notifications/{id}");
        let (_, seen) = ask(&two.app, key, "GET", &path, &Value::Null).await;
        assert_eq!(seen["status"], "skipped", "{seen}");
        let (_, list) = ask(&two.app, key, "GET", "/api/v1/suppressions", &Value::Null).await;
        assert_eq!(list.as_array().unwrap().len(), 1, "{product}");
        let (_, seen) = two.contact(key, PHONE).await;
        assert_eq!(seen["wishes"][0]["wanted"], false);
    }
    let (_, seen) = two.contact(&two.shop, PHONE).await;
    let path = format!("/api/v1/contacts/{}", id_of(&seen));
    let (code, _) = ask(&two.app, &two.shop, "DELETE", &path, &Value::Null).await;
    assert_eq!(code, 403, "for an admin key to do");
    assert_eq!(two.app.admin("DELETE", &path, &Value::Null).await.0, 200);
    for key in [&two.shop, &two.clinic] {
        assert_eq!(two.contact(key, PHONE).await.0, 404);
    }
    assert_eq!(
        two.app.number("SELECT count(*) FROM product_address").await,
        0
    );
}

async fn a_person_who_writes_is_seen_by_whom_they_wrote_to(database: Database) {
    let two = two(&database).await;
    let stranger = "12025550107";
    write(
        &two.app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        stranger,
        "wamid.one",
        json!({}),
    )
    .await;
    let messages = async |key: &str| {
        let (_, list) = ask(&two.app, key, "GET", "/api/v1/messages", &Value::Null).await;
        list["messages"].as_array().unwrap().clone()
    };
    assert_eq!(messages(&two.shop).await.len(), 1);
    assert!(messages(&two.clinic).await.is_empty());
    let (code, seen) = two.contact(&two.shop, "+12025550107").await;
    assert_eq!(code, 200);
    assert_eq!(seen["windows"].as_array().unwrap().len(), 1);
    assert_eq!(two.contact(&two.clinic, "+12025550107").await.0, 404);
    let (_, list) = ask(&two.app, &two.shop, "GET", "/api/v1/contacts", &Value::Null).await;
    assert!(list.to_string().contains(&id_of(&seen)), "{list}");
    // To the clinic's number: now it is known there, too, but not what it wrote to the shop.
    let secret = "secret-of-clinic-0123456789";
    write(
        &two.app,
        CLINIC_NUMBER,
        secret,
        stranger,
        "wamid.two",
        json!({}),
    )
    .await;
    let of_clinic = messages(&two.clinic).await;
    assert_eq!(of_clinic.len(), 1);
    assert_eq!(messages(&two.shop).await.len(), 1);
    let (_, seen) = two.contact(&two.clinic, "+12025550107").await;
    let windows = seen["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0]["sender"], json!(two.clinic_sender));
    // A key that is bound by its source alone reads what answers its own notifications.
    let reader = key(&two.app, json!({ "product": "mail", "source": "mail" })).await;
    assert!(messages(&reader).await.is_empty());
}

async fn a_dedupe_key_of_one_product_stops_no_other(database: Database) {
    let two = two(&database).await;
    let open = |product: &str| json!({ "product": product, "source": product });
    let (one, other) = (
        key(&two.app, open("one")).await,
        key(&two.app, open("other")).await,
    );
    let order = async |key: &str, source: &str| {
        let body = json!({ "id": "1", "source": source, "type": "shop.order", "data": { "to": PHONE, "number": "1" } });
        let (_, answer) = ask(&two.app, key, "POST", "/api/v1/events", &body).await;
        answer["routes"][0].clone()
    };
    assert_eq!(order(&one, "one").await["notifications"], 1);
    let second = order(&other, "other").await;
    assert_eq!(second["notifications"], 1, "{second}");
    assert_eq!(second.get("duplicates"), None);
    let again = order(&one, "one/again").await;
    assert_eq!(again["duplicates"].as_array().unwrap().len(), 1, "{again}");
}

async fn a_key_sends_with_its_own_sender_and_sees_what_went_out_by_it(database: Database) {
    let two = two(&database).await;
    let made = two.order(&two.clinic, "clinic", "1", PHONE).await;
    let id = made["notifications"][0].as_str().unwrap();
    let path = format!("/api/v1/notifications/{id}");
    assert_eq!(two.app.send().await, 0, "the default is not the clinic's");
    assert_eq!(two.app.send_of(two.clinic_sender).await, 1);
    let body = json!({ "to": PHONE, "template": "clinic_order", "params": { "number": "1" }, "sender": two.app.sender });
    let (code, problem) = ask(
        &two.app,
        &two.clinic,
        "POST",
        "/api/v1/notifications",
        &body,
    )
    .await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/sender"))
    );
    // The same product, bound to another sender.
    let elsewhere = key(
        &two.app,
        json!({ "product": "clinic", "source": "clinic", "senders": [two.app.sender], "catalogue": "clinic" }),
    )
    .await;
    let never = format!("/api/v1/notifications/{}", uuid::Uuid::new_v4());
    assert_eq!(
        ask(&two.app, &elsewhere, "GET", &path, &Value::Null).await,
        ask(&two.app, &elsewhere, "GET", &never, &Value::Null).await
    );
    let (_, stats) = ask(
        &two.app,
        &elsewhere,
        "GET",
        "/api/v1/stats?hours=24",
        &Value::Null,
    )
    .await;
    assert_eq!(stats["total"], 0);
    let (_, stats) = ask(
        &two.app,
        &two.clinic,
        "GET",
        "/api/v1/stats?hours=24",
        &Value::Null,
    )
    .await;
    assert_eq!(stats["total"], 1);
    assert_eq!(stats["by_template"]["clinic_order"]["created"], 1);
    assert_eq!(
        ask(&two.app, &two.clinic, "GET", &path, &Value::Null)
            .await
            .0,
        200
    );
}

async fn what_a_rule_makes_belongs_to_the_product_of_its_message(database: Database) {
    let two = two(&database).await;
    two.app
        .apply_catalogue(
            "name = \"rules\"\n[[rule]]\nname = \"tell\"\non = \"skipped\"\n[rule.send]\nto = \"group:shop-staff\"\ntemplate = \"shop_order\"\nparams = { number = \"0\" }\n",
        )
        .await;
    let secret = "secret-of-clinic-0123456789";
    let stop = json!({ "text": { "body": "STOP" } });
    write(
        &two.app,
        CLINIC_NUMBER,
        secret,
        "12025550101",
        "wamid.stop",
        stop,
    )
    .await;
    two.order(&two.clinic, "clinic", "1", PHONE).await;
    two.app.follow_up().await;
    let count = async |key: &str| {
        let (_, list) = ask(&two.app, key, "GET", "/api/v1/notifications", &Value::Null).await;
        list["notifications"].as_array().unwrap().len()
    };
    assert_eq!(
        two.app
            .number("SELECT count(*) FROM notification WHERE product = 'clinic'")
            .await,
        2
    );
    assert_eq!(count(&two.shop).await, 0);
}

async fn what_herald_says_itself_belongs_to_the_product_of_the_catalogue(database: Database) {
    let two = two(&database).await;
    let catalogue = super::catalogue("shop", "+12025550191")
        + "\n[[route]]\nname = \"heard\"\nevent = \"herald.message.received\"\nto = \"group:shop-staff\"\ntemplate = \"shop_order\"\nparams = { number = \"9\" }\n";
    two.app.apply_catalogue(&catalogue).await;
    write(
        &two.app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        "12025550107",
        "wamid.x",
        json!({}),
    )
    .await;
    two.app.follow_up().await;
    let made = two
        .app
        .texts("SELECT coalesce(product, '') FROM notification")
        .await;
    assert_eq!(made, ["shop"]);
    let (_, list) = ask(
        &two.app,
        &two.clinic,
        "GET",
        "/api/v1/notifications",
        &Value::Null,
    )
    .await;
    assert_eq!(list["notifications"], json!([]));
    // The event itself is Herald's own.
    for key in [&two.shop, &two.clinic] {
        let (_, list) = ask(&two.app, key, "GET", "/api/v1/events", &Value::Null).await;
        assert_eq!(list["events"], json!([]));
    }
}

async fn an_event_names_only_whom_its_product_may_name(database: Database) {
    let two = two(&database).await;
    two.order(&two.shop, "shop", "1", PHONE).await;
    let (_, theirs) = two.contact(&two.shop, PHONE).await;
    let foreign = format!("contact:{}", id_of(&theirs));
    for to in [
        "group:shop-staff",
        "user:shop-boss",
        "contact:shop-boss",
        &foreign,
    ] {
        let made = two.order(&two.clinic, "clinic", to, to).await;
        assert_eq!(made["notifications"], json!([]), "{to}: {made}");
        let reason = made["routes"][0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("there is no"), "{reason}");
    }
    let made = two
        .order(&two.clinic, "clinic", "own", "group:clinic-staff")
        .await;
    assert_eq!(made["notifications"].as_array().unwrap().len(), 1);
    // Another product's event type makes nothing of another product's routes.
    let body = json!({ "id": "x", "source": "clinic", "type": "shop.order", "data": { "to": PHONE, "number": "1" } });
    let (code, made) = ask(&two.app, &two.clinic, "POST", "/api/v1/events", &body).await;
    assert_eq!((code, &made["routes"]), (202, &json!([])));
}
