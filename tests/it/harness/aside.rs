//! Another process that is in the midst of a transaction.

use std::sync::atomic::{AtomicBool, Ordering};

use herald::store::{
    DatabaseTransaction, Store, StoreError,
    connect::{self, ConnectPurpose},
    dialect::{is_sqlite, query_one},
};
use secrecy::SecretString;

use super::TestApp;

/// Does something while another process is in the midst of a transaction, which ends when it is
/// waited for. SQLite has one writer: there, the other one waits from its beginning.
pub async fn while_open<T>(
    app: &TestApp,
    open: impl AsyncFn(&DatabaseTransaction) -> Result<(), StoreError>,
    meanwhile: impl Future<Output = T>,
) -> T {
    while_open_in(app, |store| store, open, meanwhile).await
}

/// The same for a transaction of the inbox.
pub async fn while_inbox_is_open<T>(
    app: &TestApp,
    open: impl AsyncFn(&DatabaseTransaction) -> Result<(), StoreError>,
    meanwhile: impl Future<Output = T>,
) -> T {
    while_open_in(app, Store::inbox, open, meanwhile).await
}

async fn while_open_in<T>(
    app: &TestApp,
    part: fn(&Store) -> &Store,
    open: impl AsyncFn(&DatabaseTransaction) -> Result<(), StoreError>,
    meanwhile: impl Future<Output = T>,
) -> T {
    let url = SecretString::from(app.database_url.clone());
    let other = connect::open(&url, 1, ConnectPurpose::Command)
        .await
        .unwrap();
    let is_open = AtomicBool::new(false);
    let work = part(&other).write(async |tx| {
        open(tx).await.unwrap();
        let pid = if is_sqlite(tx) {
            None
        } else {
            Some(backend(tx).await)
        };
        is_open.store(true, Ordering::SeqCst);
        // Bounded, so that work which does not wait fails the test instead of stopping it.
        for _ in 0..100_000 {
            match pid {
                Some(pid) if !somebody_waits_for(&app.engine.store, pid).await => {
                    tokio::task::yield_now().await;
                }
                _ => return Ok(()),
            }
        }
        panic!("nobody waits for the open transaction");
    });
    let meanwhile = async {
        while !is_open.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        meanwhile.await
    };
    let (done, result) = tokio::join!(work, Box::pin(meanwhile));
    done.unwrap();
    result
}

async fn backend(tx: &DatabaseTransaction) -> i32 {
    let row = query_one(tx, "SELECT pg_backend_pid()", []).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

async fn somebody_waits_for(store: &Store, pid: i32) -> bool {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)) LIMIT 1";
    let waiting = query_one(store.reader(), sql, [pid.into()]).await.unwrap();
    waiting.is_some()
}
