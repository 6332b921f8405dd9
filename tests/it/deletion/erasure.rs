//! What callbacks, messages and events hold of a person is erased after the deletion.

use std::path::Path;

use bytes::Bytes;
use herald::{
    domain::callback_id::{CallbackId, CallbackSegmentId},
    engine::ingest::{self, CallbackReplayOutcome, inbox},
    store::{
        callback::{
            self, CallbackClaimSizeLimits, CallbackErasureRange, NewCallback, NewCallbackSegment,
        },
        changes,
    },
    workers::{self, WorkerTurnOutcome},
};
use sea_orm::{ConnectionTrait, Statement, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CATALOGUE, add, hello};
use crate::{
    cli::{herald, text},
    harness::{Database, TestApp, status, value},
};

crate::tests![
    everything_that_a_deleted_person_wrote_is_erased_and_nothing_else,
    what_waits_to_be_applied_is_erased_when_it_was,
    an_erasure_that_was_interrupted_is_done_again,
    a_damaged_segment_does_not_stop_an_erasure,
    much_is_erased_in_several_steps,
    a_longer_number_is_another_person,
    who_is_kept_for_an_opt_out_is_erased_as_well,
    a_message_of_an_erased_callback_is_known_when_it_comes_again,
    a_reader_of_older_pages_is_waited_for_and_finds_no_identifiers_later,
];

const MINA: &str = "12025550111";
const RAVI: &str = "12025550112";

/// What only Mina wrote, or is called: in a text, as a profile name, in a form, and in two notices.
const MARKERS: [&str; 4] = [
    "marker-of-a-text-4711",
    "Mina Profilename",
    "marker-of-a-form-4712",
    "marker-of-a-notice-4713",
];

/// A route that answers what people write, so that its event is stored.
const ROUTE: &str = r#"
[[route]]
name = "received"
event = "herald.message.received"
to = "contact:asha"
template = "hello"
"#;

fn bytes(content: Value) -> Vec<u8> {
    value(content).to_string().into_bytes()
}

fn delivered(wamid: &str, number: &str) -> Vec<u8> {
    let mut status = status(wamid, None, "delivered", 1_767_225_600, None);
    status["recipient_id"] = json!(number);
    bytes(json!({ "statuses": [status] }))
}

fn message(id: &str, number: &str, kind: &str, content: &Value) -> Value {
    json!({ "from": number, "id": id, "timestamp": "1767225600", "type": kind, kind: content })
}

/// A text, with the name that its author has given.
fn written(id: &str, number: &str, name: &str, text: &str) -> Vec<u8> {
    bytes(json!({
        "contacts": [{ "profile": { "name": name }, "wa_id": number }],
        "messages": [message(id, number, "text", &json!({ "body": text }))],
    }))
}

/// Stores bodies as one segment.
async fn store(app: &TestApp, bodies: &[Vec<u8>]) -> CallbackSegmentId {
    let bodies = bodies.iter().map(|body| NewCallback {
        digest: inbox::digest("meta", body, None),
        body: Bytes::from(body.clone()),
        copies: 1,
        signed_by: None,
    });
    let segment = NewCallbackSegment {
        id: app.store.inbox().new_segment_id(app.now()),
        endpoint: "meta",
        urgent: false,
        lease: None,
        bodies: bodies.collect(),
    };
    let (batch, now) = ([segment.prepare()], app.now());
    let inbox = app.store.inbox();
    let stored = inbox.write(async |tx| callback::store_batch(tx, &batch, now).await);
    stored.await.unwrap()[0].id
}

async fn stored_body(app: &TestApp, id: Uuid) -> Option<Vec<u8>> {
    let stored = callback::body(&app.store, id).await.unwrap().unwrap();
    let content = stored.content;
    assert!(!content.is_erased || content.body.is_empty());
    (!content.is_erased).then(|| content.body.to_vec())
}

