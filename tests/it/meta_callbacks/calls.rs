//! Voice calls: every report of one, in any order, and the voicemail that has its id.

use serde_json::{Value, json};

use super::{app, from_asha, told};
use crate::harness::{Database, PHONE_NUMBER_ID, TestApp};

crate::tests![
    a_voicemail_is_kept_beside_the_call_that_has_its_id,
    a_call_tells_what_became_of_it_in_whatever_order_it_is_reported,
    a_call_of_ours_is_listed_and_opens_no_window,
    a_message_with_the_id_of_another_is_listed_unless_it_is_the_same,
];

const AT: i64 = 1_767_225_000;

fn value(more: Value) -> Value {
    let mut value = json!({ "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID },
        "contacts": [{ "wa_id": "12025550101", "user_id": "US.13491208655302741918", "profile": { "name": "Asha" } }] });
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    value
}

fn call(id: &str, event: &str, after: i64, more: Value) -> Value {
    let mut call = json!({ "id": id, "from": "12025550101", "to": "15550783881", "event": event,
        "direction": "USER_INITIATED", "timestamp": (AT + after).to_string() });
    call.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    value(json!({ "calls": [call] }))
}

async fn messages(app: &TestApp) -> Vec<Value> {
    let (code, page) = app.get("/api/v1/messages").await;
    assert_eq!(code, 200, "{page}");
    page["messages"].as_array().unwrap().clone()
}

async fn a_voicemail_is_kept_beside_the_call_that_has_its_id(database: Database) {
    for voicemail_first in [false, true] {
        let app = app(&database).await;
        let voicemail = from_asha(
            "wacid.VM1",
            AT + 40,
            "audio",
            json!({ "id": "1002764438271669", "mime_type": "audio/ogg; codecs=opus" }),
        );
        let voicemail = value(json!({ "messages": [voicemail] }));
        let connect = call(
            "wacid.VM1",
            "connect",
            0,
            json!({ "cta_payload": "order-17" }),
        );
        if voicemail_first {
            told(&app, "messages", None, voicemail.clone()).await;
        }
        told(&app, "calls", None, connect).await;
        let ended = json!({ "status": "FAILED" });
        told(
            &app,
            "calls",
            None,
            call("wacid.VM1", "terminate", 20, ended),
        )
        .await;
        if !voicemail_first {
            told(&app, "messages", None, voicemail).await;
        }
        let found = messages(&app).await;
        assert_eq!(found.len(), 2, "{found:?}");
        let of_kind = |kind: &str| found.iter().find(|row| row["kind"] == kind).unwrap();
        let (audio, call) = (of_kind("audio"), of_kind("call"));
        assert_eq!(audio["has_media"], true);
        assert_eq!(audio["contact"], call["contact"]);
        assert_eq!(call["call"]["state"], "missed");
        assert_eq!(call["call"]["direction"], "user_initiated");
        assert_eq!(call["content"][0]["cta_payload"], "order-17");
        for row in [audio, call] {
            assert_eq!(row["provider_message_id"], "wacid.VM1");
        }
        // Nothing was dropped, and a call cannot be marked as read.
        let (_, notices) = app.get("/api/v1/notices").await;
        assert_eq!(notices["notices"], json!([]));
        let read = format!("/api/v1/messages/{}/read", call["id"].as_str().unwrap());
        assert_eq!(app.post(&read, &json!({})).await.0, 422);
    }
}

