//! Callbacks are stored in segments: what is found again, what is damaged, and what ends processes.

use bytes::Bytes;
use herald::{
    domain::callback_id::{CallbackId, CallbackSegmentId},
    engine::{
        ingest::{self, inbox},
        runtime::retention::RetentionCleaner,
    },
    store::{
        DatabaseTransaction, StoreError,
        callback::{self, NewCallback, NewCallbackSegment, StoredCallbackSegment},
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{
    Database, TestApp, fresh_blocker, noise, noise_bytes, status, value, while_inbox_is_open,
};

crate::tests![
    bodies_whose_digests_begin_alike_are_all_kept_and_recognized,
    a_body_with_the_key_of_a_forgotten_one_is_still_recognized,
    a_body_that_two_processes_store_at_once_is_stored_once,
    processes_that_choose_the_same_id_store_two_segments,
    of_a_batch_only_what_is_new_is_stored,
    a_pending_row_of_an_applied_segment_is_dropped,
    a_claim_takes_several_batches_and_no_more,
    a_body_that_ends_processes_is_set_aside_and_the_others_are_applied,
    a_body_that_was_applied_is_not_set_aside,
    a_segment_that_another_process_works_on_is_left_to_it,
    callbacks_are_listed_and_read_from_their_segments,
    what_is_old_goes_with_all_that_belongs_to_it_and_what_waits_stays,
    a_damaged_segment_is_reported_and_stops_no_other,
    a_body_whose_first_copy_is_damaged_is_stored_again,
    alike_bodies_take_less_room_and_others_no_more,
    urgent_segments_leave_room_for_one_of_the_others,
];

const DAY: i64 = 24 * 3600;

/// No body was new.
const NONE: [usize; 0] = [];

/// A callback with one status of a message that is not known: it is parked when it is applied.
fn body(number: usize) -> Vec<u8> {
    let wamid = format!("wamid.SEGMENT{number}");
    let status = status(&wamid, None, "sent", 1_767_225_600, None);
    value(json!({ "statuses": [status] }))
        .to_string()
        .into_bytes()
}

fn digest_of(body: &[u8]) -> [u8; 32] {
    inbox::digest("meta", body, None)
}

/// A digest with this key, and the rest.
fn digest(key: u8, rest: u8) -> [u8; 32] {
    let mut digest = [rest; 32];
    digest[..8].fill(key);
    digest
}

fn new(digest: [u8; 32], body: Vec<u8>) -> NewCallback {
    NewCallback {
        digest,
        body: Bytes::from(body),
        copies: 1,
        signed_by: None,
    }
}

/// A segment that is left to the first process that looks.
fn segment(app: &TestApp, urgent: bool, bodies: Vec<NewCallback>) -> NewCallbackSegment {
    NewCallbackSegment {
        id: app.store.inbox().new_segment_id(app.now()),
        endpoint: "meta",
        urgent,
        lease: None,
        bodies,
    }
}

async fn store(app: &TestApp, segments: Vec<NewCallbackSegment>) -> Vec<StoredCallbackSegment> {
    let now = app.now();
    let batch: Vec<_> = segments
        .into_iter()
        .map(NewCallbackSegment::prepare)
        .collect();
    app.store
        .inbox()
        .write(async |tx| callback::store_batch(tx, &batch, now).await)
        .await
        .unwrap()
}

/// Stores bodies as one segment; says which of them were new.
async fn store_one(app: &TestApp, bodies: Vec<NewCallback>) -> Vec<usize> {
    let stored = store(app, vec![segment(app, false, bodies)]).await;
    stored[0].kept.clone()
}

/// Stores so many bodies as one segment.
async fn store_many(app: &TestApp, count: usize) -> CallbackSegmentId {
    let bodies = (0..count).map(|number| new(digest_of(&body(number)), body(number)));
    let stored = store(app, vec![segment(app, false, bodies.collect())]).await;
    assert_eq!(stored[0].kept.len(), count);
    stored[0].id
}

async fn parked(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM parked_status").await
}

async fn dead(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM dead_letter").await
}

async fn clean(app: &TestApp) {
    let mut cleaner = RetentionCleaner::default();
    while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
}

async fn bodies_whose_digests_begin_alike_are_all_kept_and_recognized(database: Database) {
    let app = TestApp::spawn(&database).await;
    let one = new(digest(7, 1), body(1));
    let other = new(digest(7, 2), body(2));
    assert_eq!(store_one(&app, vec![one.clone()]).await, [0]);
    assert_eq!(store_one(&app, vec![other.clone()]).await, [0]);
    for again in [&one, &other, &other] {
        assert_eq!(store_one(&app, vec![again.clone()]).await, NONE);
    }
    // Two in one batch, and a third of the first key beside them.
    let [third, fourth, fifth] =
        [(9, 3), (9, 4), (7, 5)].map(|(key, rest)| new(digest(key, rest), body(usize::from(rest))));
    let batch = vec![third, fourth, one, fifth, other];
    assert_eq!(store_one(&app, batch.clone()).await, [0, 1, 3]);
    assert_eq!(store_one(&app, batch).await, NONE);
    assert_eq!(app.callbacks_stored().await, 5);
    assert_eq!(
        app.number("SELECT count(*) FROM inbox_digest_collision")
            .await,
        3
    );
    let mut seen = app
        .texts("SELECT CAST(times_seen AS text) FROM inbox_repeat")
        .await;
    seen.sort();
    assert_eq!(seen, ["2", "2", "2", "4", "5"]);
    app.process().await;
    assert_eq!((parked(&app).await, dead(&app).await), (5, 0));
    assert_eq!(app.callbacks_waiting().await, 0);
}

async fn a_body_with_the_key_of_a_forgotten_one_is_still_recognized(database: Database) {
    let app = TestApp::spawn(&database).await;
    let one = new(digest(7, 1), body(1));
    let [other, third] = [2, 3].map(|rest| new(digest(7, rest), body(usize::from(rest))));
    assert_eq!(store_one(&app, vec![one.clone()]).await, [0]);
    app.pass(5 * DAY);
    assert_eq!(
        store_one(&app, vec![other.clone(), third.clone()]).await,
        [0, 1]
    );
    app.process().await;
    app.pass(5 * DAY);
    clean(&app).await;
    assert_eq!(store_one(&app, vec![other, third]).await, NONE);
    assert_eq!(store_one(&app, vec![one]).await, [0], "forgotten");
    app.pass(10 * DAY);
    clean(&app).await;
    for table in ["inbox_digest", "inbox_digest_collision"] {
        let left = app.number(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(left, 0, "{table}");
    }
}

async fn a_body_that_two_processes_store_at_once_is_stored_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    let now = app.now();
    for number in 1..3 {
        let bytes = body(number);
        let other = segment(&app, false, vec![new(digest_of(&bytes), bytes.clone())]);
        // The second time, both are stored in the same quarter of a microsecond.
        let id = if number == 1 {
            other.id
        } else {
            other.id.next()
        };
        let other = [NewCallbackSegment { id, ..other }.prepare()];
        // Another process is in the midst of storing it.
        let store =
            async |tx: &DatabaseTransaction| callback::store_batch(tx, &other, now).await.map(drop);
        let code = while_inbox_is_open(&app, store, app.callback_bytes(bytes)).await;
        assert_eq!(code, 200);
        let count = i64::try_from(number).unwrap();
        assert_eq!(app.callbacks_stored().await, count);
        let segments = app.number("SELECT count(*) FROM inbox_segment").await;
        let repeats = app
            .number("SELECT count(*) FROM inbox_repeat WHERE times_seen = 2")
            .await;
        assert_eq!((segments, repeats), (count, count));
        assert!(app.handover.is_empty(), "a repeat is not applied");
    }
    app.process().await;
    assert_eq!(parked(&app).await, 2);
}

async fn processes_that_choose_the_same_id_store_two_segments(database: Database) {
    let app = TestApp::spawn(&database).await;
    let now = app.now();
    let id = CallbackSegmentId::at(now);
    for number in 0..3 {
        let bodies = vec![new(digest_of(&body(number)), body(number))];
        let batch = [NewCallbackSegment {
            id,
            ..segment(&app, false, bodies)
        }
        .prepare()];
        let stored = app
            .store
            .inbox()
            .write(async |tx| callback::store_batch(tx, &batch, now).await)
            .await
            .unwrap();
        let free = (0..number).fold(id, |id, _| id.next());
        assert_eq!(stored[0].id, free);
    }
    // Each is found by its digest.
    for number in 0..3 {
        let again = vec![new(digest_of(&body(number)), body(number))];
        assert_eq!(store_one(&app, again).await, NONE);
    }
    app.process().await;
    assert_eq!(parked(&app).await, 3);
}

async fn of_a_batch_only_what_is_new_is_stored(database: Database) {
    let app = TestApp::spawn(&database).await;
    let of = |number| new(digest_of(&body(number)), body(number));
    assert_eq!(store_one(&app, vec![of(1), of(3)]).await, [0, 1]);
    let batch = vec![of(0), of(1), of(2), of(3), of(4)];
    assert_eq!(store_one(&app, batch).await, [0, 2, 4]);
    assert_eq!(app.callbacks_stored().await, 5);
    assert_eq!(app.callbacks_waiting().await, 5);
    // Each position has its own body.
    let mut found = Vec::new();
    for row in app.callbacks().await.iter().rev() {
        let stored = callback::body(&app.store, row.id).await.unwrap().unwrap();
        assert_eq!(
            usize::try_from(row.size_bytes).unwrap(),
            stored.content.body.len()
        );
        found.push(stored.content.body);
    }
    assert_eq!(found, [1, 3, 0, 2, 4].map(body));
    app.process().await;
    assert_eq!(parked(&app).await, 5);
}

async fn a_pending_row_of_an_applied_segment_is_dropped(database: Database) {
    let app = TestApp::spawn(&database).await;
    store_many(&app, 3).await;
    app.process().await;
    app.sql("DELETE FROM parked_status").await;
    app.pass(1);
    let waits = body(9);
    assert_eq!(
        store_one(&app, vec![new(digest_of(&waits), waits)]).await,
        [0]
    );
    // The process ended between the mark and the deletion.
    let dead_process = Uuid::new_v4().simple().to_string();
    let owner = match database {
        Database::Sqlite => format!("x'{dead_process}'"),
        Database::Postgres => format!("'{dead_process}'::uuid"),
    };
    app.sql(&format!(
        "INSERT INTO inbox_pending (segment, urgent, bodies, size_bytes, owner, leased_until, tries) \
         SELECT id, urgent, bodies, size_bytes, {owner}, 0, 1 FROM inbox_segment WHERE bodies = 3 \
         ON CONFLICT (segment) DO UPDATE SET leased_until = 0"
    ))
    .await;
    if database == Database::Sqlite {
        let (inbox, main) = (app.store.inbox().reader(), app.store.reader());
        let waiting = callback::waiting(inbox, main).await.unwrap();
        assert_eq!(waiting.callbacks, 1, "what was applied counts for nothing");
        assert_eq!(waiting.oldest, Some(app.now()));
    } else {
        assert_eq!(app.callbacks_waiting().await, 4);
    }
    app.process().await;
    assert_eq!(app.callbacks_waiting().await, 0);
    assert_eq!(parked(&app).await, 1, "only what waited is applied");
}

/// Processes have ended over a segment, the last one while it worked on one body alone.
async fn suspect(app: &TestApp, alone_at: u32) {
    app.sql(&format!(
        "UPDATE inbox_pending SET tries = 3, alone_at = {alone_at}, leased_until = 0"
    ))
    .await;
}

async fn a_body_that_ends_processes_is_set_aside_and_the_others_are_applied(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = store_many(&app, 6).await;
    suspect(&app, 2).await;
    app.process().await;
    assert_eq!((parked(&app).await, dead(&app).await), (5, 1));
    let fatal = CallbackId::new(id, 2).uuid();
    let letters = herald::store::dead_letter::open(&app.store, Some(fatal), 10)
        .await
        .unwrap();
    assert_eq!(
        letters[0].reason,
        "processing it ended the process several times"
    );
    let counts: Vec<_> = app
        .callbacks()
        .await
        .iter()
        .rev()
        .map(|row| (row.processed, row.items, row.dead_items))
        .collect();
    let (fine, fatal) = ((true, Some(1), Some(0)), (true, Some(1), Some(1)));
    assert_eq!(counts, [fine, fine, fatal, fine, fine, fine]);
    assert_eq!(app.callbacks_waiting().await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM inbox_applied_body").await,
        0
    );
    // It can be replayed when the program was mended.
    let fatal = CallbackId::new(id, 2).uuid();
    assert_eq!(app.replay(fatal).await.dead, 0);
    assert_eq!(parked(&app).await, 6);
}

async fn a_body_that_was_applied_is_not_set_aside(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = store_many(&app, 5).await;
    // The process ended after the body's transaction, before it came to the next.
    suspect(&app, 2).await;
    app.sql(&format!(
        "INSERT INTO inbox_applied_body (segment, position, items, dead_items) \
         VALUES ({0}, 0, 1, 0), ({0}, 1, 4, 3), ({0}, 2, 1, 0)",
        id.number()
    ))
    .await;
    app.process().await;
    assert_eq!(
        (parked(&app).await, dead(&app).await),
        (2, 0),
        "what is applied is not applied again"
    );
    let counts: Vec<_> = app
        .callbacks()
        .await
        .iter()
        .rev()
        .map(|row| (row.items.unwrap(), row.dead_items.unwrap()))
        .collect();
    assert_eq!(counts, [(1, 0), (4, 3), (1, 0), (1, 0), (1, 0)]);
    assert_eq!(app.callbacks_waiting().await, 0);
}

async fn a_segment_that_another_process_works_on_is_left_to_it(database: Database) {
    let app = TestApp::spawn(&database).await;
    store_many(&app, 2).await;
    suspect(&app, 0).await;
    let (inbox, main) = (app.store.inbox(), app.store.reader());
    let lease = callback::CallbackSegmentLease {
        owner: app.engine.process,
        until: app.now().plus_seconds(60),
    };
    let most = callback::CallbackClaimSizeLimits {
        bodies: 10,
        bytes: 1_000_000,
    };
    let (scope, now) = (callback::CallbackClaimScope::Ordinary, app.now());
    let claimed = inbox
        .write(async |tx| callback::claim(tx, main, scope, lease, now, most).await)
        .await
        .unwrap();
    assert_eq!((claimed.segments.len(), claimed.unreadable.len()), (1, 0));
    assert_eq!(claimed.segments[0].tries, 4);
    // The lease ran out meanwhile, and another process has claimed it.
    let other = Uuid::new_v4().simple().to_string();
    let other = match database {
        Database::Sqlite => format!("x'{other}'"),
        Database::Postgres => format!("'{other}'::uuid"),
    };
    app.sql(&format!("UPDATE inbox_pending SET owner = {other}"))
        .await;
    ingest::process(&app.engine, &claimed.segments, app.now())
        .await
        .unwrap();
    // What ended a process is set aside by whoever comes first; the rest is left.
    assert_eq!((parked(&app).await, dead(&app).await), (0, 1));
    assert_eq!(app.callbacks_waiting().await, 2);
    assert_eq!(app.callbacks_applied().await, 0);
    app.pass(61);
    app.process().await;
    assert_eq!((parked(&app).await, dead(&app).await), (1, 1));
    assert_eq!(app.callbacks_waiting().await, 0);
}

async fn callbacks_are_listed_and_read_from_their_segments(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut expected = Vec::new();
    for (count, first) in [(3, 0), (1, 3), (20, 4), (5, 24)] {
        let bodies =
            (first..first + count).map(|number| new(digest_of(&body(number)), body(number)));
        let stored = store(&app, vec![segment(&app, false, bodies.collect())]).await;
        let positions = 0..u32::try_from(count).unwrap();
        expected.extend(positions.map(|position| CallbackId::new(stored[0].id, position).uuid()));
        app.pass(3600);
    }
    assert!(expected.is_sorted());
    // Pages of every size, from the newest on, each where the last one ended.
    for limit in [1, 4, 7, 100] {
        let mut seen: Vec<Uuid> = Vec::new();
        loop {
            let before = seen.last().copied();
            let page = callback::before(&app.store, before, limit).await.unwrap();
            seen.extend(page.iter().map(|row| row.id));
            if page.is_empty() {
                break;
            }
        }
        seen.reverse();
        assert_eq!(seen, expected, "{limit} at a time");
    }
    let now = app.now();
    let (since, until) = (now.plus_seconds(-3 * 3600), now.plus_seconds(-3600));
    let between = callback::between(&app.store, since, until).await.unwrap();
    assert_eq!(between, expected[3..24]);
    for (number, id) in expected.iter().enumerate() {
        let stored = callback::body(&app.store, *id).await.unwrap().unwrap();
        assert_eq!(
            (stored.endpoint.as_str(), &stored.content.body[..]),
            ("meta", &body(number)[..])
        );
        let row = callback::one(&app.store, *id).await.unwrap().unwrap();
        assert_eq!((row.id, row.processed, row.items), (*id, false, None));
    }
    let first = callback::one(&app.store, expected[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.received_at, now.plus_seconds(-4 * 3600));
    app.process().await;
    let about = callback::about(&app.store, "wamid.SEGMENT9", 10)
        .await
        .unwrap();
    assert_eq!(about.len(), 1);
    assert_eq!(
        (about[0].id, about[0].processed, about[0].items),
        (expected[9], true, Some(1))
    );
    // Ids that are no callback's, and a position that no body has.
    let position = CallbackId::new(CallbackSegmentId::of(expected[0]), 3).uuid();
    for id in [Uuid::nil(), Uuid::max(), Uuid::new_v4(), position] {
        assert!(callback::one(&app.store, id).await.unwrap().is_none());
        assert!(callback::body(&app.store, id).await.unwrap().is_none());
    }
}

async fn what_is_old_goes_with_all_that_belongs_to_it_and_what_waits_stays(database: Database) {
    let app = TestApp::spawn(&database).await;
    // Two that are applied around one that waits; each has a body that is parked and one that is dead.
    let mut segments = Vec::new();
    for number in 0..3 {
        let bodies = [body(number), format!("not json {number}").into_bytes()]
            .map(|body| new(digest_of(&body), body));
        let stored = store(&app, vec![segment(&app, false, bodies.to_vec())]).await;
        segments.push(stored[0].id);
        app.pass(1);
        if number == 1 {
            app.sql("UPDATE inbox_pending SET leased_until = 9000000000000000")
                .await;
        } else {
            app.process().await;
        }
    }
    for _ in 0..2 {
        assert_eq!(
            store_one(&app, vec![new(digest_of(&body(0)), body(0))]).await,
            NONE
        );
    }
    assert_eq!((parked(&app).await, dead(&app).await), (2, 2));
    // Within their time, only the digests go.
    app.pass(10 * DAY);
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 6);
    assert_eq!(app.number("SELECT count(*) FROM inbox_digest").await, 0);
    assert_eq!((parked(&app).await, dead(&app).await), (2, 2));
    // A newer one keeps its own.
    let newer = vec![
        new(digest_of(&body(7)), body(7)),
        new([5; 32], b"not json".to_vec()),
    ];
    assert_eq!(store_one(&app, newer).await, [0, 1]);
    app.process().await;
    app.pass(5 * DAY);
    clean(&app).await;
    assert_eq!(
        app.callbacks_stored().await,
        4,
        "what waits, and what is new"
    );
    assert_eq!((parked(&app).await, dead(&app).await), (1, 1));
    assert_eq!(app.number("SELECT count(*) FROM inbox_applied").await, 1);
    assert_eq!(app.number("SELECT count(*) FROM inbox_repeat").await, 0);
    assert_eq!(app.number("SELECT count(*) FROM inbox_digest").await, 2);
    app.sql("UPDATE inbox_pending SET leased_until = 0").await;
    app.process().await;
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 2);
    assert_eq!((parked(&app).await, dead(&app).await), (1, 1));
}

async fn a_claim_takes_several_batches_and_no_more(database: Database) {
    let app = TestApp::spawn(&database).await;
    for first in (0..2_400).step_by(400) {
        let bodies = (first..first + 400).map(|number| new(digest_of(&body(number)), body(number)));
        let stored = store(&app, vec![segment(&app, false, bodies.collect())]).await;
        assert_eq!(stored[0].kept.len(), 400);
        app.pass(1);
    }
    app.process_once().await;
    assert_eq!(parked(&app).await, 400, "a segment is applied as a whole");
    let unclaimed = "SELECT count(*) FROM inbox_pending WHERE tries = 0";
    assert_eq!(app.number(unclaimed).await, 1, "2,000 bodies are claimed");
    if database == Database::Sqlite {
        // A turn that is repeated renews the leases also of what is claimed for later.
        let blocker = fresh_blocker(&app.database_url).await;
        blocker.release_inbox().await;
        let failed = app.try_process_once().await.unwrap_err();
        assert!(failed.is_transient(), "{failed}");
        blocker.release_main().await;
        app.pass(50);
        app.process_once().await;
        let renewed = app.now().plus_seconds(55).micros();
        let held = format!(
            "SELECT count(*) FROM inbox_pending WHERE tries = 1 AND leased_until > {renewed}"
        );
        assert_eq!(
            app.number(&held).await,
            4,
            "all but the one that was applied"
        );
    }
    app.process().await;
    assert_eq!(
        (parked(&app).await, app.callbacks_waiting().await),
        (2_400, 0)
    );
}

/// Damages a column of a segment, and keeps what was there.
async fn damage(app: &TestApp, database: Database, id: CallbackSegmentId, column: &str) {
    let (kind, garbage) = match database {
        Database::Sqlite => ("blob", "x'0107ffffffffffffffffff'"),
        Database::Postgres => ("bytea", "'\\x0107ffffffffffffffffff'::bytea"),
    };
    app.sql(&format!(
        "CREATE TABLE kept (content {kind} NOT NULL); \
         INSERT INTO kept (content) SELECT {column} FROM inbox_segment WHERE id = {0}; \
         UPDATE inbox_segment SET {column} = {garbage} WHERE id = {0}",
        id.number()
    ))
    .await;
}

async fn a_damaged_segment_is_reported_and_stops_no_other(database: Database) {
    for column in ["data", "heads"] {
        let app = TestApp::spawn(&database).await;
        let mut ids = Vec::new();
        for number in 0..3 {
            let bodies = (0..2).map(|place| body(number * 2 + place));
            let bodies = bodies.map(|body| new(digest_of(&body), body)).collect();
            let stored = store(&app, vec![segment(&app, false, bodies)]).await;
            ids.push(stored[0].id);
        }
        damage(&app, database, ids[1], column).await;
        app.process().await;
        assert_eq!((parked(&app).await, dead(&app).await), (4, 2));
        assert_eq!(app.callbacks_waiting().await, 0, "it is not tried for ever");
        assert_eq!(app.callbacks_stored().await, 6, "it stays stored");
        let damaged = CallbackId::new(ids[1], 1).uuid();
        let letters = herald::store::dead_letter::open(&app.store, Some(damaged), 10)
            .await
            .unwrap();
        let expected = format!(
            "it cannot be read from the database: the row {} of inbox_segment holds an unreadable {column}",
            ids[1].number()
        );
        assert_eq!(letters[0].reason, expected);
        // It is listed, and it says so when it is read.
        let listed = app.callbacks().await;
        assert_eq!(listed.len(), 6);
        let row = listed.iter().find(|row| row.id == damaged).unwrap();
        assert_eq!((row.processed, row.dead_items), (true, Some(1)));
        let read = callback::body(&app.store, damaged).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
        // Old enough, it goes like the others; mended before, it can be replayed.
        app.sql(&format!(
            "UPDATE inbox_segment SET {column} = (SELECT content FROM kept) WHERE id = {}",
            ids[1].number()
        ))
        .await;
        for position in 0..2 {
            let id = CallbackId::new(ids[1], position).uuid();
            assert_eq!(app.replay(id).await.dead, 0);
        }
        assert_eq!(parked(&app).await, 6);
    }
}

async fn a_body_whose_first_copy_is_damaged_is_stored_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = store_many(&app, 2).await;
    damage(&app, database, id, "heads").await;
    let again = || vec![new(digest_of(&body(1)), body(1))];
    assert_eq!(store_one(&app, again()).await, [0]);
    assert_eq!(store_one(&app, again()).await, NONE, "now it is known");
    app.process().await;
    assert_eq!(parked(&app).await, 1);
    app.pass(15 * DAY);
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 0);
}