/// The callbacks of a segment that are erased, by their positions.
async fn erased(app: &TestApp, segment: CallbackSegmentId) -> Vec<usize> {
    let mut all: Vec<_> = app.callbacks().await;
    all.retain(|row| CallbackSegmentId::of(row.id) == segment);
    all.reverse();
    let places = all.iter().enumerate().filter(|(_, row)| row.erased);
    places.map(|(place, _)| place).collect()
}

async fn erase_once(app: &TestApp) -> bool {
    let turn = workers::erasure::turn(&app.engine, app.now());
    turn.await.unwrap() == WorkerTurnOutcome::Worked
}

/// Erases until nothing can be done. Says how many steps it took.
async fn erase(app: &TestApp) -> usize {
    let mut steps = 0;
    while erase_once(app).await {
        steps += 1;
    }
    steps
}

async fn open(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM callback_erasure").await
}

async fn delete(app: &TestApp, path: &str) -> Value {
    let (code, deleted) = app.admin("DELETE", path, &Value::Null).await;
    assert_eq!(code, 200, "{deleted}");
    deleted
}

/// Everything that is stored compressed, as text: bodies of callbacks, and the stream.
async fn unpacked(app: &TestApp) -> String {
    let mut all = String::new();
    for row in app.callbacks().await {
        let body = stored_body(app, row.id).await.unwrap_or_default();
        all += &String::from_utf8_lossy(&body);
    }
    for event in changes::after(&app.store, 0, 1000).await.unwrap() {
        all += event.data.get();
    }
    all
}

/// Which markers are anywhere in the database.
async fn markers(app: &TestApp) -> Vec<&'static str> {
    let mut all = unpacked(app).await.into_bytes();
    if let Some(path) = app.database_url.strip_prefix("sqlite:") {
        for file in [path.to_owned(), format!("{path}-wal")] {
            if Path::new(&file).exists() {
                all.extend(std::fs::read(&file).unwrap());
            }
        }
    } else {
        for sql in [
            "SELECT coalesce(text, '') || coalesce(payload, '') || item FROM inbound_message",
            "SELECT data FROM event",
            "SELECT item FROM notice",
            "SELECT encode(coalesce(record, ''), 'escape') FROM notification",
            "SELECT coalesce(detail, '') FROM timeline",
            "SELECT coalesce(profile_name, '') FROM contact",
        ] {
            all.extend(app.texts(sql).await.concat().into_bytes());
        }
    }
    let is_in = |marker: &&str| all.windows(marker.len()).any(|it| it == marker.as_bytes());
    MARKERS.into_iter().filter(is_in).collect()
}

/// A message to Mina, with its id at the provider.
async fn sent(app: &TestApp) -> (String, String) {
    let id = hello(app, "+12025550111").await;
    app.send().await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    (id, wamid.as_str().unwrap().to_owned())
}

