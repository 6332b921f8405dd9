//! The database: durable, migrated under a lock, used by one server at a time on SQLite.

use entity::{
    api_key, attempt, callback, callback_body, callback_digest, catalogue, contact, contact_alias,
    conversation, counter, dead_letter, dedupe, event, follow_up, group_member, idempotency,
    inbound_message, notification, notification_label, parked_status, route, rule, sender, setting,
    template, timeline, user_account, user_group,
};
use herald::store::{self, connect, migrate};
use sea_orm::EntityTrait;
use secrecy::SecretString;

use crate::harness::{DEMO, Database, TestApp, fresh_database};

crate::tests![
    durability_is_full_and_nothing_weakens_it,
    several_processes_may_migrate_at_once,
    every_entity_fits_its_table,
    a_transaction_that_lost_is_repeated,
    a_cancelled_transaction_leaves_nothing,
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
        let store = connect::open(&url, 3, connect::Purpose::Command)
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
        api_key,
        attempt,
        callback,
        callback_body,
        callback_digest,
        catalogue,
        contact,
        contact_alias,
        conversation,
        counter,
        dead_letter,
        dedupe,
        event,
        follow_up,
        group_member,
        idempotency,
        inbound_message,
        notification,
        notification_label,
        parked_status,
        route,
        rule,
        sender,
        setting,
        template,
        timeline,
        user_account,
        user_group
    );
    let found = notification::Entity::load()
        .with(attempt::Entity)
        .with(timeline::Entity)
        .all(reader)
        .await
        .unwrap();
    assert!(
        found
            .iter()
            .any(|notification| !notification.attempts.is_empty()
                && !notification.timeline.is_empty())
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
