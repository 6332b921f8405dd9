//! What the server's statements cost on PostgreSQL when their plans were made while the tables
//! were empty: as much as the batch is large, not as much as the tables are.
//!
//! The statements are read from the server's own log (`auto_explain`), as the real workers send
//! them: what is added later is measured, too. Rows and pages are counted, no time.

use std::collections::BTreeMap;

use herald::{
    domain::callback_id::CallbackSegmentId,
    engine::{
        delivery::{service_window, sweeper},
        people::erasure,
        runtime::{backlog, retention::RetentionCleaner},
    },
    store::{self, callback_erasure, connect, migrate, people},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{DEMO, Database, TestApp, fresh_database, postgres, status, value};

crate::tests![
    no_hot_statement_walks_a_table_that_was_empty_when_it_was_planned,
    no_hot_statement_walks_a_table_that_was_analysed_while_it_was_empty,
];

/// Rows of each large table.
const MANY: usize = 20_000;

/// Messages of the day that is measured.
const BATCH: usize = 10;

/// No statement of that day may touch more rows, in all nodes of its plan, nor more pages.
const MOST_ROWS: f64 = 1_000.0;
const MOST_PAGES: f64 = 2_000.0;

async fn no_hot_statement_walks_a_table_that_was_empty_when_it_was_planned(database: Database) {
    Box::pin(measure(database, false)).await;
}

async fn no_hot_statement_walks_a_table_that_was_analysed_while_it_was_empty(database: Database) {
    Box::pin(measure(database, true)).await;
}

async fn measure(database: Database, analysed: bool) {
    // SQLite has no statistics here and keeps no plan that depended on a table's size.
    let Database::Postgres = database else { return };
    assert!(
        postgres().unwrap().log().is_some(),
        "the plans are read from the log of a server of our own: unset HERALD_TEST_POSTGRES_URL"
    );
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let name = url.rsplit('/').next().unwrap().to_owned();
    prepare(&url, &name).await;
    // One connection that writes and one that reads: every statement has its plan from the first day.
    let settings = [
        ("HERALD_DATABASE_CONNECTIONS", "2"),
        ("HERALD_BACKLOG_DELAY_MILLISECONDS", "0"),
        ("HERALD_PAIR_BURST", "2"),
        // To multiply the rows takes longer than any statement of the server's.
        ("HERALD_DATABASE_TIMEOUT_SECONDS", "300"),
    ];
    let app = TestApp::start(&url, &settings).await;
    app.sql(
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP \
         EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', t.tablename); END LOOP; END $$",
    )
    .await;
    if analysed {
        app.sql("ANALYZE").await;
    }
    app.apply_catalogue(DEMO).await;
    day(&app, "empty", 2).await;
    // Deleting has its plans from now, too.
    let far = app.now().plus_seconds(500 * 24 * 3600);
    while RetentionCleaner::default()
        .turn(&app.engine, far)
        .await
        .unwrap()
        > 0
    {}
    day(&app, "first", 2).await;
    let of_phone = "SELECT contact_id::text FROM contact_alias WHERE kind = 'phone' AND value = '+12025551000'";
    let contact: Uuid = app.texts(of_phone).await[0].parse().unwrap();
    erase(&app, contact, i64::MAX).await;
    fill(&app, analysed).await;
    // What waits is counted as a whole, once in a while; a day must do without.
    backlog::measure(&app.engine, app.now()).await.unwrap();
    let before = postgres().unwrap().log().unwrap().len();
    day(&app, "second", BATCH).await;
    // Up to the first of the segments that are applied: the one behind it waits.
    erase(&app, contact, 65536 + 0x7000).await;
    let far = app.now().plus_seconds(500 * 24 * 3600);
    RetentionCleaner::default()
        .turn(&app.engine, far)
        .await
        .unwrap();
    let log = postgres().unwrap().log().unwrap();
    let statements = statements(&log[before..], &name);
    for known in [
        "UPDATE notification SET updated_at",
        "INSERT INTO follow_up_timer",
        "DELETE FROM follow_up_timer",
        "INSERT INTO inbox_segment",
        "INSERT INTO inbox_digest (",
        "INSERT INTO inbox_repeat",
        "SELECT segment, bodies, size_bytes FROM inbox_pending WHERE urgent",
        "UPDATE inbox_pending SET owner",
        "INSERT INTO inbox_applied (",
        "DELETE FROM inbox_pending",
        "DELETE FROM inbox_digest ",
        "DELETE FROM inbox_segment",
        "WITH due AS MATERIALIZED",
        "DELETE FROM timeline",
        "WITH head AS (UPDATE change_head",
        "DELETE FROM change_batch",
        "SELECT id, bodies, size_bytes FROM inbox_segment",
        "SELECT last, events FROM change_batch",
        "UPDATE callback_erasure",
        "SELECT lower(c.email) AS address",
    ] {
        assert!(
            statements.keys().any(|sql| sql.starts_with(known)),
            "{known} is not among the {} statements",
            statements.len()
        );
    }
    let wrong: Vec<String> = statements
        .iter()
        .filter(|(_, cost)| cost.rows > MOST_ROWS || cost.pages > MOST_PAGES)
        .map(|(sql, cost)| {
            format!(
                "{} rows, {} pages: {sql}\n{:#}",
                cost.rows, cost.pages, cost.plan
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} statements:\n{}",
        wrong.len(),
        statements.len(),
        wrong.join("\n\n")
    );
}

/// Makes the tables, has every session keep generic plans, and log each statement with what it
/// touched.
async fn prepare(url: &str, name: &str) {
    let side = connect::open(
        &SecretString::from(url.to_owned()),
        4,
        connect::ConnectPurpose::Command,
    )
    .await
    .unwrap();
    migrate::up(&side).await.unwrap();
    for setting in [
        "plan_cache_mode = force_generic_plan",
        "session_preload_libraries = auto_explain",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_analyze = on",
        "auto_explain.log_buffers = on",
        "auto_explain.log_timing = off",
        "auto_explain.log_format = json",
    ] {
        store::ConnectionTrait::execute_unprepared(
            side.reader(),
            &format!("ALTER DATABASE {name} SET {setting}"),
        )
        .await
        .unwrap();
    }
}

/// Erases one person, in segments up to one.
async fn erase(app: &TestApp, contact: Uuid, until: i64) {
    let (until, now) = (CallbackSegmentId::from_number(until), app.now());
    let added = app
        .store
        .write(async |tx| callback_erasure::add(tx, &[contact], until, now).await);
    added.await.unwrap();
    while erasure::turn(&app.engine, app.now()).await.unwrap() {}
    let left = "SELECT count(*) FROM callback_erasure";
    assert_eq!(app.number(left).await, 0);
}

/// Everything that a busy server does, for so many messages.
async fn day(app: &TestApp, tag: &str, count: usize) {
    // There is no mail server: this is what a mail to an address asks first.
    let mailboxes: Vec<String> = (0..count).map(|it| format!("{it}@example.com")).collect();
    let sharing = people::sharing(app.store.by_index(), &mailboxes).await;
    assert!(sharing.unwrap().is_empty());
    let phone = |number: usize| format!("+1202555{:04}", 1000 + number);
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(app.order(&format!("{tag}-{number}"), &phone(number)).await);
    }
    let direct = json!({ "to": phone(0), "template": "order_reminder", "params": { "customer_name": "Asha", "order_number": tag } });
    let (code, answer) = app
        .post_with_key("/api/v1/notifications", &direct, &format!("key-{tag}"))
        .await;
    assert_eq!(code, 202, "{answer}");
    app.send().await;
    for name in ["sent", "delivered"] {
        report(app, &ids, name, None).await;
    }
    // One is read, which cancels its timer; one fails, and arrives after all.
    report(app, &ids[..1], "read", None).await;
    let failing = app.order(&format!("{tag}-failing"), &phone(count)).await;
    app.send().await;
    report(app, std::slice::from_ref(&failing), "failed", Some(131_026)).await;
    app.follow_up().await;
    app.send().await;
    report(app, std::slice::from_ref(&failing), "delivered", None).await;
    wait(app).await;
    // A status of an unknown message, twice the same; what people write; a timer; and the sweepers.
    let stray = json!({ "statuses": [status(&format!("wamid.STRAY-{tag}"), None, "sent", app.now().unix_seconds(), None)] });
    let stray = value(stray).to_string().into_bytes();
    for _ in 0..2 {
        assert_eq!(app.callback_bytes(stray.clone()).await, 200);
    }
    for (number, text) in ["Coming!", "STOP", "START"].iter().enumerate() {
        app.pass(1);
        let id = format!("wamid.in-{tag}-{number}");
        let from = phone(1).trim_start_matches('+').to_owned();
        app.callback(json!({
            "contacts": [{ "wa_id": from, "profile": { "name": "Asha" } }],
            "messages": [{ "id": id, "from": from, "timestamp": app.now().unix_seconds().to_string(), "type": "text",
                "text": { "body": text } }],
        }))
        .await;
    }
    // A process died over one.
    assert_eq!(
        app.callback_bytes(format!(r#"{{"entry":[],"of":"{tag}"}}"#).into_bytes())
            .await,
        200
    );
    app.handover.take_all();
    app.pass(24 * 3600 + 120);
    app.settle().await;
    sweeper::parked_turn(&app.engine, app.now()).await.unwrap();
    service_window::turn(&app.engine, app.now()).await.unwrap();
    app.settle().await;
}

/// A person to whom more is sent than the pace allows.
const CROWDED: &str = "+12025550199";

/// A template that is paused.
const PAUSED: &str = "jaspers_market_plain_text_v1";

/// Messages wait for their turn with one person, and for a template; two get a turn.
async fn wait(app: &TestApp) {
    app.sql(&format!(
        "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
         SELECT coalesce(account_id, ''), '{PAUSED}', 'en_US', 1, 1, 'paused', 1 FROM sender ON CONFLICT DO NOTHING"
    ))
    .await;
    for number in 0..5 {
        let params = json!({ "customer_name": "Asha", "order_number": number.to_string() });
        let ask = json!({ "to": CROWDED, "template": "order_reminder", "params": params });
        let held = json!({ "to": "+12025550198", "template": PAUSED });
        for body in [ask, held] {
            let (code, answer) = app.post("/api/v1/notifications", &body).await;
            assert_eq!(code, 202, "{answer}");
        }
    }
    app.send().await;
    app.pass(12);
    app.send().await;
    sweeper::release(&app.engine, app.now()).await.unwrap();
}

/// One callback for each of these messages, applied together.
async fn report(app: &TestApp, ids: &[String], name: &str, code: Option<i64>) {
    app.pass(2);
    for id in ids {
        let attempt = app.notification(id).await["attempts"][0].clone();
        let status = status(
            attempt["provider_message_id"].as_str().unwrap(),
            attempt["id"].as_str(),
            name,
            app.now().unix_seconds(),
            code,
        );
        let body = value(json!({ "statuses": [status] })).to_string();
        assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
    }
    app.process().await;
}

/// Multiplies what the first day has left, without telling the planner.
async fn fill(app: &TestApp, analysed: bool) {
    let far = (app.now().micros() + 400 * 24 * 3600 * 1_000_000).to_string();
    let (id, text) = (
        "gen_random_uuid()",
        "md5(number::text || clock_timestamp()::text)",
    );
    // What belongs together has ids that can be found out again.
    let [contact, event, notification, callback] = ["contact", "event", "notification", "callback"]
        .map(|kind| format!("md5('{kind}' || number)::uuid"));
    let (contact, event, callback) = (contact.as_str(), event.as_str(), callback.as_str());
    let notification = notification.as_str();
    let known = [("id", contact), ("handle", "NULL")];
    clone(app, "contact", "deleted_at IS NULL", &known).await;
    let alias = [("value", text), ("contact_id", contact)];
    clone(app, "contact_alias", "kind = 'phone'", &alias).await;
    // The provider has named ids of all of them since the planner last looked.
    if analysed {
        app.sql("ANALYZE contact_alias").await;
    }
    let named = [
        ("kind", "'bsuid'"),
        ("value", text),
        ("contact_id", contact),
    ];
    clone(app, "contact_alias", "kind = 'phone'", &named).await;
    let pair = [("contact_id", contact), ("wake_at", far.as_str())];
    clone(app, "conversation", "true", &pair).await;
    clone(app, "suppression", "true", &[("contact_id", contact)]).await;
    clone(
        app,
        "event",
        "true",
        &[("id", event), ("external_id", text)],
    )
    .await;
    let sent = [
        ("id", notification),
        ("event_id", event),
        ("contact_id", contact),
        ("wake_at", far.as_str()),
    ];
    let delivered = "status = 'delivered' AND follow_up_id IS NULL";
    clone(app, "notification", delivered, &sent).await;
    let person = format!("(SELECT contact_id FROM contact_alias WHERE value = '{CROWDED}')");
    for (state, held_for, contact) in [
        ("'queued'", "'turn'", person.as_str()),
        ("'held'", "'template'", contact),
    ] {
        let waiting = [
            ("id", id),
            ("engine_state", state),
            ("status", state),
            ("open_status", state),
            ("held_for", held_for),
            ("contact_id", contact),
            ("template", "'jaspers_market_plain_text_v1'"),
            ("language", "'en_US'"),
            ("priority", "2"),
            ("wake_at", far.as_str()),
        ];
        clone(app, "notification", delivered, &waiting).await;
    }
    let call = [
        ("id", id),
        ("notification_id", notification),
        ("provider_message_id", text),
    ];
    clone(app, "attempt", "provider_message_id IS NOT NULL", &call).await;
    for (state, due_at) in [("'pending'", far.as_str()), ("'fired'", "NULL")] {
        let follow_up = [
            ("id", id),
            ("notification_id", notification),
            ("occurrence", state),
            ("state", state),
            ("due_at", due_at),
            ("settled_at", "NULL"),
        ];
        clone(app, "follow_up", "true", &follow_up).await;
    }
    let line = [("id", id), ("notification_id", notification)];
    clone(app, "timeline", "true", &line).await;
    clone(app, "notification_label", "true", &line[1..]).await;
    // Segments of each millisecond: one that was applied, and one that another process works on.
    let [applied, waiting] = [0x7000, 0x7001].map(|rest| format!("number * 65536 + {rest}"));
    for segment in [&applied, &waiting] {
        clone(app, "inbox_segment", "true", &[("id", segment)]).await;
    }
    clone(app, "inbox_applied", "true", &[("segment", &applied)]).await;
    let key = "('x' || md5(number::text))::bit(64)::bigint";
    let seen = [("digest_key", key), ("segment", applied.as_str())];
    clone(app, "inbox_digest", "true", &seen).await;
    clone(app, "inbox_repeat", "true", &[("callback_id", callback)]).await;
    app.sql(&format!(
        "INSERT INTO inbox_pending (segment, urgent, bodies, size_bytes, owner, leased_until, tries) \
         SELECT {waiting}, number % 2 = 0, 1, 100, gen_random_uuid(), {far}, 0 FROM generate_series(1, {MANY}) AS number"
    ))
    .await;
    let batch = [("last", "1000000 + number")];
    clone(app, "change_batch", "true", &batch).await;
    let written = [
        ("id", id),
        ("contact_id", contact),
        ("provider_message_id", text),
    ];
    clone(app, "inbound_message", "true", &written).await;
    let parked = [
        ("id", id),
        ("callback_id", callback),
        ("provider_message_id", text),
        ("state", "'not_ours'"),
    ];
    clone(app, "parked_status", "true", &parked).await;
    clone(app, "idempotency", "true", &[("idempotency_key", text)]).await;
    // None of these is written on such a day, and all are read.
    app.sql(&format!(
        "INSERT INTO dedupe (route, dedupe_key, recipient, channel, notification_id, created_at) \
         SELECT 'demo-order', number::text, '', 'whatsapp', gen_random_uuid(), 0 FROM generate_series(1, {MANY}) AS number; \
         INSERT INTO preference (contact_id, message_kind, channel, created_at, updated_at, wanted) \
         SELECT md5('contact' || number)::uuid, 'orders', '', 0, 0, false FROM generate_series(1, {MANY}) AS number; \
         INSERT INTO identity_evidence (id, created_at, kind, scope, one_kind, one, other_kind, other, changed_at, first_at, last_at, source) \
         SELECT gen_random_uuid(), 0, 'seen', '', 'phone', number::text, '', '', 0, 0, 0, 'message' FROM generate_series(1, {MANY}) AS number"
    ))
    .await;
}

/// Makes [`MANY`] rows of one, with these columns changed. Whatever other columns there are is
/// taken over.
async fn clone(app: &TestApp, table: &str, which: &str, changed: &[(&str, &str)]) {
    let names = app
        .texts(&format!(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}' \
             AND table_schema = 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position"
        ))
        .await;
    let made: Vec<String> = names.iter().map(|name| format!("made.{name}")).collect();
    let (columns, made) = (names.join(", "), made.join(", "));
    let new: Vec<String> = changed
        .iter()
        .map(|(name, value)| format!("'{name}', {value}"))
        .collect();
    // As a source of rows the function is called once for each, as it depends on the number; in a list
    // of columns, once for each column.
    app.sql(&format!(
        "INSERT INTO {table} ({columns}) SELECT {made} FROM (SELECT t AS it FROM {table} t WHERE {which} LIMIT 1) AS one, \
         generate_series(1, {MANY}) AS number, jsonb_populate_record(one.it, jsonb_build_object('_row', number, {})) AS made",
        new.join(", ")
    ))
    .await;
    let rows = app.number(&format!("SELECT count(*) FROM {table}")).await;
    assert!(
        rows >= i64::try_from(MANY).unwrap(),
        "{rows} rows of {table}"
    );
}

/// What a statement touched when it touched most.
struct Cost {
    rows: f64,
    pages: f64,
    plan: Value,
}

/// The statements of a database in the log, by their text.
fn statements(log: &str, database: &str) -> BTreeMap<String, Cost> {
    let start = format!("{database}:LOG:  duration:");
    let mut all: BTreeMap<String, Cost> = BTreeMap::new();
    for entry in log.split(&start).skip(1) {
        let plan: String = entry
            .lines()
            .skip(1)
            .map_while(|line| line.strip_prefix('\t'))
            .collect();
        let plan: Value =
            serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error}: {entry}"));
        let sql = plan["Query Text"].as_str().unwrap().to_owned();
        let top = &plan["Plan"];
        let cost = Cost {
            rows: rows(top),
            pages: number(top, "Shared Hit Blocks") + number(top, "Shared Read Blocks"),
            plan: top.clone(),
        };
        let most = all.entry(sql).or_insert(Cost {
            rows: -1.0,
            pages: -1.0,
            plan: Value::Null,
        });
        if cost.rows + cost.pages > most.rows + most.pages {
            *most = cost;
        }
    }
    all
}

fn number(plan: &Value, name: &str) -> f64 {
    plan[name].as_f64().unwrap_or(0.0)
}

/// Rows that the nodes of a plan gave on, and those that they looked at in vain.
fn rows(plan: &Value) -> f64 {
    let each = [
        "Actual Rows",
        "Rows Removed by Filter",
        "Rows Removed by Join Filter",
        "Rows Removed by Index Recheck",
    ];
    let own: f64 = each.iter().map(|name| number(plan, name)).sum();
    let below: f64 = plan["Plans"]
        .as_array()
        .into_iter()
        .flatten()
        .map(rows)
        .sum();
    own * number(plan, "Actual Loops").max(1.0) + below
}