async fn everything_that_a_deleted_person_wrote_is_erased_and_nothing_else(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!("{CATALOGUE}{ROUTE}")).await;
    let path = add(&app, &json!({"phone": "+12025550111", "name": "Mina"})).await;
    let (notification, wamid) = sent(&app).await;
    let [said, profile, filled, noticed] = MARKERS;
    let form = json!({ "type": "nfm_reply", "nfm_reply": { "name": "flow", "body": "Sent", "response_json": filled } });
    let of_mina = vec![
        delivered(&wamid, MINA),
        written("wamid.M1", MINA, profile, said),
        bytes(json!({ "messages": [message("wamid.M2", MINA, "interactive", &form)] })),
        // The id of another message: a notice. A status that is parked, and an item that is dead.
        written("wamid.M1", MINA, profile, noticed),
        delivered("wamid.STRAY", MINA),
        bytes(json!({ "messages": [{ "from": MINA }] })),
    ];
    let of_others = vec![
        delivered("wamid.R0", RAVI),
        written("wamid.R1", RAVI, "Ravi", "not to be erased"),
        b"not json".to_vec(),
    ];
    let all: Vec<Vec<u8>> = of_mina.iter().chain(&of_others).cloned().collect();
    let segment = store(&app, &all).await;
    app.settle().await;
    assert_eq!(markers(&app).await, MARKERS, "all of them are found");
    let dead = "SELECT count(*) FROM dead_letter";
    assert_eq!(app.number(dead).await, 2);
    let parked = "SELECT count(*) FROM parked_status";
    assert_eq!(app.number(parked).await, 2);
    let (_, listed) = app.get("/api/v1/messages").await;
    assert_eq!(listed["messages"].as_array().unwrap().len(), 3, "{listed}");
    let all = listed["messages"].as_array().unwrap();
    let from_mina = all.iter().find(|it| it["text"] == said).unwrap();
    let from_mina = from_mina["id"].as_str().unwrap().to_owned();

    app.pass(60);
    delete(&app, &path).await;
    assert_eq!(open(&app).await, 1);
    erase(&app).await;
    assert_eq!(open(&app).await, 0);
    assert_eq!(markers(&app).await, Vec::<&str>::new());
    assert_eq!(erased(&app, segment).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!((app.number(dead).await, app.number(parked).await), (1, 1));

    // What others wrote is as it was.
    for (position, body) in (6_u32..).zip(&of_others) {
        let id = CallbackId::new(segment, position).uuid();
        assert_eq!(stored_body(&app, id).await.as_ref(), Some(body));
        assert_eq!(app.replay(id).await.bodies, 1);
    }
    let (_, listed) = app.get("/api/v1/messages").await;
    let texts: Vec<&Value> = listed["messages"].as_array().unwrap().iter().collect();
    assert_eq!(
        (texts.len(), &texts[0]["text"]),
        (1, &json!("not to be erased"))
    );
    assert_eq!(
        app.get(&format!("/api/v1/messages/{from_mina}")).await.0,
        404
    );
    // The record of what was sent stays.
    let kept = app.notification(&notification).await;
    assert_eq!(kept["status"], "delivered", "{kept}");
    assert!(kept["timeline"].to_string().contains("replied"), "{kept}");

    // A callback that comes again is known, though it is erased, and nothing can be replayed of it.
    let stored = app.callbacks_stored().await;
    let messages = app.number("SELECT count(*) FROM inbound_message").await;
    for body in &of_mina {
        assert_eq!(app.callback_bytes(body.clone()).await, 200);
    }
    app.settle().await;
    assert_eq!(app.callbacks_stored().await, stored);
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        messages
    );
    let id = CallbackId::new(segment, 1).uuid();
    let replayed = ingest::replay(&app.engine, id, app.now()).await.unwrap();
    assert!(matches!(replayed, CallbackReplayOutcome::Erased));
    assert_eq!(app.number(dead).await, 1);
    let folder = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (
            ["callbacks", "show"],
            "body       erased: a person it concerns was deleted",
        ),
        (
            ["callbacks", "replay"],
            ": erased: a person it concerns was deleted",
        ),
    ] {
        let id = id.to_string();
        let output = herald(&app.database_url, folder.path(), &[words[0], words[1], &id]);
        let said = text(&output);
        assert!(output.status.success() && said.contains(expected), "{said}");
    }
}

async fn what_waits_to_be_applied_is_erased_when_it_was(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let [said, profile, ..] = MARKERS;
    let first = store(&app, &[written("wamid.M0", MINA, profile, "before")]).await;
    app.process().await;
    let waiting = store(&app, &[written("wamid.M1", MINA, profile, said)]).await;
    app.pass(60);
    delete(&app, &path).await;
    erase(&app).await;
    assert_eq!(erased(&app, first).await, [0]);
    assert_eq!(erased(&app, waiting).await, [0_usize; 0]);
    assert_eq!(open(&app).await, 1, "it goes on later");
    // What comes after the deletion is of a new person, and stays.
    app.pass(60);
    let later = store(&app, &[written("wamid.M2", MINA, "New", "of a new person")]).await;
    app.process().await;
    erase(&app).await;
    assert_eq!(erased(&app, waiting).await, [0]);
    assert_eq!(erased(&app, later).await, [0_usize; 0]);
    assert_eq!(open(&app).await, 0);
    let (_, listed) = app.get("/api/v1/messages").await;
    let listed = listed["messages"].as_array().unwrap();
    assert_eq!(
        (listed.len(), &listed[0]["text"]),
        (1, &json!("of a new person"))
    );
    let left = unpacked(&app).await;
    assert!(!left.contains(said) && !left.contains(profile), "{left}");
    assert_eq!(
        left.matches("of a new person").count(),
        2,
        "in its callback, and in the stream"
    );
}

