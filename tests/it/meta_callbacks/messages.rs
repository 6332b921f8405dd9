//! `messages[]`: every type a person can send (Meta, "Webhooks: messages").

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
};

use herald::{domain::own_event::HeraldEventType, store::callback::CallbackListRow};
use serde_json::{Value, json};

use super::{app, asha, from_asha, said, told};
use crate::{
    harness::{Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    texts_and_media_show_what_can_be_read_of_them,
    taps_and_forms_carry_their_payload,
    reactions_edits_and_revocations_name_their_message,
    places_cards_orders_and_system_notices_are_kept,
    what_is_unsupported_or_unknown_is_kept_with_its_errors,
    forwarded_quoted_and_advertised_messages_say_so,
    a_group_message_opens_no_window_and_answers_nothing,
    people_without_numbers_profiles_or_names_are_kept,
    several_entries_changes_and_lists_are_all_read,
    fields_that_are_only_kept_act_on_nothing,
    media_is_fetched_on_demand_as_a_download_and_bounded,
    a_provider_that_does_not_answer_is_named_as_the_cause,
    what_a_provider_refuses_may_be_possible_later,
    messages_are_found_by_contact_and_time,
    what_people_write_is_marked_read_if_that_is_wanted,
    whoever_listens_hears_what_people_write,
];

const AT: i64 = 1_767_225_600;

async fn texts_and_media_show_what_can_be_read_of_them(database: Database) {
    let app = app(&database).await;
    let hash = "Sn4wZ7Hq8Yw6mDqY9Xn8s3b9hVq7xkqWn2C1o0p5r3s=";
    let rows: [(&str, Value, Option<&str>, bool); 7] = [
        (
            "text",
            json!({ "body": "Hello 👍" }),
            Some("Hello 👍"),
            false,
        ),
        (
            "image",
            json!({ "caption": "the meter", "mime_type": "image/jpeg", "sha256": hash, "id": "mediaA1", "url": "https://lookaside.fbsbx.com/x" }),
            Some("the meter"),
            true,
        ),
        (
            "video",
            json!({ "mime_type": "video/mp4", "sha256": hash, "id": "mediaA2" }),
            None,
            true,
        ),
        (
            "audio",
            json!({ "mime_type": "audio/ogg; codecs=opus", "sha256": hash, "id": "mediaA3", "voice": true }),
            None,
            true,
        ),
        (
            "document",
            json!({ "filename": "Rechnung März.pdf", "mime_type": "application/pdf", "sha256": hash, "id": "mediaA4" }),
            Some("Rechnung März.pdf"),
            true,
        ),
        (
            "sticker",
            json!({ "mime_type": "image/webp", "sha256": hash, "id": "mediaA5", "animated": false }),
            None,
            true,
        ),
        (
            "text",
            json!({ "body": "nul \u{0} here" }),
            Some("nul \u{fffd} here"),
            false,
        ),
    ];
    for (number, (kind, content, text, has_media)) in rows.into_iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        let message = from_asha(
            &format!("wamid.m{number}"),
            AT + number,
            kind,
            content.clone(),
        );
        let seen = said(&app, asha(), message).await;
        assert_eq!(seen["kind"], kind);
        assert_eq!(seen["text"], json!(text), "{seen}");
        assert_eq!(seen["has_media"], has_media, "{seen}");
        // NUL is taken in as U+FFFD: PostgreSQL stores none.
        let kept = content.to_string().replace("\\u0000", "\u{fffd}");
        assert_eq!(seen["content"].to_string(), kept);
        assert!(seen["contact"].is_string());
    }
    // Half of a surrogate pair is no character, and no reason to lose a message.
    let body = format!(
        r#"{{"entry":[{{"changes":[{{"field":"messages","value":{{"messages":[{{"from":"12025550101","id":"wamid.half","timestamp":{AT},"type":"text","text":{{"body":"a\ud83d \u00e9 \ud83d\udc4d"}}}}]}}}}]}}]}}"#
    );
    assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
    app.process().await;
    let (_, page) = app.get("/api/v1/messages?limit=1").await;
    assert_eq!(page["messages"][0]["text"], "a\u{fffd} é 👍");
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn taps_and_forms_carry_their_payload(database: Database) {
    let app = app(&database).await;
    let rows = [
        (
            "button",
            json!({ "payload": "PAY-1", "text": "Pay now" }),
            json!("Pay now"),
            json!("PAY-1"),
        ),
        (
            "interactive",
            json!({ "type": "button_reply", "button_reply": { "id": "b1", "title": "Yes" } }),
            json!("Yes"),
            json!("b1"),
        ),
        (
            "interactive",
            json!({ "type": "list_reply", "list_reply": { "id": "l1", "title": "Monday", "description": "9 to 5" } }),
            json!("Monday"),
            json!("l1"),
        ),
        (
            "interactive",
            json!({ "type": "nfm_reply", "nfm_reply": { "name": "flow", "body": "Sent", "response_json": "{\"flow_token\":\"t\"}" } }),
            json!("Sent"),
            json!("{\"flow_token\":\"t\"}"),
        ),
        (
            "interactive",
            json!({ "type": "nfm_reply", "nfm_reply": { "name": "flow", "body": "Sent", "response_json": "not json" } }),
            json!("Sent"),
            json!("not json"),
        ),
        (
            "interactive",
            json!({ "type": "nfm_reply", "nfm_reply": { "name": "flow" } }),
            json!(null),
            json!(null),
        ),
        (
            "interactive",
            json!({ "type": "call_permission_reply", "call_permission_reply": { "response": "accept", "expiration_timestamp": 1_767_300_000, "response_source": "user_action" } }),
            json!("accept"),
            json!("accept"),
        ),
        (
            "interactive",
            json!({ "type": "product", "product": { "id": "p" } }),
            json!(null),
            json!("{\"id\":\"p\"}"),
        ),
    ];
    for (number, (kind, content, text, payload)) in rows.into_iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        let message = from_asha(&format!("wamid.t{number}"), AT + number, kind, content);
        let seen = said(&app, asha(), message).await;
        assert_eq!(
            (&seen["text"], &seen["payload"]),
            (&text, &payload),
            "{seen}"
        );
    }
    // A tap on our message is a reply to it, with or without a context.
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let mut tap = from_asha(
        "wamid.tap",
        AT + 60,
        "button",
        json!({ "payload": "OK", "text": "OK" }),
    );
    tap["context"] = json!({ "from": "15550783881", "id": wamid });
    let seen = said(&app, asha(), tap).await;
    assert_eq!(seen["notification"], id.as_str());
    let story = app.notification(&id).await;
    let line = story["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["kind"] == "replied")
        .unwrap();
    assert_eq!(line["detail"]["payload"], "OK");
}

async fn reactions_edits_and_revocations_name_their_message(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let reaction = |content: Value, number: i64| {
        from_asha(
            &format!("wamid.r{number}"),
            AT + number,
            "reaction",
            content,
        )
    };
    let seen = said(
        &app,
        asha(),
        reaction(json!({ "message_id": wamid, "emoji": "👍" }), 1),
    )
    .await;
    assert_eq!(
        (&seen["text"], &seen["removed"], &seen["notification"]),
        (&json!("👍"), &json!(false), &json!(id))
    );
    for (number, removed) in [
        (2, json!({ "message_id": wamid })),
        (3, json!({ "message_id": wamid, "emoji": "" })),
    ] {
        let seen = said(&app, asha(), reaction(removed, number)).await;
        assert_eq!(
            (&seen["text"], &seen["removed"], &seen["notification"]),
            (&json!(null), &json!(true), &json!(id))
        );
    }
    let edit = from_asha(
        "wamid.e1",
        AT + 9,
        "edit",
        json!({ "original_message_id": "wamid.old", "message": { "type": "image", "image": { "caption": "mended", "id": "mediaE1" } } }),
    );
    let seen = said(&app, asha(), edit).await;
    assert_eq!(
        (&seen["text"], &seen["has_media"]),
        (&json!("mended"), &json!(true))
    );
    let revoke = from_asha(
        "wamid.e2",
        AT + 10,
        "revoke",
        json!({ "original_message_id": "wamid.old" }),
    );
    assert_eq!(said(&app, asha(), revoke).await["kind"], "revoke");
}

async fn places_cards_orders_and_system_notices_are_kept(database: Database) {
    let app = app(&database).await;
    let rows = [
        (
            "location",
            json!({ "latitude": 37.48, "longitude": -122.15, "name": "Depot", "address": "1 Hacker Way" }),
            json!("Depot, 1 Hacker Way"),
        ),
        (
            "location",
            json!({ "latitude": 37.5, "longitude": -122.25 }),
            json!("37.5, -122.25"),
        ),
        (
            "contacts",
            json!([{ "name": { "formatted_name": "Ravi K", "first_name": "Ravi" }, "phones": [{ "phone": "+12025550102", "wa_id": "12025550102", "type": "CELL" }], "origin": "other" },
                { "name": { "formatted_name": "Mina" } }]),
            json!("Ravi K, Mina"),
        ),
        (
            "order",
            json!({ "catalog_id": "c1", "text": "please soon", "product_items": [{ "product_retailer_id": "sku", "quantity": 2, "item_price": 9.5, "currency": "USD" }] }),
            json!("please soon"),
        ),
        (
            "system",
            json!({ "body": "Asha changed the security code", "type": "customer_identity_changed", "identity": "x" }),
            json!("Asha changed the security code"),
        ),
    ];
    for (number, (kind, content, text)) in rows.into_iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        let message = from_asha(
            &format!("wamid.p{number}"),
            AT + number,
            kind,
            content.clone(),
        );
        let seen = said(&app, asha(), message).await;
        assert_eq!(
            (&seen["text"], &seen["content"]),
            (&text, &content),
            "{seen}"
        );
    }
}

