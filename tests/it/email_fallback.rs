//! Messages that go by e-mail when their first channel does not deliver them.

use herald::engine::runtime::retention::RetentionCleaner;
use serde_json::json;

use crate::harness::{
    Database,
    email::{order, stage},
};

crate::tests![
    what_is_not_delivered_goes_by_e_mail_once,
    what_arrives_before_the_mail_leaves_stops_it,
    what_fails_goes_by_e_mail_at_once,
    what_a_person_refuses_goes_by_no_other_channel,
    a_route_names_channels_in_order_and_a_rule_its_channel,
    a_route_with_wrong_channels_is_refused,
    secrets_for_another_channel_are_not_kept,
];

async fn what_is_not_delivered_goes_by_e_mail_once(database: Database) {
    let stage = stage(&database).await;
    let mut body = order("contact:asha", &["whatsapp", "email"]);
    body["fallback_after_seconds"] = json!(60);
    let id = stage.ask(&body).await;
    stage.app.send().await;
    assert_eq!(stage.status(&id).await, "accepted");
    stage.app.pass(59);
    stage.fall_back().await;
    assert_eq!(stage.stand_in(&id).await, None);
    stage.app.pass(1);
    stage.fall_back().await;
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    let child = stage.stand_in(&id).await.unwrap();
    let shown = stage.app.notification(&child).await;
    assert_eq!(
        (&shown["status"], &shown["channel"], &shown["recipient"]),
        (&json!("accepted"), &json!("email"), &json!("contact:asha")),
        "{shown}"
    );
    assert!(stage.mail.taken()[0].text.contains("Order A-17 of Asha"));
    // A late receipt comes for the first: both went out, and the story of the first says so.
    stage.app.told(&id, "delivered", None).await;
    stage.fall_back().await;
    let (_, story) = stage
        .app
        .get(&format!("/api/v1/notifications/{id}/story"))
        .await;
    let lines = story["lines"].to_string();
    assert!(lines.contains("the next channel is email"), "{lines}");
    assert_eq!(stage.mail.taken().len(), 1);
    assert_eq!(stage.status(&id).await, "delivered");
}

async fn what_arrives_before_the_mail_leaves_stops_it(database: Database) {
    let stage = stage(&database).await;
    let mut body = order("contact:asha", &["whatsapp", "email"]);
    body["fallback_after_seconds"] = json!(60);
    // Before its time.
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.told(&id, "delivered", None).await;
    stage.app.pass(61);
    stage.fall_back().await;
    assert_eq!(stage.stand_in(&id).await, None);
    assert_eq!(
        stage
            .app
            .number("SELECT count(*) FROM channel_fallback")
            .await,
        0
    );
    // After its time, and before the mail is claimed.
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.pass(61);
    stage.fall_back().await;
    let child = stage.stand_in(&id).await.unwrap();
    stage.app.told(&id, "delivered", None).await;
    assert_eq!(stage.mail_out().await, 0);
    assert_eq!(stage.status(&child).await, "cancelled");
    assert!(stage.mail.taken().is_empty());
}

async fn what_fails_goes_by_e_mail_at_once(database: Database) {
    let stage = stage(&database).await;
    let body = order("contact:asha", &["whatsapp", "email"]);
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.told(&id, "failed", Some(131_026)).await;
    stage.app.pass(15);
    stage.app.settle().await;
    assert_eq!(stage.status(&id).await, "failed");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    // So does what cannot be written to by the first channel.
    let id = stage
        .ask(&order("contact:chipo", &["whatsapp", "email"]))
        .await;
    assert_eq!(stage.status(&id).await, "skipped");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[1].to, "chipo@example.com");
    // And what was not sent in time: it must not arrive as well.
    stage.app.meta.is_dead(true);
    let id = stage.ask(&body).await;
    stage.app.pass(301);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.status(&id).await, "cancelled");
    // An expired one as well.
    let mut body = body.clone();
    body["expires_in_seconds"] = json!(20);
    let id = stage.ask(&body).await;
    stage.app.pass(30);
    stage.app.watch().await;
    assert_eq!(stage.status(&id).await, "expired");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
}

async fn what_a_person_refuses_goes_by_no_other_channel(database: Database) {
    let stage = stage(&database).await;
    let contact = stage
        .app
        .get("/api/v1/contacts?phone=%2B12025550101")
        .await
        .1;
    let path = format!(
        "/api/v1/contacts/{}/preferences",
        contact["id"].as_str().unwrap()
    );
    let none = json!({ "preferences": [{ "channel": "whatsapp", "wanted": false }] });
    assert_eq!(stage.app.request("PUT", &path, &none).await.0, 200);
    let id = stage
        .ask(&order("contact:asha", &["whatsapp", "email"]))
        .await;
    assert_eq!(stage.status(&id).await, "skipped");
    stage.app.pass(600);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 0);
    assert!(stage.mail.taken().is_empty());
    // What the person still wants goes out.
    stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(stage.mail_out().await, 1);
}