async fn a_call_tells_what_became_of_it_in_whatever_order_it_is_reported(database: Database) {
    let connect = || {
        call(
            "wacid.1",
            "connect",
            0,
            json!({ "session": { "sdp_type": "offer" } }),
        )
    };
    let ended = json!({ "status": "COMPLETED", "start_time": (AT + 5).to_string(), "end_time": (AT + 65).to_string(),
        "duration": 60, "recording": { "id": "778899" } });
    let terminate = || call("wacid.1", "terminate", 65, ended.clone());
    for reports in [[connect(), terminate()], [terminate(), connect()]] {
        let app = app(&database).await;
        for report in &reports {
            told(&app, "calls", None, report.clone()).await;
            // The same once more changes nothing.
            let mut again = report.clone();
            again["again"] = json!(null);
            told(&app, "calls", None, again).await;
        }
        let found = messages(&app).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let call = &found[0]["call"];
        assert_eq!(
            *call,
            json!({ "direction": "user_initiated", "state": "completed", "offered_at": "2025-12-31T23:50:00.000000Z",
                "accepted_at": "2025-12-31T23:50:05.000000Z", "ended_at": "2025-12-31T23:51:05.000000Z",
                "duration_seconds": 60, "has_recording": true })
        );
        assert_eq!(found[0]["has_media"], true);
        assert_eq!(found[0]["sent_at"], "2025-12-31T23:50:00.000000Z");
        assert_eq!(found[0]["content"].as_array().unwrap().len(), 2);
        // Whoever calls opens the window, once it is known that they called.
        let contact = found[0]["contact"].as_str().unwrap();
        let (_, person) = app.get(&format!("/api/v1/contacts/{contact}")).await;
        assert_eq!(person["windows"][0]["open"], true);
        let (_, notices) = app.get("/api/v1/notices").await;
        assert_eq!(notices["notices"], json!([]));
    }
}

async fn a_call_of_ours_is_listed_and_opens_no_window(database: Database) {
    for (statuses, ended, state) in [
        (&["RINGING"][..], None, "ringing"),
        (&["RINGING", "ACCEPTED"][..], None, "accepted"),
        (&["RINGING", "REJECTED"][..], Some("FAILED"), "rejected"),
        (&["RINGING"][..], Some("FAILED"), "failed"),
        (&["ACCEPTED"][..], Some("COMPLETED"), "completed"),
    ] {
        let app = app(&database).await;
        for (after, status) in (1..).zip(statuses) {
            let status = json!({ "type": "call", "id": "wacid.2", "status": status, "timestamp": AT + after,
                "recipient_id": "12025550101" });
            told(&app, "calls", None, value(json!({ "statuses": [status] }))).await;
        }
        if let Some(status) = ended {
            let more = json!({ "direction": "BUSINESS_INITIATED", "from": "15550783881", "to": "12025550101", "status": [status] });
            told(&app, "calls", None, call("wacid.2", "terminate", 30, more)).await;
        }
        let found = messages(&app).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["call"]["direction"], "business_initiated");
        assert_eq!(found[0]["call"]["state"], state);
        let contact = found[0]["contact"].as_str().unwrap();
        let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
        assert_eq!(person["id"], contact);
        assert_eq!(person["windows"], json!([]));
        assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 0);
    }
}

async fn a_message_with_the_id_of_another_is_listed_unless_it_is_the_same(database: Database) {
    let app = app(&database).await;
    let text = |body: &str| from_asha("wamid.1", AT, "text", json!({ "body": body }));
    let post = async |message: Value, round: i64| {
        told(
            &app,
            "messages",
            Some(round),
            value(json!({ "messages": [message] })),
        )
        .await;
    };
    post(text("one"), 1).await;
    post(text("one"), 2).await;
    let (_, notices) = app.get("/api/v1/notices").await;
    assert_eq!(notices["notices"], json!([]), "the same again is no news");
    post(text("two"), 3).await;
    let (_, notices) = app.get("/api/v1/notices").await;
    let notice = &notices["notices"][0];
    assert_eq!(notice["outcome"], "duplicate_differs");
    assert_eq!(notice["field"], "messages");
    assert_eq!(notice["value"]["text"]["body"], "two");
    assert_eq!(messages(&app).await[0]["text"], "one");
    let (_, metrics) = app.text("/metrics").await;
    assert!(
        metrics.contains("herald_callback_duplicate_differs_total"),
        "{metrics}"
    );
    // Of a call, no more reports are kept than any call has.
    for after in 0..40 {
        let more = json!({ "status": after });
        told(&app, "calls", None, call("wacid.9", "hold", after, more)).await;
    }
    let (_, notices) = app.get("/api/v1/notices?field=calls").await;
    assert_eq!(notices["notices"].as_array().unwrap().len(), 8);
}