async fn alike_bodies_take_less_room_and_others_no_more(database: Database) {
    let app = TestApp::spawn(&database).await;
    store_many(&app, 100).await;
    let stored = "SELECT CAST(length(data) AS bigint) FROM inbox_segment";
    let size = app.number("SELECT size_bytes FROM inbox_segment").await;
    let room = app.number(stored).await;
    assert!(room * 8 < size, "{room} of {size} bytes");
    app.sql("DELETE FROM inbox_segment").await;
    let plain = noise(1, 3000).into_bytes();
    // As many bits as letters need, and no more.
    store_one(&app, vec![new([1; 32], plain.clone())]).await;
    let room = usize::try_from(app.number(stored).await).unwrap();
    assert!((3000..=plain.len()).contains(&room), "{room}");
    app.sql("DELETE FROM inbox_segment").await;
    store_one(&app, vec![new([2; 32], noise_bytes(1, 3000))]).await;
    assert_eq!(app.number(stored).await, 3001);
}

async fn urgent_segments_leave_room_for_one_of_the_others(database: Database) {
    let app = TestApp::spawn(&database).await;
    let most = ingest::batch_size(&app.store);
    let bodies = |first: usize, count: usize| {
        let numbers = first..first + count;
        numbers
            .map(|number| new(digest_of(&body(number)), body(number)))
            .collect::<Vec<_>>()
    };
    let urgent = most - most / 4;
    let batch = vec![
        segment(&app, false, bodies(0, most)),
        segment(&app, true, bodies(1000, urgent)),
        segment(&app, true, bodies(2000, urgent)),
    ];
    store(&app, batch).await;
    app.process_once().await;
    assert_eq!(
        usize::try_from(app.callbacks_waiting().await).unwrap(),
        urgent,
        "one of each class was applied"
    );
    let is_urgent = "SELECT count(*) FROM inbox_pending WHERE urgent AND tries = 0";
    assert_eq!(app.number(is_urgent).await, 1);
    app.process().await;
    assert_eq!(app.callbacks_waiting().await, 0);
}
