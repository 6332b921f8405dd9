//! Which number a message leaves from that no key has asked for: one of the product's.

use serde_json::json;

use super::{CLINIC_NUMBER, two, write};
use crate::harness::{APP_SECRET, Database, PHONE_NUMBER_ID};

crate::tests![
    a_rule_writes_to_customers_from_a_sender_of_the_product,
    a_route_of_heralds_own_events_answers_from_a_sender_of_the_product,
    a_person_is_answered_from_the_number_that_was_written_to,
    a_route_of_a_product_answers_nothing_written_to_another_product,
    a_reply_leaves_from_the_number_that_was_written_to,
];

const PHONE: &str = "+12025550102";

const RULES: &str = r#"
name = "rules"

[[contact]]
name = "dora"
phone = "+12025550107"

[[rule]]
name = "tell-dora"
on = "skipped"
send = { to = ["contact:dora"], template = "shop_order", params = { number = "0" } }

[[rule]]
name = "tell-staff"
on = "skipped"
send = { to = ["group:shop-staff"], template = "shop_order", params = { number = "0" } }
"#;

async fn a_rule_writes_to_customers_from_a_sender_of_the_product(database: Database) {
    let two = two(&database).await;
    two.app.apply_catalogue(RULES).await;
    let stop = json!({ "text": { "body": "STOP" } });
    write(
        &two.app,
        CLINIC_NUMBER,
        SECRET,
        "12025550102",
        "wamid.stop",
        stop,
    )
    .await;
    for (key, product) in [(&two.clinic, "clinic"), (&two.shop, "shop")] {
        two.order(key, product, "1", PHONE).await;
    }
    two.app.follow_up().await;
    // Dora gets the clinic's from its number. Staff are written to from the default sender.
    assert_eq!(two.app.send_of(two.clinic_sender).await, 1);
    assert_eq!(two.app.send().await, 3);
}

/// Answers whatever is written, in a product's catalogue.
const ANSWERS: &str = r#"
[[route]]
name = "clinic-answers"
event = "herald.message.received"
to = "{{ data.phone }}"
template = "clinic_order"
params = { number = "9" }

[[route]]
name = "clinic-staff-alert"
event = "herald.message.received"
to = "group:clinic-staff"
template = "clinic_order"
params = { number = "9" }
"#;

const SECRET: &str = "secret-of-clinic-0123456789";

async fn a_route_of_heralds_own_events_answers_from_a_sender_of_the_product(database: Database) {
    let two = two(&database).await;
    let catalogue = super::catalogue("clinic", "+12025550190") + ANSWERS;
    two.app.apply_catalogue(&catalogue).await;
    let none = json!({});
    write(
        &two.app,
        CLINIC_NUMBER,
        SECRET,
        "12025550107",
        "wamid.a",
        none,
    )
    .await;
    assert_eq!(two.app.send_of(two.clinic_sender).await, 1);
    assert_eq!(two.app.send().await, 1, "staff, from the default sender");
}

async fn a_person_is_answered_from_the_number_that_was_written_to(database: Database) {
    let two = two(&database).await;
    let catalogue = ANSWERS
        .replace("clinic-answers", "answers")
        .replace("clinic-staff-alert", "alert");
    two.app
        .apply_catalogue(&format!("name = \"common\"\n{catalogue}"))
        .await;
    for (number, secret, from, id) in [
        (CLINIC_NUMBER, SECRET, "12025550107", "wamid.a"),
        (PHONE_NUMBER_ID, APP_SECRET, "12025550108", "wamid.b"),
    ] {
        write(&two.app, number, secret, from, id, json!({})).await;
    }
    let sent = two.app.send_of(two.clinic_sender).await;
    assert_eq!(sent, 1, "the answer to what was written to the clinic");
    assert_eq!(
        two.app.send().await,
        3,
        "the other answer, and what staff get"
    );
    // A route can say so in its condition, too.
    let data = two.app.texts("SELECT data FROM event ORDER BY id").await;
    let said = |sender: &str, data: &str| data.contains(&format!("\"sender\":\"{sender}\""));
    assert!(said("clinic", &data[0]), "{data:?}");
}

async fn a_route_of_a_product_answers_nothing_written_to_another_product(database: Database) {
    let two = two(&database).await;
    let catalogue = super::catalogue("clinic", "+12025550190") + ANSWERS;
    two.app.apply_catalogue(&catalogue).await;
    let none = json!({});
    write(
        &two.app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        "12025550107",
        "wamid.a",
        none,
    )
    .await;
    assert_eq!(two.app.number("SELECT count(*) FROM notification").await, 0);
    let events = two.app.get("/api/v1/events").await.1;
    let routes = &events["events"][0]["routes"];
    for route in routes.as_array().unwrap() {
        assert_eq!(route["outcome"], "did_not_fire", "{routes}");
        assert_eq!(route["reason"], "it is about a sender of another product");
    }
    assert_eq!(routes.as_array().unwrap().len(), 2, "{routes}");
}

async fn a_reply_leaves_from_the_number_that_was_written_to(database: Database) {
    let two = two(&database).await;
    let none = json!({});
    write(
        &two.app,
        CLINIC_NUMBER,
        SECRET,
        "12025550107",
        "wamid.a",
        none,
    )
    .await;
    let (_, listed) = two.app.get("/api/v1/messages").await;
    let id = &listed["messages"][0]["id"];
    for message in [id, &json!("wamid.a")] {
        let reply = json!({ "to": "+12025550107", "text": "At nine.", "reply_to": message });
        let (code, answer) = two.app.post("/api/v1/notifications", &reply).await;
        assert_eq!(code, 202, "{answer}");
        assert_eq!(two.app.send_of(two.clinic_sender).await, 1);
        assert_eq!(two.app.send().await, 0);
    }
    // Unless the caller names a sender.
    let mut named = json!({ "to": "+12025550107", "text": "At nine.", "reply_to": id });
    named["sender"] = json!(two.app.sender);
    let (code, answer) = two.app.post("/api/v1/notifications", &named).await;
    assert_eq!(code, 202, "{answer}");
    assert_eq!(two.app.send_of(two.clinic_sender).await, 0);
}