async fn what_is_unsupported_or_unknown_is_kept_with_its_errors(database: Database) {
    let app = app(&database).await;
    let errors = json!([{ "code": 131_051, "title": "Message type unknown", "message": "Message type unknown",
        "error_data": { "details": "Message type is currently not supported." } }]);
    let mut newer = from_asha(
        "wamid.u1",
        AT,
        "unsupported",
        json!({ "type": "poll_creation" }),
    );
    newer["errors"] = errors.clone();
    let seen = said(&app, asha(), newer).await;
    assert_eq!(
        (&seen["content"]["type"], &seen["errors"]),
        (&json!("poll_creation"), &errors)
    );
    let older = json!({ "from": "12025550101", "id": "wamid.u2", "timestamp": AT, "type": "unsupported", "errors": errors });
    assert_eq!(said(&app, asha(), older).await["kind"], "unsupported");
    // A file that Meta could not take: the object is there, and incomplete.
    let mut large = from_asha("wamid.u3", AT, "video", json!({ "mime_type": "video/mp4" }));
    large["errors"] = json!([{ "code": 131_052, "title": "Media download error" }]);
    let seen = said(&app, asha(), large).await;
    assert_eq!(
        (&seen["has_media"], &seen["errors"][0]["code"]),
        (&json!(false), &json!(131_052))
    );
    for kind in ["request_welcome", "unknown", "hologram"] {
        let message = from_asha(&format!("wamid.{kind}"), AT, kind, json!({ "new": true }));
        assert_eq!(said(&app, asha(), message).await["kind"], kind);
    }
    // Meta's own test button: an id of another make and a number nobody has.
    let test = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "0", "changes": [{ "field": "messages", "value": {
        "messaging_product": "whatsapp", "metadata": { "display_phone_number": "16505551111", "phone_number_id": "123456123" },
        "contacts": [{ "profile": { "name": "test user name" }, "wa_id": "16315551181" }],
        "messages": [{ "from": "16315551181", "id": "ABGGFlA5Fpa", "timestamp": "1504902988", "type": "text", "text": { "body": "this is a text message" } }] } }] }] });
    assert_eq!(app.callback_bytes(test.to_string().into_bytes()).await, 200);
    app.process().await;
    let (_, page) = app.get("/api/v1/messages?limit=1").await;
    assert_eq!(page["messages"][0]["text"], "this is a text message");
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn forwarded_quoted_and_advertised_messages_say_so(database: Database) {
    let app = app(&database).await;
    let with = |id: &str, key: &str, part: Value| {
        let mut message = from_asha(id, AT, "text", json!({ "body": "x" }));
        message[key] = part;
        message
    };
    let seen = said(
        &app,
        asha(),
        with(
            "wamid.f1",
            "context",
            json!({ "frequently_forwarded": true }),
        ),
    )
    .await;
    assert_eq!(seen["context"]["frequently_forwarded"], true);
    let product = json!({ "from": "15550783881", "id": "wamid.q", "referred_product": { "catalog_id": "c", "product_retailer_id": "r" } });
    let seen = said(&app, asha(), with("wamid.f2", "context", product.clone())).await;
    assert_eq!(seen["context"], product);
    let referral = json!({ "source_url": "https://fb.me/x", "source_id": "1", "source_type": "ad", "body": "b", "headline": "h",
        "media_type": "image", "image_url": "https://example.com/i", "ctwa_clid": "c" });
    let mut image = from_asha("wamid.f3", AT, "image", json!({ "id": "mediaF" }));
    image["referral"] = referral.clone();
    let seen = said(&app, asha(), image).await;
    assert_eq!(seen["referral"], referral);
    // Who comes by an advertisement may be answered free of charge for 72 hours.
    let contact = seen["contact"].as_str().unwrap();
    let (_, person) = app.get(&format!("/api/v1/contacts/{contact}")).await;
    assert_eq!(
        person["windows"][0]["free_entry_until"],
        "2026-01-04T00:00:00.000000Z"
    );
    assert_eq!(person["windows"][0]["until"], "2026-01-02T00:00:00.000000Z");
}

