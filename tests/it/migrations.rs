//! Rows of an older Herald: a migration keeps what they say.

use herald::{
    domain::{
        category::TemplateCategory, quality::QualityRating, template_status::TemplateStatus,
        timeline::TimelineEntryKind,
    },
    store::{Store, connect, migrate, template_sync::ReportedTemplateState},
};
use migration::MIGRATIONS;
use sea_orm::{ConnectionTrait, Statement};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::{Database, fresh_database};

crate::tests![
    counters_become_cohorts_and_cohorts_counters,
    evidence_stays_what_it_is_when_its_key_changes,
    lines_of_a_timeline_keep_what_they_say_when_their_words_change,
    a_sender_keeps_what_it_had_as_columns_as_settings,
    the_schema_of_a_newer_program_is_refused_by_name,
    the_status_of_a_template_keeps_its_meaning,
    the_quality_of_a_template_keeps_its_meaning,
];

/// Migrations up to the one that counted everything by fact.
const BEFORE_COHORTS: usize = 14;

async fn lines(store: &Store, sql: &str) -> Vec<String> {
    let backend = store.reader().get_database_backend();
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(backend, sql))
        .await
        .unwrap();
    rows.iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

async fn counters_become_cohorts_and_cohorts_counters(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let open = async || {
        connect::open(
            &SecretString::from(url.clone()),
            3,
            connect::ConnectPurpose::Command,
        )
        .await
        .unwrap()
    };
    // Creates the file of SQLite.
    drop(open().await);
    let raw = sea_orm::Database::connect(url.clone()).await.unwrap();
    migrate::apply(&raw, BEFORE_COHORTS).await.unwrap();
    let nil = if url.starts_with("sqlite") {
        "zeroblob(16)"
    } else {
        "'00000000-0000-0000-0000-000000000000'::uuid"
    };
    // Of two quarters in one hour, of two processes.
    for (template, fact, code, count) in [
        ("order", "created", "", 9),
        ("order", "delivered", "", 5),
        ("order", "failed", "131026", 2),
        ("order", "failed", "131047", 1),
        ("order", "priced", "utility/regular/US", 5),
        ("", "took_sent", "07", 5),
    ] {
        for (grain, bucket) in [(900, 0), (900, 900), (3_600, 0), (86_400, 0)] {
            let (template, event, code, count) = match grain {
                3_600 => ("", "", "", 2 * count),
                900 => (template, "shop.order", code, count),
                _ => (template, "shop.order", code, 2 * count),
            };
            for slot in 1..3 {
                raw.execute_unprepared(&format!(
                    "INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count) \
                     VALUES ({grain}, {bucket} * 1000000, {nil}, 'whatsapp', '{template}', '{event}', '{fact}', '{code}', {slot}, 1, {count}) \
                     ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, fact, code, slot) DO UPDATE SET count = counter.count + excluded.count"
                ))
                .await
                .unwrap();
            }
        }
    }
    raw.close().await.unwrap();
    let counters = "SELECT grain || ' ' || (bucket / 1000000) || ' ' || template || ' ' || event_type || ' ' || fact || ' ' || code || ' ' || slot || ' ' || count AS line FROM counter ORDER BY 1";
    let cohorts = "SELECT grain || ' ' || (bucket / 1000000) || ' ' || template || ' ' || event_type || ' ' || slot || ' ' || created || ' ' || delivered || ' ' || failed || ' ' || out AS line FROM cohort WHERE slot = 1 ORDER BY 1";

    let store = open().await;
    let before = lines(&store, counters).await;
    migrate::up(&store).await.unwrap();
    assert_eq!(
        lines(&store, cohorts).await,
        [
            "1800 0   1 18 10 6 0",
            "3600 0   1 18 10 6 0",
            "604800 0 order shop.order 1 18 10 6 0",
            "86400 0 order shop.order 1 18 10 6 0",
            "900 0 order shop.order 1 9 5 3 0",
            "900 900 order shop.order 1 9 5 3 0",
        ]
    );
    let coded = lines(&store, counters).await;
    assert!(
        coded
            .iter()
            .all(|line| !line.starts_with("3600 ") && !line.contains("created"))
    );
    // Four codes, in two quarters, a day and a week, of two processes.
    assert_eq!(coded.len(), 4 * 4 * 2);
    drop(store);

    let raw = sea_orm::Database::connect(url.clone()).await.unwrap();
    let after = MIGRATIONS.len() - BEFORE_COHORTS;
    migrate::revert(&raw, after).await.unwrap();
    raw.close().await.unwrap();
    assert_eq!(lines(&open().await, counters).await, before);
}

/// A database as it was before the migration of a name.
struct Before {
    raw: sea_orm::DatabaseConnection,
    store: Store,
    is_sqlite: bool,
    _folder: tempfile::TempDir,
}

