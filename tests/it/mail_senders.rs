//! Which address a mail comes from: that of the product, whoever else sends mails.

use serde_json::{Value, json};

use crate::harness::{
    Database,
    email::{Stage, order, stage},
};

crate::tests![the_next_channel_leaves_from_a_sender_of_the_product];

async fn a_key(stage: &Stage, senders: Value) -> String {
    let body = json!({ "product": "clinic", "senders": senders,
        "scopes": ["notifications:read", "notifications:write"] });
    let (code, made) = stage.app.admin("POST", "/api/v1/keys", &body).await;
    assert_eq!(code, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// A message by both channels that WhatsApp refuses, asked for with this key.
async fn refused_by_whatsapp(stage: &Stage, key: &str, channels: &[&str]) -> (u16, Value) {
    let body = order("contact:dora", channels);
    let post = stage
        .app
        .http
        .post(format!("{}/api/v1/notifications", stage.app.base))
        .bearer_auth(key)
        .json(&body);
    let answer = post.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn the_next_channel_leaves_from_a_sender_of_the_product(database: Database) {
    let stage = stage(&database).await;
    let app = &stage.app;
    let port = stage.mail.port.to_string();
    let second = json!({ "name": "clinic-mail", "kind": "smtp", "endpoint_id": "clinic@example.com",
        "settings": { "host": "127.0.0.1", "port": port, "tls": "none" } });
    let (code, made) = app.admin("POST", "/api/v1/senders", &second).await;
    assert_eq!(code, 201, "{made}");
    let clinic_mail = made["id"].as_str().unwrap().to_owned();
    app.apply_catalogue(
        "name = \"people\"\n[[contact]]\nname = \"dora\"\nphone = \"+12025550107\"\nemail = \"dora@example.com\"\n",
    )
    .await;
    let both = a_key(&stage, json!([app.sender, "clinic-mail"])).await;
    let (code, answer) = refused_by_whatsapp(&stage, &both, &["whatsapp", "email"]).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.meta
        .will_answer(&[(400, r#"{"error":{"code":131026,"message":"no"}}"#)]);
    app.send().await;
    app.follow_up().await;
    stage.fall_back().await;
    let mail = stage.stand_in(&id).await.expect("it goes by mail");
    app.send_of(clinic_mail.parse().unwrap()).await;
    assert_eq!(app.status_of(&mail).await, "accepted");
    let mails = stage.mail.taken();
    assert_eq!(mails.len(), 1);
    // The address for bounces, and the name beside it, are those of the environment's own sender.
    assert_eq!(mails[0].from, "clinic@example.com");
    let text = &mails[0].text;
    assert!(text.contains("From: clinic@example.com\n"), "{text}");
    // A key that may use no mail sender is refused before anything is stored.
    let alone = a_key(&stage, json!([app.sender])).await;
    let (code, answer) = refused_by_whatsapp(&stage, &alone, &["whatsapp", "email"]).await;
    assert_eq!(code, 422, "{answer}");
    assert_eq!(answer["errors"][0]["pointer"], "/channels/1", "{answer}");
}
