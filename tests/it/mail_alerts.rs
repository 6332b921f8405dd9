//! Alerts to staff while the sender that they would go from is held: they go by e-mail where that is
//! set up.

use herald::engine::insight::alarms;
use serde_json::{Value, json};

use crate::harness::{
    DEMO, Database, MailFate,
    email::{Stage, order, stage},
};

crate::tests![
    an_alarm_about_a_held_sender_goes_by_mail,
    an_alert_of_a_rule_goes_by_mail_while_its_sender_is_held,
    an_alarm_about_the_mail_server_goes_by_whatsapp,
    who_has_no_mailbox_gets_the_alarm_once_the_sender_sends_again,
    a_message_to_a_customer_is_no_alert,
];

const STAFF: &str = r#"
name = "operators"

[[contact]]
name = "op-one"
phone = "+12025550151"
email = "op-one@example.com"

[[contact]]
name = "op-two"
phone = "+12025550152"

[[user]]
name = "op-one"
contact = "op-one"

[[user]]
name = "op-two"
contact = "op-two"

[[group]]
name = "Operators"
members = ["op-one"]

[[group]]
name = "Without mail"
members = ["op-two"]

[[template]]
name = "ops_alert"
language = "en"
category = "utility"
body = "Please look at Herald: {{ what }}."
[[template.parameter]]
name = "what"
example = "a sender is held"

[[route]]
name = "alarms"
event = "herald.alarm.raised"
to = "group:Operators"
template = "ops_alert"
[route.params]
what = "{{ data.summary }}"

[[rule]]
name = "failures"
on = "failed"
when = "notification.template == 'order'"
[rule.send]
to = "group:Operators"
template = "ops_alert"
[rule.send.params]
what = "{{ failure.meaning }}"
"#;

/// The messages with the alert, newest first.
async fn alerts(stage: &Stage) -> Vec<Value> {
    let (_, list) = stage
        .app
        .get("/api/v1/notifications?template=ops_alert")
        .await;
    let mut all = Vec::new();
    for one in list["notifications"].as_array().unwrap() {
        all.push(stage.app.notification(one["id"].as_str().unwrap()).await);
    }
    all
}

/// The token of the WhatsApp sender is refused once.
async fn whatsapp_is_held(stage: &Stage) {
    stage.app.apply_catalogue(DEMO).await;
    stage.app.meta.will_answer(&[(
        401,
        r#"{"error":{"code":190,"type":"OAuthException","message":"the token has expired"}}"#,
    )]);
    stage.app.order("A-1", "+12025550101").await;
    stage.app.send().await;
    let (_, senders) = stage
        .app
        .admin("GET", "/api/v1/senders", &Value::Null)
        .await;
    let states = senders.to_string();
    assert!(states.contains("\"held\""), "{states}");
}

async fn alarm(stage: &Stage) {
    assert!(
        alarms::turn(&stage.app.engine, stage.app.now())
            .await
            .unwrap()
            > 0
    );
    stage.app.follow_up().await;
    stage.fall_back().await;
    stage.app.follow_up().await;
}

async fn an_alarm_about_a_held_sender_goes_by_mail(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(STAFF).await;
    whatsapp_is_held(&stage).await;
    alarm(&stage).await;
    stage.mail_out().await;
    let mails = stage.mail.taken();
    assert!(!mails.is_empty());
    for mail in &mails {
        assert_eq!(mail.to, "op-one@example.com");
        assert!(mail.text.contains("Please look at Herald"), "{}", mail.text);
    }
    let alerts = alerts(&stage).await;
    for alert in &alerts {
        let expected = if alert["channel"] == "email" {
            "accepted"
        } else {
            "cancelled"
        };
        assert_eq!(alert["status"], expected, "{alert:#}");
    }
    assert_eq!(alerts.len(), 2 * mails.len(), "one of each");
    // Nothing of it leaves once more when the sender sends again.
    let calls = stage.app.meta.calls();
    stage.app.pass(120);
    stage.app.watch().await;
    stage.app.settle().await;
    let bodies: Vec<Value> = (calls..stage.app.meta.calls())
        .map(|call| stage.app.meta.request(call))
        .collect();
    assert!(
        bodies.iter().all(|body| body["to"] != "+12025550151"),
        "{bodies:#?}"
    );
}

async fn an_alert_of_a_rule_goes_by_mail_while_its_sender_is_held(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(STAFF).await;
    whatsapp_is_held(&stage).await;
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.1.1 No such mailbox")]);
    stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    stage.app.follow_up().await;
    stage.fall_back().await;
    stage.mail_out().await;
    let mails = stage.mail.taken();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0].to, "op-one@example.com");
}

async fn an_alarm_about_the_mail_server_goes_by_whatsapp(database: Database) {
    let stage = stage(&database).await;
    let by_mail = STAFF.replace(
        "template = \"ops_alert\"\n[route.params]",
        "template = \"ops_alert\"\nchannel = \"email\"\n[route.params]",
    );
    assert_ne!(by_mail, STAFF);
    stage.app.apply_catalogue(&by_mail).await;
    stage
        .mail
        .plays(&[MailFate::SenderRefused("530 5.7.0 Authentication required")]);
    stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    alarm(&stage).await;
    let calls = stage.app.meta.calls();
    assert!(stage.app.send().await > 0);
    assert_eq!(stage.app.meta.request(calls)["to"], json!("+12025550151"));
}

async fn who_has_no_mailbox_gets_the_alarm_once_the_sender_sends_again(database: Database) {
    let stage = stage(&database).await;
    let without = STAFF.replace("group:Operators", "group:Without mail");
    stage.app.apply_catalogue(&without).await;
    whatsapp_is_held(&stage).await;
    alarm(&stage).await;
    assert_eq!(stage.mail_out().await, 0);
    let waiting = alerts(&stage).await;
    assert!(!waiting.is_empty());
    for alert in &waiting {
        assert_eq!(
            (&alert["channel"], &alert["group"]),
            (&json!("whatsapp"), &json!("pending")),
            "it is not given up: {alert:#}"
        );
        let story = alert["timeline"].to_string();
        assert!(story.contains("channel_fallback"), "{story}");
    }
    for _ in 0..5 {
        stage.app.pass(61);
        stage.app.watch().await;
        stage.app.send().await;
    }
    for alert in alerts(&stage).await {
        assert_eq!(alert["status"], "accepted", "{alert:#}");
    }
}

async fn a_message_to_a_customer_is_no_alert(database: Database) {
    let stage = stage(&database).await;
    // An event of Herald's own, and a mailbox that is known: the message still waits for WhatsApp.
    let customer = STAFF.replace(
        "to = \"group:Operators\"\ntemplate = \"ops_alert\"\n[route",
        "to = \"contact:asha\"\ntemplate = \"ops_alert\"\n[route",
    );
    assert_ne!(customer, STAFF);
    stage.app.apply_catalogue(&customer).await;
    whatsapp_is_held(&stage).await;
    alarm(&stage).await;
    assert_eq!(stage.mail_out().await, 0);
    let waiting = alerts(&stage).await;
    assert!(!waiting.is_empty());
    for alert in &waiting {
        assert_eq!(alert["group"], "pending", "{alert:#}");
    }
}
