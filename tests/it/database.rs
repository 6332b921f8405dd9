//! The database: durable, migrated under a lock, used by one server at a time on SQLite.

use entity::{
    account_fact, alarm, api_key, attempt, audit, cohort, consent, contact, contact_alias,
    contact_conflict, conversation, counter, credential, dead_letter, event, event_type, follow_up,
    heartbeat, identity_decision, identity_evidence, inbound_message, login, message_kind, notice,
    notification, notification_label, preference, sender, suppression, template, template_sync,
    timeline,
};
use herald::store;
use herald::store::{checkpoint, connect, migrate, notification as rows};
use sea_orm::{ConnectionTrait, EntityTrait};
use secrecy::SecretString;

use crate::harness::{DEMO, Database, TestApp, fresh_blocker, fresh_database, noise_bytes};

crate::tests![
    durability_is_full_and_nothing_weakens_it,
    several_processes_may_migrate_at_once,
    every_entity_fits_its_table,
    a_transaction_that_lost_is_repeated,
    a_cancelled_transaction_leaves_nothing,
    a_change_between_reading_and_saving_is_noticed,
    the_log_begins_anew_when_it_is_long,
    whoever_waits_too_long_for_a_lock_may_come_again,
    metrics_are_answered_while_the_database_is_away,
];

async fn durability_is_full_and_nothing_weakens_it(database: Database) {
    let app = TestApp::spawn(&database).await;
    let settings = store::setting::durability(&app.store).await.unwrap();
    let expected: &[(&str, &str)] = match database {
        Database::Sqlite => &[
            ("synchronous", "2"),
            ("journal_mode", "wal"),
            ("auto_vacuum", "2"),
            ("secure_delete", "1"),
        ],
        // The throwaway cluster runs without fsync; commits are synchronous all the same.
        Database::Postgres => &[("synchronous_commit", "on")],
    };
    for (name, value) in expected {
        assert!(
            settings.contains(&((*name).to_owned(), (*value).to_owned())),
            "{name} in {settings:?}"
        );
    }
}

async fn several_processes_may_migrate_at_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = SecretString::from(fresh_database(&database, folder.path()).await);
    let migrations = (0..4).map(|_| async {
        let store = connect::open(&url, 3, connect::ConnectPurpose::Command)
            .await
            .unwrap();
        migrate::up(&store).await.unwrap();
        assert!(migrate::is_current(&store).await.unwrap());
    });
    futures_util::future::join_all(migrations).await;
}

async fn every_entity_fits_its_table(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.settle().await;
    let reader = app.store.reader();
    macro_rules! read {
        ($($entity:ident),*) => { $( $entity::Entity::find().all(reader).await.unwrap(); )* };
    }
    read!(
        account_fact,
        alarm,
        heartbeat,
        login,
        contact_conflict,
        consent,
        identity_decision,
        identity_evidence,
        notice,
        suppression,
        template_sync,
        api_key,
        attempt,
        audit,
        credential,
        contact,
        contact_alias,
        conversation,
        cohort,
        counter,
        dead_letter,
        event,
        event_type,
        follow_up,
        inbound_message,
        message_kind,
        notification,
        notification_label,
        preference,
        sender,
        template,
        timeline
    );
}

async fn a_transaction_that_lost_is_repeated(database: Database) {
    let app = TestApp::spawn(&database).await;
    let adds = (0..20).map(|_| {
        let store = app.store.clone();
        async move {
            store
                .write(async |tx| {
                    let statement = "INSERT INTO setting (name, created_at, value) VALUES ('n', 0, '1') \
                         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(setting.value AS integer) + 1 AS text)";
                    store::dialect::execute(tx, statement, []).await?;
                    Ok(())
                })
                .await
                .unwrap();
        }
    });
    futures_util::future::join_all(adds).await;
    assert_eq!(
        app.number("SELECT CAST(value AS bigint) FROM setting WHERE name = 'n'")
            .await,
        20
    );
}

async fn a_cancelled_transaction_leaves_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let result: Result<(), store::StoreError> = app
        .store
        .write(async |tx| {
            store::dialect::execute(
                tx,
                "INSERT INTO setting (name, created_at, value) VALUES ('gone', 0, '')",
                [],
            )
            .await?;
            Err(store::StoreError::RolledBack)
        })
        .await;
    assert!(matches!(result, Err(store::StoreError::RolledBack)));
    assert_eq!(
        app.number("SELECT count(*) FROM setting WHERE name = 'gone'")
            .await,
        0
    );
}

