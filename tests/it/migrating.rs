//! Rows of an older Herald: a migration keeps what they say.

use herald::store::{Store, connect, migrate};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, Statement};
use secrecy::SecretString;

use crate::harness::{Database, fresh_database};

crate::tests![counters_become_cohorts_and_cohorts_counters];

/// Migrations up to the one that counted everything by fact.
const BEFORE_COHORTS: u32 = 14;

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
            connect::Purpose::Command,
        )
        .await
        .unwrap()
    };
    // Creates the file of SQLite.
    drop(open().await);
    let raw = sea_orm::Database::connect(url.clone()).await.unwrap();
    Migrator::up(&raw, Some(BEFORE_COHORTS)).await.unwrap();
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
    let after = u32::try_from(Migrator::migrations().len()).unwrap() - BEFORE_COHORTS;
    Migrator::down(&raw, Some(after)).await.unwrap();
    raw.close().await.unwrap();
    assert_eq!(lines(&open().await, counters).await, before);
}
