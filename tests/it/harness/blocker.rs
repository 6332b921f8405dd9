//! Takes the database away for a while.

use std::future::Future;

use herald::store::{self, ConnectionTrait, Store, StoreError, connect};
use secrecy::SecretString;

/// While it lives, no transaction of the app can write.
pub struct Blocker {
    side: Store,
    database: Option<String>,
}

/// SQLite: another process keeps the write locks. PostgreSQL: the tables are locked.
pub async fn fresh_blocker(url: &str) -> Blocker {
    let secret = SecretString::from(url.to_owned());
    let side = connect::open(&secret, 1, connect::ConnectPurpose::Command)
        .await
        .unwrap();
    if url.starts_with("sqlite:") {
        for file in [&side, side.inbox()] {
            store::dialect::execute(file.raw_writer(), "BEGIN IMMEDIATE", [])
                .await
                .unwrap();
        }
        return Blocker {
            side,
            database: None,
        };
    }
    let name = url.rsplit('/').next().unwrap().to_owned();
    side.raw_writer()
        .execute_unprepared("BEGIN; LOCK TABLE inbox_segment, inbox_pending, inbox_applied, inbox_digest, contact_alias, identity_evidence, notification, timeline IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    Blocker {
        side,
        database: Some(name),
    }
}

impl Blocker {
    /// Runs what must fail for a passing reason. On PostgreSQL a lock only makes
    /// it wait, so its connections are cut.
    pub async fn while_blocked<T>(
        &self,
        engine: &herald::engine::Engine,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Some(database) = &self.database else {
            return work.await;
        };
        let cut = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        let cutting = async {
            loop {
                tokio::task::yield_now().await;
                self.side
                    .raw_writer()
                    .execute_unprepared(&cut)
                    .await
                    .unwrap();
                if engine.store.raw_writer().ping().await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = work => done,
            () = cutting => unreachable!("cutting never ends"),
        }
    }

    pub async fn release(self) {
        self.release_main().await;
        if self.side.is_sqlite() {
            self.release_inbox().await;
        }
    }

    /// On SQLite it ends for the main file only.
    pub async fn release_main(&self) {
        commit(&self.side).await;
    }

    /// On SQLite it ends for the inbox only.
    pub async fn release_inbox(&self) {
        commit(self.side.inbox()).await;
    }
}

async fn commit(file: &Store) {
    file.raw_writer()
        .execute_unprepared("COMMIT")
        .await
        .unwrap();
}