async fn an_erasure_that_was_interrupted_is_done_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let bodies = [
        bytes(json!({ "messages": [{ "from": MINA }] })),
        delivered("wamid.STRAY", MINA),
        delivered("wamid.R0", RAVI),
    ];
    let segment = store(&app, &bodies).await;
    app.process().await;
    app.pass(60);
    delete(&app, &path).await;
    // The process ends after the segment was replaced, before it has written down anything else.
    let range = CallbackErasureRange {
        next: CallbackSegmentId::from_number(0),
        until: segment,
    };
    let most = CallbackClaimSizeLimits {
        bodies: 10,
        bytes: 1_000_000,
    };
    let (inbox, main) = (app.store.inbox(), app.store.reader());
    let found = callback::erasable(inbox.reader(), main, range, most).await;
    let found = found.unwrap();
    let first_two = (0..2).map(|position| CallbackId::new(segment, position));
    let changed = [found.segments[0].without(&first_two.collect())];
    let replaced = inbox.write(async |tx| callback::erase(tx, &changed).await);
    replaced.await.unwrap();
    // The row is not what was read: another process does not undo it.
    let again = inbox.write(async |tx| callback::erase(tx, &changed).await);
    assert!(again.await.is_err());
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 1);
    erase(&app).await;
    assert_eq!(erased(&app, segment).await, [0, 1]);
    for (table, left) in [
        ("dead_letter", 0),
        ("parked_status", 1),
        ("callback_erasure", 0),
    ] {
        let count = app.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(count, left, "{table}");
    }
}

async fn a_damaged_segment_does_not_stop_an_erasure(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let mut segments = Vec::new();
    for number in 0..3 {
        segments.push(store(&app, &[delivered(&format!("wamid.S{number}"), MINA)]).await);
    }
    app.process().await;
    let garbage = match database {
        Database::Sqlite => "x'01ff'",
        Database::Postgres => "'\\x01ff'::bytea",
    };
    let damaged = segments[1].number();
    app.sql(&format!(
        "UPDATE inbox_segment SET data = {garbage} WHERE id = {damaged}"
    ))
    .await;
    delete(&app, &path).await;
    erase(&app).await;
    assert_eq!(open(&app).await, 0);
    for (segment, expected) in segments.into_iter().zip([&[0][..], &[], &[0]]) {
        assert_eq!(erased(&app, segment).await, expected);
    }
}

async fn much_is_erased_in_several_steps(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let mut segments = Vec::new();
    for segment in 0..6 {
        let bodies: Vec<_> = (0..90)
            .map(|number| {
                let who = if number % 3 == 0 { MINA } else { RAVI };
                delivered(&format!("wamid.S{segment}-{number}"), who)
            })
            .collect();
        segments.push(store(&app, &bodies).await);
    }
    app.process().await;
    app.pass(60);
    delete(&app, &path).await;
    let mut sizes = Vec::new();
    while erase_once(&app).await {
        let rows = app.callbacks().await;
        sizes.push(rows.iter().filter(|row| row.erased).count());
    }
    sizes.dedup();
    assert_eq!(sizes, [0, 60, 120, 180], "two segments at a time");
    let third: Vec<usize> = (0..90).step_by(3).collect();
    for segment in segments {
        assert_eq!(erased(&app, segment).await, third);
    }
    assert_eq!(erase(&app).await, 0);
}

