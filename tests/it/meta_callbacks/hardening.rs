//! Whatever is posted: no 5xx, no lost neighbour, no worker that stops.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use super::{app, asha, from_asha};
use crate::harness::{Database, TestApp, status};

crate::tests![
    no_mutated_body_is_refused_or_loses_a_neighbour,
    no_broken_bytes_stop_a_worker,
    ten_of_a_thousand_that_cannot_be_applied_are_dead_one_by_one_until_the_fault_is_gone,
    ten_of_a_thousand_that_are_malformed_are_dead_one_by_one,
    depth_and_size_are_bounded_item_by_item,
    a_slow_sender_holds_nobody_up,
];

const AT: i64 = 1_767_225_600;

/// A value of each kind that Meta sends, as deep as it gets.
fn corpus() -> Vec<(&'static str, Value)> {
    let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": crate::harness::PHONE_NUMBER_ID });
    let message = |kind: &str, content: Value| json!({ "metadata": metadata, "contacts": asha(), "messages": [from_asha("wamid.c", AT, kind, content)] });
    vec![
        ("messages", message("text", json!({ "body": "hello" }))),
        (
            "messages",
            message(
                "image",
                json!({ "id": "media1", "caption": "c", "sha256": "x" }),
            ),
        ),
        (
            "messages",
            message(
                "interactive",
                json!({ "type": "nfm_reply", "nfm_reply": { "response_json": "{}" } }),
            ),
        ),
        (
            "messages",
            message(
                "contacts",
                json!([{ "name": { "formatted_name": "R" }, "phones": [{ "wa_id": "1" }] }]),
            ),
        ),
        (
            "messages",
            message(
                "reaction",
                json!({ "message_id": "wamid.r", "emoji": "👍" }),
            ),
        ),
        (
            "messages",
            message(
                "edit",
                json!({ "original_message_id": "wamid.o", "message": { "text": { "body": "e" } } }),
            ),
        ),
        (
            "messages",
            json!({ "metadata": metadata, "messages": [{ "id": "wamid.s", "timestamp": "1", "type": "system", "from": "12025550177",
            "system": { "type": "user_changed_number", "wa_id": "12025550178", "user_id": "US.8", "previous_user_id": "US.7" } }] }),
        ),
        (
            "messages",
            json!({ "metadata": metadata, "contacts": asha(), "statuses": [{ "id": "wamid.u", "status": "failed", "timestamp": "1767225600",
            "recipient_id": "12025550101", "recipient_user_id": "US.1", "pricing": { "type": "regular", "category": "utility" },
            "errors": [{ "code": 131_026, "title": "t", "error_data": { "details": "d" } }] }] }),
        ),
        (
            "messages",
            json!({ "metadata": metadata, "errors": [{ "code": 130_429, "title": "t" }] }),
        ),
        (
            "calls",
            json!({ "metadata": metadata, "calls": [{ "id": "wacid.1", "from": "12025550101", "event": "connect", "timestamp": "1" }] }),
        ),
        (
            "user_preferences",
            json!({ "contacts": asha(), "user_preferences": [{ "wa_id": "12025550101", "user_id": "US.1", "category": "marketing_messages", "value": "stop", "timestamp": 1 }] }),
        ),
        (
            "message_template_status_update",
            json!({ "event": "PAUSED", "message_template_id": 1, "message_template_name": "t", "message_template_language": "en_US", "reason": null, "other_info": { "title": "x" } }),
        ),
        (
            "template_category_update",
            json!({ "previous_category": "UTILITY", "new_category": "MARKETING", "message_template_name": "t", "message_template_language": "en" }),
        ),
        (
            "account_update",
            json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [{ "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1 }] }),
        ),
        (
            "account_alerts",
            json!({ "entity_type": "BUSINESS", "alert_info": { "alert_severity": "CRITICAL", "alert_type": "X" } }),
        ),
        (
            "phone_number_quality_update",
            json!({ "display_phone_number": "1", "event": "FLAGGED", "current_limit": "TIER_1K" }),
        ),
    ]
}

/// Every place in a document.
fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                places(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn strange_values() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5e300),
        json!(""),
        json!("\u{0}"),
        json!("9".repeat(400)),
        json!("é\u{202e}\u{fffe}"),
        json!([]),
        json!({}),
        json!([null, 1, "x", {}]),
        json!({ "id": { "id": [] } }),
        deep,
    ]
}