async fn a_group_message_opens_no_window_and_answers_nothing(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(5);
    let mut message = from_asha("wamid.g1", AT + 5, "text", json!({ "body": "STOP" }));
    message["group_id"] = json!("Y2FwaV9ncm91cDox");
    let seen = said(&app, asha(), message).await;
    assert_eq!(seen["group"], "Y2FwaV9ncm91cDox");
    let (_, person) = app
        .get(&format!(
            "/api/v1/contacts/{}",
            seen["contact"].as_str().unwrap()
        ))
        .await;
    assert_eq!(person["windows"], json!([]));
    assert_eq!(person["wishes"], json!([]), "it was said to others");
    assert_eq!(app.stats().await["replied"], 0);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn people_without_numbers_profiles_or_names_are_kept(database: Database) {
    let app = app(&database).await;
    let text = |id: &str| json!({ "id": id, "timestamp": AT.to_string(), "type": "text", "text": { "body": id } });
    // By username: no number anywhere.
    let mut hidden = text("wamid.n1");
    hidden["from_user_id"] = json!("US.111");
    let contacts =
        json!([{ "profile": { "name": "Hidden", "username": "hidden" }, "user_id": "US.111" }]);
    let seen = said(&app, contacts, hidden).await;
    let (code, person) = app.get("/api/v1/contacts?user_id=US.111").await;
    assert_eq!(
        (code, &person["id"], &person["name"]),
        (200, &seen["contact"], &json!("Hidden"))
    );
    // No profile, no contacts at all, null lists.
    let mut bare = text("wamid.n2");
    bare["from"] = json!("12025550103");
    said(&app, json!([{ "wa_id": "12025550103" }]), bare).await;
    let mut alone = text("wamid.n3");
    alone["from"] = json!("12025550104");
    assert!(said(&app, json!(null), alone).await["contact"].is_string());
    // Nobody is named in the message, and one person beside it.
    let seen = said(&app, json!([{ "wa_id": "12025550105" }]), text("wamid.n4")).await;
    assert!(seen["contact"].is_string());
    // Nobody at all.
    let seen = said(&app, json!([]), text("wamid.n5")).await;
    assert_eq!(seen["contact"], json!(null));
    // Contacts in another order than messages.
    let (mut first, mut second) = (text("wamid.n6"), text("wamid.n7"));
    first["from"] = json!("12025550106");
    second["from"] = json!("12025550107");
    app.callback(json!({ "contacts": [
        { "wa_id": "12025550107", "profile": { "name": "Seven" } },
        { "wa_id": "12025550106", "profile": { "name": "Six" } } ], "messages": [first, second] }))
        .await;
    for (phone, name) in [("+12025550106", "Six"), ("+12025550107", "Seven")] {
        let (_, person) = app
            .get(&format!(
                "/api/v1/contacts?phone={}",
                phone.replace('+', "%2B")
            ))
            .await;
        assert_eq!(person["name"], name);
    }
}

async fn several_entries_changes_and_lists_are_all_read(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let text = |id: &str| from_asha(id, AT + 1, "text", json!({ "body": id }));
    let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": crate::harness::PHONE_NUMBER_ID });
    let body = json!({ "object": "whatsapp_business_account", "entry": [
        { "id": super::ACCOUNT, "changes": [
            { "field": "messages", "value": { "metadata": metadata, "messages": [text("wamid.s1"), text("wamid.s2")],
                "statuses": [{ "id": wamid, "status": "delivered", "timestamp": AT + 2 }],
                "errors": [{ "code": 130_429, "title": "Rate limit hit" }] } },
            { "field": "messages", "value": { "metadata": metadata, "messages": [text("wamid.s3")] } } ] },
        { "id": super::ACCOUNT, "waac_id": "9", "changes": [
            { "field": "messages", "value": { "metadata": metadata, "messages": [text("wamid.s4")] } },
            { "field": "a_field_of_tomorrow", "value": { "x": 1 } } ] } ] });
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM inbound_message").await, 4);
    assert_eq!(app.status_of(&id).await, "delivered");
    let (_, notices) = app.get("/api/v1/notices").await;
    let summaries: Vec<&Value> = notices["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| &notice["summary"])
        .collect();
    assert_eq!(
        summaries,
        ["not applied: a_field_of_tomorrow", "account error 130429"]
    );
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn fields_that_are_only_kept_act_on_nothing(database: Database) {
    let app = app(&database).await;
    let message = from_asha("wamid.k", AT, "text", json!({ "body": "STOP" }));
    for (field, value) in [
        (
            "smb_message_echoes",
            json!({ "message_echoes": [{ "from": "15550783881", "to": "12025550101", "id": "wamid.e", "timestamp": "1", "type": "text", "text": { "body": "hi" } }] }),
        ),
        ("message_echoes", json!({ "message_echoes": [] })),
        (
            "messaging_handovers",
            json!({ "recipient": { "id": "1" }, "timestamp": "1", "control_passed": {} }),
        ),
        (
            "history",
            json!({ "history": [{ "metadata": { "phase": 0, "chunk_order": 1, "progress": 5 }, "threads": [{ "id": "1", "messages": [message] }] }] }),
        ),
        (
            "smb_app_state_sync",
            json!({ "state_sync": [{ "type": "contact", "contact": { "full_name": "A", "phone_number": "1" }, "action": "add", "metadata": { "timestamp": "1" } }] }),
        ),
        (
            "group_lifecycle_update",
            json!({ "groups": [{ "timestamp": 1, "group_id": "g", "type": "group_create" }] }),
        ),
        ("tracking_events", json!({ "events": [] })),
    ] {
        told(&app, field, None, value).await;
    }
    assert_eq!(app.number("SELECT count(*) FROM inbound_message").await, 0);
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 0);
    assert_eq!(app.number("SELECT count(*) FROM suppression").await, 0);
    // All of it can be looked at.
    let listed = app.callbacks().await;
    let is_sound = |row: &&CallbackListRow| row.processed && row.dead_items == Some(0);
    assert_eq!(listed.iter().filter(is_sound).count(), 7);
    let (_, metrics) = app.text("/metrics").await;
    assert!(metrics.contains("herald_callback_other_total"), "{metrics}");
}

/// An app in front of the sandbox.
async fn with_sandbox(
    database: &Database,
    settings: &[(&str, &str)],
) -> (TestApp, herald::shutdown::ShutdownTokens) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = herald::shutdown::ShutdownTokens::default();
    let config = herald::sandbox::SandboxConfig {
        access_token: "token-for-tests".to_owned(),
        phone_number_id: crate::harness::PHONE_NUMBER_ID.to_owned(),
        app_secret: crate::harness::APP_SECRET.to_owned(),
        callback_url: None,
        sent_after: std::time::Duration::ZERO,
        delivered_after: std::time::Duration::ZERO,
        read_after: std::time::Duration::ZERO,
        takes: std::time::Duration::ZERO,
        ledger: None,
        chaos: None,
        myoperator: None,
        mail: None,
        workers: 1,
    };
    let stopping = stop.soft.clone();
    tokio::spawn(async move { herald::sandbox::run(config, listener, stopping).await });
    let mut all = vec![("WHATSAPP_API_BASE", base.as_str())];
    all.extend_from_slice(settings);
    (TestApp::spawn_with(database, &all, "").await, stop)
}

async fn media_is_fetched_on_demand_as_a_download_and_bounded(database: Database) {
    let (app, sandbox) = with_sandbox(&database, &[]).await;
    let image = |id: &str, media: &str| {
        from_asha(
            id,
            AT,
            "image",
            json!({ "id": media, "mime_type": "image/jpeg" }),
        )
    };
    let seen = said(&app, asha(), image("wamid.d1", "media1")).await;
    let path = format!("/api/v1/messages/{}/media", seen["id"].as_str().unwrap());
    let answer = app
        .http
        .get(format!("{}{path}", app.base))
        .bearer_auth(&app.key)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("content-disposition"), "attachment");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("x-media-type"), "image/jpeg");
    assert_eq!(answer.bytes().await.unwrap().len(), 12);
    for (id, media, expected) in [
        ("wamid.d2", "medialarge", "the file is larger than 16 MiB"),
        (
            "wamid.d3",
            "expired",
            "the provider no longer has this file or message",
        ),
        (
            "wamid.d4",
            "../v26.0/me",
            "the provider no longer has this file or message",
        ),
    ] {
        let seen = said(&app, asha(), image(id, media)).await;
        let (code, problem) = app
            .get(&format!(
                "/api/v1/messages/{}/media",
                seen["id"].as_str().unwrap()
            ))
            .await;
        assert_eq!(
            (code, &problem["detail"]),
            (422, &json!(expected)),
            "{problem}"
        );
    }
    let seen = said(
        &app,
        asha(),
        from_asha("wamid.d5", AT, "text", json!({ "body": "x" })),
    )
    .await;
    let (code, _) = app
        .get(&format!(
            "/api/v1/messages/{}/media",
            seen["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(code, 404);
    let (code, answer) = app
        .post(
            &format!("/api/v1/messages/{}/read", seen["id"].as_str().unwrap()),
            &json!({}),
        )
        .await;
    assert_eq!((code, &answer["read"]), (200, &json!(true)), "{answer}");
    sandbox.soft.cancel();
}

async fn a_provider_that_does_not_answer_is_named_as_the_cause(database: Database) {
    // Nothing listens at its address.
    let app = app(&database).await;
    let image = json!({ "id": "media1", "mime_type": "image/jpeg" });
    let image = from_asha("wamid.u1", AT, "image", image);
    let seen = said(&app, asha(), image).await;
    let id = seen["id"].as_str().unwrap();
    let (media, read) = (
        app.get(&format!("/api/v1/messages/{id}/media")).await,
        app.post(&format!("/api/v1/messages/{id}/read"), &json!({}))
            .await,
    );
    for (code, problem) in [media, read] {
        assert_eq!(
            (code, &problem["type"], &problem["retryable"]),
            (502, &json!("/problems/provider-unreachable"), &json!(true)),
            "{problem}"
        );
    }
}

/// The address of a provider that limits the rate of every call.
fn limiting_provider() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let error = json!({ "error": {
        "message": "(#4) Application request limit reached", "type": "OAuthException",
        "code": 4, "fbtrace_id": "A" } })
    .to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut size) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() > 2 {
                let header = line.to_lowercase();
                if let Some(length) = header.strip_prefix("content-length:") {
                    size = length.trim().parse().unwrap();
                }
                line.clear();
            }
            stream.read_exact(&mut vec![0; size]).unwrap();
            write!(
                stream.get_mut(),
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{error}",
                error.len()
            )
            .unwrap();
        }
    });
    address
}