async fn a_longer_number_is_another_person(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let person = json!({"phone": "+12025550111", "user_id": "US.1349"});
    add(&app, &person).await;
    let by_id = |id: &str| {
        let status = json!({ "id": "wamid.U", "status": "sent", "timestamp": "1767225600", "recipient_user_id": id });
        bytes(json!({ "statuses": [status] }))
    };
    let bodies = [
        delivered("wamid.S0", "120255501112"),
        delivered("wamid.S1", "2025550111"),
        by_id("US.13491"),
        by_id("US.1349"),
        delivered("wamid.S2", MINA),
    ];
    let segment = store(&app, &bodies).await;
    app.process().await;
    // A command deletes the person beside the server, which finds out by itself.
    let folder = tempfile::tempdir().unwrap();
    let words = ["contacts", "delete", "+12025550111"];
    let output = herald(&app.database_url, folder.path(), &words);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(open(&app).await, 1);
    erase(&app).await;
    assert_eq!(erased(&app, segment).await, [3, 4]);
}

async fn who_is_kept_for_an_opt_out_is_erased_as_well(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let [said, profile, ..] = MARKERS;
    let bodies = [
        written("wamid.M0", MINA, profile, said),
        written("wamid.M1", MINA, profile, "STOP"),
    ];
    let segment = store(&app, &bodies).await;
    app.process().await;
    app.pass(60);
    assert_eq!(delete(&app, &path).await["refusal_kept"], true);
    erase(&app).await;
    assert_eq!(erased(&app, segment).await, [0, 1]);
    assert_eq!(markers(&app).await, Vec::<&str>::new());
    let next = hello(&app, "+12025550111").await;
    assert_eq!(app.status_of(&next).await, "skipped");
}

async fn a_message_of_an_erased_callback_is_known_when_it_comes_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let [said, profile, ..] = MARKERS;
    let first = written("wamid.M0", MINA, profile, said);
    assert_eq!(app.callback_bytes(first).await, 200);
    app.process().await;
    app.pass(60);
    delete(&app, &path).await;
    erase(&app).await;
    let counts = async || {
        (
            app.number("SELECT count(*) FROM inbound_message").await,
            app.number("SELECT count(*) FROM notice").await,
        )
    };
    assert_eq!(counts().await, (1, 0));
    // In other bytes, so that it is another callback.
    app.pass(60);
    let again = written("wamid.M0", MINA, "Another name", said);
    assert_eq!(app.callback_bytes(again).await, 200);
    app.process().await;
    assert_eq!(counts().await, (1, 0), "it is neither new nor different");
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message WHERE text IS NOT NULL")
            .await,
        0
    );
}

async fn a_reader_of_older_pages_is_waited_for_and_finds_no_identifiers_later(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    let [said, profile, ..] = MARKERS;
    let segment = store(&app, &[written("wamid.M0", MINA, profile, said)]).await;
    app.process().await;
    app.pass(60);
    let reader = sea_orm::Database::connect(&app.database_url).await.unwrap();
    let reading = reader.begin().await.unwrap();
    let sql = "SELECT count(*) FROM contact";
    let look = Statement::from_string(reader.get_database_backend(), sql);
    reading.query_one_raw(look).await.unwrap();
    delete(&app, &path).await;
    erase(&app).await;
    assert_eq!(erased(&app, segment).await, [0]);
    if database == Database::Sqlite {
        let left = app.texts("SELECT phase || identifiers || contacts FROM callback_erasure");
        assert_eq!(left.await, ["truncating[][]"]);
        assert_eq!(markers(&app).await, [said, profile], "in the log");
    }
    reading.rollback().await.unwrap();
    erase(&app).await;
    assert_eq!(open(&app).await, 0);
    assert_eq!(markers(&app).await, Vec::<&str>::new());
}