impl Before {
    async fn the_migration(database: &Database, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = fresh_database(database, folder.path()).await;
        // Creates the file of SQLite.
        let secret = SecretString::from(url.clone());
        let store = connect::open(&secret, 3, connect::ConnectPurpose::Command)
            .await
            .unwrap();
        let raw = sea_orm::Database::connect(url.clone()).await.unwrap();
        let before_it = MIGRATIONS
            .iter()
            .position(|migration| migration.name.ends_with(name))
            .unwrap();
        migrate::apply(&raw, before_it).await.unwrap();
        Self {
            raw,
            store,
            is_sqlite: url.starts_with("sqlite"),
            _folder: folder,
        }
    }

    /// A UUID as a literal.
    fn id(&self, number: usize) -> String {
        if self.is_sqlite {
            format!("x'{number:032x}'")
        } else {
            format!("'{number:032x}'::uuid")
        }
    }
}

async fn evidence_stays_what_it_is_when_its_key_changes(database: Database) {
    let before_it = Before::the_migration(&database, "evidence_key").await;
    let (raw, store) = (&before_it.raw, &before_it.store);
    let insert = |number: usize, kind: &str, other: &str, changed_at: i64| {
        format!(
            "INSERT INTO identity_evidence (id, created_at, kind, scope, one_kind, one, other_kind, other, changed_at, first_at, last_at, source) \
             VALUES ({}, 1, '{kind}', '102290129340398', 'phone', '+12025550101', '', '{other}', {changed_at}, {number}, 9, 'status')",
            before_it.id(number)
        )
    };
    // The same two aliases, and what can happen between them more than once.
    for (number, kind, other, at) in [
        (1, "seen", "", 0),
        (2, "together", "US.1", 0),
        (3, "moved", "+12025550102", 5),
        (4, "moved", "+12025550102", 6),
    ] {
        raw.execute_unprepared(&insert(number, kind, other, at))
            .await
            .unwrap();
    }
    let all = "SELECT kind || ' ' || other || ' ' || changed_at || ' ' || first_at || ' ' || last_at || ' ' || source AS line \
               FROM identity_evidence ORDER BY 1";
    let again = insert(7, "moved", "+12025550102", 6) + " ON CONFLICT DO NOTHING";
    let before = lines(store, all).await;
    assert_eq!(before.len(), 4);

    migrate::apply(raw, 1).await.unwrap();
    assert_eq!(lines(store, all).await, before);
    raw.execute_unprepared(&again).await.unwrap();
    assert_eq!(lines(store, all).await, before, "a fact is there once");

    migrate::revert(raw, 1).await.unwrap();
    assert_eq!(lines(store, all).await, before);
    raw.execute_unprepared(&again).await.unwrap();
    assert_eq!(lines(store, all).await, before, "a fact is there once");
}

async fn lines_of_a_timeline_keep_what_they_say_when_their_words_change(database: Database) {
    let before_it = Before::the_migration(&database, "timeline_words").await;
    let (raw, store) = (&before_it.raw, &before_it.store);
    let before = [
        "accepted",
        "accepted, and kept back by the provider",
        "answered late",
        "follow_up_cancelled",
        "follow_up_fired",
        "follow_up_overruled",
        "follow_up_skipped",
        "gave up",
        "lease ran out",
        "more of what was known",
        "not sent, waits",
        "queued",
        "refused, another try is due",
        "retry asked",
        "rule_did_not_fire",
        "sent again",
        "sent now",
        "unknown",
    ];
    for (number, kind) in before.iter().enumerate() {
        let id = before_it.id(number);
        raw.execute_unprepared(&format!(
            "INSERT INTO timeline (notification_id, id, at, kind) VALUES ({id}, {id}, 1, '{kind}')"
        ))
        .await
        .unwrap();
    }
    let all = "SELECT kind AS line FROM timeline ORDER BY kind";
    assert_eq!(lines(store, all).await, before);

    migrate::apply(raw, 1).await.unwrap();
    let after = lines(store, all).await;
    assert_eq!(after.len(), before.len());
    for word in &after {
        assert!(TimelineEntryKind::parse(word).is_some(), "{word}");
    }
    for word in ["retry_scheduled", "outcome_unknown", "rule_fired", "queued"] {
        assert!(after.iter().any(|it| it == word), "{word}: {after:?}");
    }

    migrate::revert(raw, 1).await.unwrap();
    assert_eq!(lines(store, all).await, before);
}