async fn what_a_provider_refuses_may_be_possible_later(database: Database) {
    let base = limiting_provider();
    let app = TestApp::spawn_with(&database, &[("WHATSAPP_API_BASE", &base)], "").await;
    let image = json!({ "id": "media1", "mime_type": "image/jpeg" });
    let seen = said(&app, asha(), from_asha("wamid.r1", AT, "image", image)).await;
    let id = seen["id"].as_str().unwrap();
    let (media, read) = (
        app.get(&format!("/api/v1/messages/{id}/media")).await,
        app.post(&format!("/api/v1/messages/{id}/read"), &json!({}))
            .await,
    );
    for (code, problem) in [media, read] {
        assert_eq!(
            (code, &problem["type"], &problem["detail"]),
            (
                409,
                &json!("/problems/state"),
                &json!("the provider refused the request")
            ),
            "{problem}"
        );
    }
}

async fn messages_are_found_by_contact_and_time(database: Database) {
    let app = app(&database).await;
    for number in 0..3 {
        let message = from_asha(
            &format!("wamid.l{number}"),
            AT + number * 60,
            "text",
            json!({ "body": "x" }),
        );
        said(&app, asha(), message).await;
    }
    let mut other = from_asha("wamid.l9", AT, "text", json!({ "body": "y" }));
    other["from"] = json!("12025550109");
    other["from_user_id"] = json!("US.9");
    said(&app, json!([]), other).await;
    let count = async |query: &str| {
        let (code, page) = app.get(&format!("/api/v1/messages?{query}")).await;
        assert_eq!(code, 200, "{page}");
        page["messages"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 4);
    assert_eq!(count("phone=%2B12025550101").await, 3);
    assert_eq!(count("since=2026-01-01T00:01:00Z").await, 2);
    assert_eq!(
        count("phone=%2B12025550101&since=2026-01-01T00:02:00Z").await,
        1
    );
    assert_eq!(count("phone=%2B12025550999").await, 0);
    let (_, page) = app.get("/api/v1/messages?limit=1").await;
    let contact = page["messages"][0]["contact"].as_str().unwrap();
    assert_eq!(count(&format!("contact={contact}")).await, 1);
    for wrong in ["since=yesterday", "limit=0", "limit=201", "phone=123"] {
        assert_eq!(
            app.get(&format!("/api/v1/messages?{wrong}")).await.0,
            422,
            "{wrong}"
        );
    }
}

async fn what_people_write_is_marked_read_if_that_is_wanted(database: Database) {
    let off = app(&database).await;
    said(
        &off,
        asha(),
        from_asha("wamid.x", AT, "text", json!({ "body": "x" })),
    )
    .await;
    assert_eq!(
        off.number("SELECT count(*) FROM inbound_message WHERE read_due_at IS NOT NULL")
            .await,
        0
    );
    let app = TestApp::spawn_with(&database, &[("WHATSAPP_MARK_READ", "true")], "").await;
    said(
        &app,
        asha(),
        from_asha("wamid.x", AT, "text", json!({ "body": "x" })),
    )
    .await;
    let turn = async |app: &TestApp| {
        herald::engine::ingest::read_marks::turn(&app.engine, &app.meta, app.sender, app.now())
            .await
            .unwrap()
    };
    // Out of reach: later; then marked; then never again.
    app.meta.cannot_be_reached(true);
    assert_eq!(turn(&app).await, 1);
    assert_eq!(turn(&app).await, 0, "not before a minute");
    app.pass(61);
    app.meta.cannot_be_reached(false);
    // A tick is a call: none is made while sending is on hold.
    let reason = json!({ "reason": "a test" });
    assert_eq!(app.admin("POST", "/api/v1/hold", &reason).await.0, 200);
    assert_eq!(turn(&app).await, 0);
    let released = app.admin("POST", "/api/v1/hold/release", &json!({})).await;
    assert_eq!(released.0, 200);
    assert_eq!(turn(&app).await, 1);
    assert_eq!(app.meta.marked(), ["wamid.x"]);
    app.pass(3600);
    assert_eq!(turn(&app).await, 0);
    // Out of reach for an hour: nobody needs that tick any more.
    said(
        &app,
        asha(),
        from_asha("wamid.y", AT, "text", json!({ "body": "y" })),
    )
    .await;
    app.meta.cannot_be_reached(true);
    let mut looked = 0;
    for _ in 0..70 {
        looked += turn(&app).await;
        app.pass(61);
    }
    assert_eq!(looked, 61, "once a minute for an hour, and never again");
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message WHERE read_due_at IS NOT NULL")
            .await,
        0
    );
}