const ROUTES: &str = r#"
name = "routes"

[[event]]
type = "shop.order"

[[template]]
name = "news_mail"
language = "en"
category = "utility"
body = "Something went wrong with an order."

[[contact]]
name = "dan"
phone = "+12025550104"
email = "dan@example.com"

[[contact]]
name = "office"
email = "office@example.com"

[[route]]
name = "order-placed"
event = "shop.order"
to = "contact:dan"
template = "news_mail"
channels = ["whatsapp", "email"]
fallback_after = "2m"

[[route]]
name = "order-office"
event = "shop.order"
to = "contact:office"
template = "news_mail"
channel = "email"

[[rule]]
name = "order-failed"
on = "failed"
send = { to = ["contact:office"], template = "news_mail", channel = "email" }
"#;

async fn a_route_names_channels_in_order_and_a_rule_its_channel(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(ROUTES).await;
    let event = json!({ "id": "o-1", "source": "shop", "type": "shop.order", "data": {} });
    let (code, answer) = stage.app.post("/api/v1/events", &event).await;
    assert_eq!(code, 202, "{answer}");
    stage.app.send().await;
    assert_eq!((stage.app.meta.calls(), stage.mail_out().await), (1, 1));
    assert_eq!(stage.mail.taken()[0].to, "office@example.com");
    let (_, listed) = stage
        .app
        .get("/api/v1/notifications?recipient=contact:dan")
        .await;
    let id = listed["notifications"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{listed}"))
        .to_owned();
    stage.app.pass(119);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 0, "too early");
    stage.app.pass(1);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[1].to, "dan@example.com");
    // The rule writes to the office by its own channel, not from the number of the message.
    stage.app.told(&id, "failed", Some(131_026)).await;
    stage.app.pass(15);
    stage.app.settle().await;
    stage.app.follow_up().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[2].to, "office@example.com");
    assert_eq!(stage.app.meta.calls(), 1);
}

async fn a_route_with_wrong_channels_is_refused(database: Database) {
    let stage = stage(&database).await;
    let good = "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"2m\"";
    for (wrong, rule) in [
        ("channels = [\"whatsapp\", \"fax\"]", "whatsapp, email"),
        ("channels = [\"email\", \"email\"]", "each channel once"),
        (
            "channel = \"email\"\nchannels = [\"email\", \"whatsapp\"]",
            "either channel or channels",
        ),
        (
            "channels = [\"email\"]\nfallback_after = \"2m\"",
            "needs two channels or more",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"soon\"",
            "such as",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"9s\"",
            "10s to 7d",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"8d\"",
            "10s to 7d",
        ),
    ] {
        let text = ROUTES.replace(good, wrong);
        let errors = stage.app.try_catalogue(&text).await.unwrap_err();
        assert!(format!("{errors:?}").contains(rule), "{errors:?}");
    }
}

async fn secrets_for_another_channel_are_not_kept(database: Database) {
    let stage = stage(&database).await;
    let codes = "name = \"codes\"\n[[template]]\nname = \"sign_in\"\nlanguage = \"en\"\ncategory = \"authentication\"\nbody = \"{{ code }} is your code.\"\n";
    stage.app.apply_catalogue(codes).await;
    let body = json!({ "to": "contact:asha", "template": "sign_in", "params": { "code": "482916" },
        "channels": ["whatsapp", "email"], "fallback_after_seconds": 60 });
    let kept = "SELECT count(*) FROM channel_fallback WHERE sealed IS NOT NULL";
    stage.ask(&body).await;
    assert_eq!(stage.app.number(kept).await, 1);
    stage.app.send().await;
    stage.app.pass(60);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(
        stage.app.number(kept).await,
        0,
        "they are with the other message now"
    );
    // And while sending is on hold for hours.
    stage.ask(&body).await;
    let hold = json!({ "reason": "maintenance" });
    assert_eq!(stage.app.admin("POST", "/api/v1/hold", &hold).await.0, 200);
    stage.app.pass(3600 + 61);
    stage.fall_back().await;
    let mut cleaner = RetentionCleaner::default();
    while cleaner
        .turn(&stage.app.engine, stage.app.now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(stage.app.number(kept).await, 0);
}