async fn a_sender_keeps_what_it_had_as_columns_as_settings(database: Database) {
    let before_it = Before::the_migration(&database, "sender_settings").await;
    let (raw, store) = (&before_it.raw, &before_it.store);
    for (number, version, base) in [
        (1, "'v25.0'", "'https://graph.example.org'"),
        (2, "NULL", "'https://say \"so\".example.org'"),
        (3, "NULL", "NULL"),
    ] {
        raw.execute_unprepared(&format!(
            "INSERT INTO sender (id, created_at, updated_at, kind, name, phone_number_id, waba_id, api_version, base_url, \
             is_default, state, pace_per_second, pace_next_at, failures_in_row) \
             VALUES ({}, 1, 1, 'meta', 'n{number}', '{number}', '102290129340398', {version}, {base}, false, 'active', 80, 0, 0)",
            before_it.id(number)
        ))
        .await
        .unwrap();
    }
    let columns = "SELECT phone_number_id || ' ' || waba_id || ' ' || coalesce(api_version, '-') || ' ' || coalesce(base_url, '-') \
                   FROM sender ORDER BY id";
    let before = lines(store, columns).await;

    migrate::apply(raw, 1).await.unwrap();
    let settings: Vec<serde_json::Value> = lines(store, "SELECT settings FROM sender ORDER BY id")
        .await
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(
        settings,
        [
            json!({ "api_version": "v25.0", "api_base": "https://graph.example.org" }),
            json!({ "api_base": "https://say \"so\".example.org" }),
            json!({}),
        ]
    );
    let names = "SELECT endpoint_id || ' ' || account_id FROM sender ORDER BY id";
    assert_eq!(lines(store, names).await[2], "3 102290129340398");

    migrate::revert(raw, 1).await.unwrap();
    assert_eq!(lines(store, columns).await, before);
}

async fn the_schema_of_a_newer_program_is_refused_by_name(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let secret = SecretString::from(url);
    let store = connect::open(&secret, 3, connect::ConnectPurpose::Command)
        .await
        .unwrap();
    assert!(!migrate::is_current(&store).await.unwrap(), "it is empty");
    migrate::up(&store).await.unwrap();
    assert!(migrate::is_current(&store).await.unwrap());
    let later =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_later', 0)";
    store.write_alone(later, []).await.unwrap();
    for refused in [
        migrate::up(&store).await.unwrap_err(),
        migrate::is_current(&store).await.unwrap_err(),
        migrate::status(&store).await.unwrap_err(),
    ] {
        let said = format!("{:?}", anyhow::Error::from(refused));
        assert!(
            said.contains("newer than this program (m20991231_000001_later)"),
            "{said}"
        );
    }
}

async fn the_status_of_a_template_keeps_its_meaning(database: Database) {
    let before_it = Before::the_migration(&database, "template_status_words").await;
    let (raw, store) = (&before_it.raw, &before_it.store);
    for (name, status) in [
        ("a", "'PAUSED'"),
        ("b", "'PENDING_DELETION'"),
        ("c", "NULL"),
    ] {
        let insert = format!(
            "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
             VALUES ('1', '{name}', 'en_US', 1, 1, {status}, 1)"
        );
        raw.execute_unprepared(&insert).await.unwrap();
    }
    let statuses = "SELECT coalesce(status, '') AS line FROM template_sync ORDER BY name";
    migrate::apply(raw, 1).await.unwrap();
    assert_eq!(
        lines(store, statuses).await,
        ["paused", "pending_deletion", ""]
    );
    let all = herald::store::template_sync::all(store).await.unwrap();
    let meant: Vec<Option<TemplateStatus>> = all
        .iter()
        .map(|row| ReportedTemplateState::from(row).status)
        .collect();
    assert_eq!(
        meant,
        [
            Some(TemplateStatus::Paused),
            Some(TemplateStatus::PendingDeletion),
            None
        ]
    );
    migrate::revert(raw, 1).await.unwrap();
    assert_eq!(
        lines(store, statuses).await,
        ["PAUSED", "PENDING_DELETION", ""]
    );
}

async fn the_quality_of_a_template_keeps_its_meaning(database: Database) {
    let before_it = Before::the_migration(&database, "template_quality_words").await;
    let (raw, store) = (&before_it.raw, &before_it.store);
    for (name, category, quality) in [
        ("a", "'marketing'", "'YELLOW'"),
        ("b", "'transactional'", "'UNKNOWN'"),
        ("c", "NULL", "NULL"),
        ("d", "'utility'", "'PURPLE'"),
    ] {
        let insert = format!(
            "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, category, category_at, quality, quality_at) \
             VALUES ('1', '{name}', 'en_US', 1, 1, {category}, 1, {quality}, 1)"
        );
        raw.execute_unprepared(&insert).await.unwrap();
    }
    let qualities = "SELECT coalesce(quality, '') AS line FROM template_sync ORDER BY name";
    let before = lines(store, qualities).await;
    assert_eq!(before, ["YELLOW", "UNKNOWN", "", "PURPLE"]);
    migrate::apply(raw, 1).await.unwrap();
    assert_eq!(
        lines(store, qualities).await,
        ["yellow", "unknown", "", "purple"]
    );
    let all = herald::store::template_sync::all(store).await.unwrap();
    let meant: Vec<(Option<TemplateCategory>, Option<QualityRating>)> = all
        .iter()
        .map(|row| {
            let state = ReportedTemplateState::from(row);
            (state.category, state.quality)
        })
        .collect();
    assert_eq!(
        meant,
        [
            (
                Some(TemplateCategory::Marketing),
                Some(QualityRating::Yellow)
            ),
            (Some(TemplateCategory::Other), Some(QualityRating::Unknown)),
            (None, None),
            (Some(TemplateCategory::Utility), Some(QualityRating::Other)),
        ]
    );
    migrate::revert(raw, 1).await.unwrap();
    assert_eq!(lines(store, qualities).await, before);
}