async fn whoever_listens_hears_what_people_write(database: Database) {
    let app = app(&database).await;
    let message = |id: &str| from_asha(id, AT, "text", json!({ "body": "help, please" }));
    said(&app, asha(), message("wamid.1")).await;
    assert_eq!(
        app.number("SELECT count(*) FROM event").await,
        0,
        "nobody listens"
    );
    let catalogue = "name = \"desk\"\n[[contact]]\nname = \"Desk\"\nphone = \"+12025550190\"\n\
        [[template]]\nname = \"desk_note\"\ncategory = \"utility\"\nbody = \"Somebody ({{ who }}) wrote: {{ what }}.\"\n\
        [[route]]\nname = \"desk\"\nevent = \"herald.message.received\"\nwhen = \"'help' in data.text\"\nto = \"contact:Desk\"\n\
        template = \"desk_note\"\nparams = { who = \"{{ data.name }}\", what = \"{{ data.text }}\" }\n";
    app.apply_catalogue(catalogue).await;
    said(&app, asha(), message("wamid.2")).await;
    said(
        &app,
        asha(),
        from_asha("wamid.3", AT, "text", json!({ "body": "thanks" })),
    )
    .await;
    // The same message in another body is no second message.
    app.callback(json!({ "again": 1, "contacts": asha(), "messages": [message("wamid.2")] }))
        .await;
    let (_, page) = app.get("/api/v1/notifications").await;
    assert_eq!(page["notifications"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(app.number("SELECT count(*) FROM event").await, 2);
    are_like_their_examples(&app, HeraldEventType::MessageReceived).await;
    let id = page["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(
        app.notification(id).await["text"],
        "Somebody (Asha) wrote: help, please."
    );
}