async fn a_change_between_reading_and_saving_is_noticed(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550110").await.parse().unwrap();
    let policy = app.engine.settings.policy;
    let elsewhere = app.store.clone();
    let mut tries = 0;
    app.store
        .write(async |tx| {
            tries += 1;
            let mut after = rows::load(tx, &[id]).await?;
            let before = vec![after[0].state.clone()];
            // SQLite lets nobody write in between.
            if tries == 1 && database == Database::Postgres {
                let renamed = "UPDATE notification SET reason = 'somebody was faster'";
                elsewhere
                    .raw_writer()
                    .execute_unprepared(renamed)
                    .await
                    .unwrap();
            }
            after[0].state.insists = true;
            rows::save(tx, &before, &mut after, &[], &policy, app.now()).await
        })
        .await
        .unwrap();
    let expected = if database == Database::Postgres { 2 } else { 1 };
    assert_eq!(tries, expected);
    let saved = app.notification(&id.to_string()).await;
    if database == Database::Postgres {
        assert_eq!(saved["reason"], "somebody was faster");
    }
}

async fn the_log_begins_anew_when_it_is_long(database: Database) {
    let app = TestApp::spawn(&database).await;
    if database == Database::Postgres {
        // PostgreSQL keeps its own log: a turn does nothing.
        let mut progress = checkpoint::CheckpointProgress::default();
        assert!(!checkpoint::turn(&app.store, &mut progress).await.unwrap());
        return;
    }
    let pages = async || {
        let writer = app.store.inbox().raw_writer();
        let row = store::dialect::query_one(writer, "PRAGMA wal_checkpoint(NOOP)", [])
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index::<i64>(1).unwrap()
    };
    // Three megabytes a body: past the bound in two dozen.
    for body in 0_u8..26 {
        let filler = noise_bytes(u64::from(body), 2_900_000);
        assert_eq!(app.callback_bytes(filler).await, 200);
    }
    let long = pages().await;
    assert!(long > checkpoint::RESTART_PAGES, "{long} pages");
    let mut progress = checkpoint::CheckpointProgress::default();
    assert!(checkpoint::turn(&app.store, &mut progress).await.unwrap());
    assert!(
        !checkpoint::turn(&app.store, &mut progress).await.unwrap(),
        "nothing was written since"
    );
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 200);
    let anew = pages().await;
    assert!(anew < long / 4, "{anew} pages after {long}");
}

async fn whoever_waits_too_long_for_a_lock_may_come_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    let shown = async |name: &str| {
        let row = store::dialect::query_one(app.store.raw_writer(), format!("SHOW {name}"), [])
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index::<String>(0).unwrap()
    };
    if database == Database::Postgres {
        assert_eq!(shown("lock_timeout").await, "8s");
        assert_eq!(shown("statement_timeout").await, "10s");
        // What reads much must not be compiled, and what writes goes by key.
        assert_eq!(shown("jit").await, "off");
        for forbidden in ["seqscan", "bitmapscan", "hashjoin", "mergejoin"] {
            assert_eq!(shown(&format!("enable_{forbidden}")).await, "off");
        }
        // A plan is kept: to plan costs more than most of what writes.
        assert_eq!(shown("plan_cache_mode").await, "auto");
    }
    let blocker = fresh_blocker(&app.database_url).await;
    let mut tries = 0;
    let waited = app
        .store
        .write(async |tx| {
            tries += 1;
            if database == Database::Postgres {
                store::dialect::execute(tx, "SET LOCAL lock_timeout = '5ms'", []).await?;
            }
            store::dialect::execute(tx, "UPDATE notification SET reason = reason", []).await
        })
        .await;
    let error = waited.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    if database == Database::Postgres {
        assert_eq!(tries, 6, "a lock that is not given is asked for again");
    }
    blocker.release().await;
    app.reconnect().await;
    app.apply_catalogue(DEMO).await;
}

async fn metrics_are_answered_while_the_database_is_away(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (_, before) = app.text("/metrics").await;
    assert!(before.contains("herald_database_up 1"), "{before}");
    let Database::Postgres = database else {
        // Nobody who writes keeps SQLite's readers out.
        return;
    };
    let blocker = fresh_blocker(&app.database_url).await;
    let (status, metrics) = app.text("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("herald_database_up 0"), "{metrics}");
    blocker.release().await;
}