/// A body whose first entry is the mutated one; its neighbour must be applied.
fn body(field: &str, value: &Value, number: usize) -> Vec<u8> {
    let neighbour = json!({ "metadata": { "phone_number_id": crate::harness::PHONE_NUMBER_ID },
        "messages": [{ "from": "12025550150", "id": format!("wamid.neighbour{number}"), "timestamp": AT, "type": "text", "text": { "body": "n" } }] });
    json!({ "object": "whatsapp_business_account", "entry": [
        { "id": super::ACCOUNT, "time": AT, "changes": [{ "field": field, "value": value }] },
        { "id": super::ACCOUNT, "changes": [{ "field": "messages", "value": neighbour }] } ] })
    .to_string()
    .into_bytes()
}

/// Posts bodies, sixteen at a time; all must be taken. As Meta does, what the
/// server is too busy for (503) is posted again; nothing may be refused otherwise.
async fn post(app: &TestApp, mut bodies: Vec<Vec<u8>>) {
    use futures_util::{StreamExt, stream};
    for _ in 0..5 {
        let answers: Vec<(u16, Vec<u8>)> = stream::iter(bodies)
            .map(async |body| (app.callback_bytes(body.clone()).await, body))
            .buffer_unordered(16)
            .collect()
            .await;
        let refused = answers
            .iter()
            .find(|(answer, _)| ![200, 503].contains(answer));
        assert!(refused.is_none(), "{refused:?}");
        bodies = answers
            .into_iter()
            .filter(|(answer, _)| *answer == 503)
            .map(|(_, body)| body)
            .collect();
        if bodies.is_empty() {
            break;
        }
    }
    assert!(bodies.is_empty(), "never taken: {bodies:?}");
    app.process().await;
}

async fn alive(app: &TestApp) {
    let id = app.order("ALIVE", "+12025550199").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    assert_eq!(app.status_of(&id).await, "delivered");
    assert_eq!(app.callbacks_waiting().await, 0);
}

async fn no_mutated_body_is_refused_or_loses_a_neighbour(database: Database) {
    let app = app(&database).await;
    let mut bodies = Vec::new();
    for (field, value) in corpus() {
        let mut found = Vec::new();
        places(&value, "", &mut found);
        for place in found {
            for strange in strange_values() {
                let mut mutated = value.clone();
                *mutated.pointer_mut(&place).unwrap() = strange;
                bodies.push(body(field, &mutated, bodies.len()));
            }
            // Without it, and twice.
            if let Some((parent, key)) = place.rsplit_once('/') {
                let mut mutated = value.clone();
                match mutated.pointer_mut(parent).unwrap() {
                    Value::Object(object) => drop(object.remove(key)),
                    Value::Array(items) => {
                        let again = items[0].clone();
                        items.push(again);
                    }
                    _ => {}
                }
                bodies.push(body(field, &mutated, bodies.len()));
            }
        }
    }
    let count = i64::try_from(bodies.len()).unwrap();
    assert!(count > 3000, "{count}");
    post(&app, bodies).await;
    assert_eq!(
        app.number(
            "SELECT count(*) FROM inbound_message WHERE provider_message_id LIKE 'wamid.neighbour%'"
        )
        .await,
        count
    );
    app.sql("DELETE FROM suppression").await;
    app.sql("UPDATE sender SET state = 'active', probe_at = NULL")
        .await;
    alive(&app).await;
}

async fn no_broken_bytes_stop_a_worker(database: Database) {
    let app = app(&database).await;
    let mut runner = TestRunner::deterministic();
    let cuts = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<u8>(),
    );
    let mut bodies = Vec::new();
    for (number, (field, value)) in corpus().into_iter().cycle().take(800).enumerate() {
        let mut bytes = body(field, &value, number);
        let (cut, at, byte) = cuts.new_tree(&mut runner).unwrap().current();
        let at = at.index(bytes.len());
        match number % 3 {
            0 => bytes.truncate(cut.index(bytes.len())),
            1 => bytes[at] = byte,
            _ => bytes.insert(at, byte),
        }
        bodies.push(bytes);
    }
    post(&app, bodies).await;
    app.sql("DELETE FROM suppression").await;
    app.sql("UPDATE sender SET state = 'active', probe_at = NULL")
        .await;
    alive(&app).await;
}

fn thousand() -> Vec<Value> {
    (0..1000)
        .map(|number| {
            json!({ "from": format!("1202555{:04}", number % 50), "id": format!("wamid.t{number}"), "timestamp": AT + number,
                "type": "text", "text": { "body": format!("message {number}") } })
        })
        .collect()
}

async fn ten_of_a_thousand_that_cannot_be_applied_are_dead_one_by_one_until_the_fault_is_gone(
    database: Database,
) {
    let app = app(&database).await;
    let fault = match database {
        Database::Sqlite => {
            "CREATE TRIGGER broken BEFORE INSERT ON inbound_message WHEN NEW.provider_message_id LIKE 'wamid.t%77' \
             BEGIN SELECT RAISE(ABORT, 'played by a test'); END"
        }
        Database::Postgres => {
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.provider_message_id LIKE 'wamid.t%77' THEN RAISE EXCEPTION 'played by a test' USING ERRCODE = '22000'; \
             END IF; RETURN NEW; END $$; \
             CREATE TRIGGER broken BEFORE INSERT ON inbound_message FOR EACH ROW EXECUTE FUNCTION broken()"
        }
    };
    app.sql(fault).await;
    app.callback(json!({ "messages": thousand() })).await;
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        990
    );
    assert_eq!(
        app.number("SELECT count(DISTINCT pointer) FROM dead_letter")
            .await,
        10
    );
    assert_eq!(app.newest_counts().await, (1000, 10));
    let callback = app.newest_callback().await;
    assert_eq!(
        app.replay(callback).await.dead,
        10,
        "the fault is still there"
    );
    app.sql(match database {
        Database::Sqlite => "DROP TRIGGER broken",
        Database::Postgres => "DROP TRIGGER broken ON inbound_message",
    })
    .await;
    assert_eq!(app.replay(callback).await.dead, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        1000
    );
    assert_eq!(
        app.number("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL")
            .await,
        0
    );
    // Once more changes nothing.
    let lines = app.timeline_lines().await;
    app.replay(callback).await;
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        1000
    );
    assert_eq!(app.timeline_lines().await, lines);
}

async fn ten_of_a_thousand_that_are_malformed_are_dead_one_by_one(database: Database) {
    let app = app(&database).await;
    let mut messages = thousand();
    for (number, bad) in (0..10).zip(
        [
            json!(7),
            json!({ "type": "text", "timestamp": "1" }),
            json!({ "id": "wamid.x", "timestamp": "1" }),
        ]
        .iter()
        .cycle(),
    ) {
        messages[number * 97 + 3] = bad.clone();
    }
    app.callback(json!({ "messages": messages })).await;
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        990
    );
    assert_eq!(
        app.number("SELECT count(DISTINCT pointer) FROM dead_letter")
            .await,
        10
    );
    assert_eq!(
        app.number("SELECT count(DISTINCT reason) FROM dead_letter")
            .await,
        3
    );
}

async fn depth_and_size_are_bounded_item_by_item(database: Database) {
    let app = app(&database).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let neighbour = format!(
        r#"{{"from":"12025550150","id":"wamid.fine","timestamp":"{AT}","type":"text","text":{{"body":"n"}}}}"#
    );
    let raw = format!(
        r#"{{"entry":[{{"changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"{}"}},"messages":[
            {{"from":"12025550151","id":"wamid.deep","timestamp":"{AT}","type":"text","text":{{"body":"d"}},"new":{deep}}},{neighbour}]}}}},
            {{"field":"account_update","value":{{"event":"X","deep":{deep}}}}}]}}]}}"#,
        crate::harness::PHONE_NUMBER_ID
    );
    post(&app, vec![raw.into_bytes()]).await;
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message WHERE provider_message_id = 'wamid.fine'")
            .await,
        1
    );
    let (code, _) = app.get("/api/v1/messages").await;
    assert_eq!(code, 200);
    // More items than any callback of Meta's has: the first are applied, the rest is one dead letter.
    let many: Vec<Value> = (0..20_100)
        .map(|number| status(&format!("wamid.many{number}"), None, "hologram", AT, None))
        .collect();
    let value = crate::harness::value(json!({ "statuses": many }));
    post(&app, vec![value.to_string().into_bytes()]).await;
    assert_eq!(
        app.number("SELECT count(*) FROM dead_letter WHERE reason LIKE 'more items%'")
            .await,
        1
    );
    alive(&app).await;
}

async fn a_slow_sender_holds_nobody_up(database: Database) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let settings = [
        ("HERALD_INBOX_MEGABYTES", "4"),
        ("HERALD_INBOX_WAIT_MILLISECONDS", "300"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    // Announces three megabytes, and sends nothing more.
    let address = app.base.trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nX-Hub-Signature-256: sha256={}\r\nContent-Length: 3000000\r\n\r\n{{",
        "00".repeat(32)
    );
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let large = vec![b' '; 2_000_000];
    let mut answer = [0; 12];
    // An ordinary callback has room of its own; a large one waits, and gets its turn.
    assert_eq!(app.callback_bytes(br#"{"entry":[]}"#.to_vec()).await, 200);
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(app.callback_bytes(large).await, 200);
}
