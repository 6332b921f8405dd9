//! The servers of one PostgreSQL database, and the choice of the one that accepts writes.

use std::{
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use sea_orm::sqlx::{self, Connection as _, PgConnection, Row, postgres::PgConnectOptions};

use super::connection::{StoreConnection, StoreConnectionError, within};

/// A server that does not answer a connection attempt by then is passed over.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// The others are tried as well when the last good server has not answered by then.
const HEAD_START: Duration = Duration::from_millis(500);

/// How sessions are made.
#[derive(Clone, Debug)]
pub(super) struct PostgresSessionOptions {
    /// A call without an answer fails after this.
    pub patience: Duration,
    /// A pooler in transaction mode stands between.
    pub pooled: bool,
    /// Settings of each session; in pooled mode of each transaction.
    pub settings: Vec<(&'static str, String)>,
}

/// What `DATABASE_URL` names.
#[derive(Debug)]
pub(super) struct PostgresCluster {
    servers: Vec<PgConnectOptions>,
    /// Only a server that takes writes will do.
    writable: bool,
    session: PostgresSessionOptions,
    /// The statement that begins a transaction.
    begin: String,
    /// The server that was good last.
    last_good: AtomicUsize,
}

/// One address for each server that the URL names, and whether only a writable one will do.
///
/// libpq's form: `postgres://user@one:5432,two:5433/db?target_session_attrs=read-write`
/// (PostgreSQL, 34.1.1.3 "Specifying Multiple Hosts").
fn servers_of(url: &str) -> Result<(Vec<String>, bool), sqlx::Error> {
    let wrong = |what: &str| sqlx::Error::Configuration(what.to_owned().into());
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| wrong("no scheme: postgres://…"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let mut writable = None;
    let mut parameters = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("target_session_attrs", "read-write" | "primary")) => writable = Some(true),
            Some(("target_session_attrs", "any")) => writable = Some(false),
            Some(("target_session_attrs", _)) => {
                return Err(wrong(
                    "target_session_attrs: Herald writes, so read-write, primary or any",
                ));
            }
            _ => parameters.push(parameter),
        }
    }
    let hosts: Vec<&str> = hosts.split(',').collect();
    let query = if parameters.is_empty() {
        String::new()
    } else {
        format!("?{}", parameters.join("&"))
    };
    let several = hosts.len() > 1;
    let servers = hosts
        .into_iter()
        .map(|host| format!("{scheme}://{user}{host}/{path}{query}"))
        .collect();
    // With several servers, all but one are standbys, which accept no writes.
    Ok((servers, writable.unwrap_or(several)))
}

impl PostgresCluster {
    /// Of a URL that names one server or several.
    pub(super) fn new(url: &str, session: PostgresSessionOptions) -> Result<Self, sqlx::Error> {
        let (urls, writable) = servers_of(url)?;
        let servers = urls
            .iter()
            .map(|url| Ok(session.options(PgConnectOptions::from_str(url)?)))
            .collect::<Result<_, sqlx::Error>>()?;
        Ok(Self {
            servers,
            writable,
            begin: session.begin(),
            session,
            last_good: AtomicUsize::new(0),
        })
    }

    /// A connection to the server that can be written to. The one that was good last is tried
    /// first, and soon after it all the others beside it: one that is silent holds nothing up.
    pub(super) async fn connect(&self) -> Result<StoreConnection, sqlx::Error> {
        let last_good = self.last_good.load(Ordering::Relaxed);
        let mut attempts: FuturesUnordered<_> = self
            .servers
            .iter()
            .enumerate()
            .map(|(number, options)| async move {
                if number != last_good {
                    tokio::time::sleep(HEAD_START).await;
                }
                (number, self.attempt(options).await)
            })
            .collect();
        let mut first_error = None;
        while let Some((number, attempt)) = attempts.next().await {
            match attempt {
                Ok(connection) => {
                    self.last_good.store(number, Ordering::Relaxed);
                    return Ok(StoreConnection::Postgres {
                        connection: Box::new(connection),
                        patience: self.session.patience,
                        pooled: self.session.pooled,
                    });
                }
                Err(StoreConnectionError(error)) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(sqlx::Error::PoolClosed))
    }

    async fn attempt(
        &self,
        options: &PgConnectOptions,
    ) -> Result<PgConnection, StoreConnectionError> {
        within(CONNECT_WITHIN, async {
            let mut connection = PgConnection::connect_with(options).await?;
            if self.writable {
                let row = sqlx::raw_sql("SHOW transaction_read_only")
                    .fetch_one(&mut connection)
                    .await?;
                if row.try_get::<String, _>("transaction_read_only")? != "off" {
                    return Err(sqlx::Error::Io(std::io::Error::other(
                        "this server is a standby: it cannot be written to",
                    )));
                }
            }
            Ok(connection)
        })
        .await
    }

    /// How to reach the server that is good now, for what opens connections of its own.
    pub(super) async fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        self.connect().await?.close().await;
        let number = self.last_good.load(Ordering::Relaxed);
        self.servers
            .get(number)
            .cloned()
            .ok_or(sqlx::Error::PoolClosed)
    }

    /// The statement that begins a transaction.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }
}

impl PostgresSessionOptions {
    fn begin(&self) -> String {
        let settings = self.settings.iter().filter(|_| self.pooled);
        settings.fold("BEGIN".to_owned(), |script, (name, value)| {
            script + "; SET LOCAL " + name + " = '" + value + "'"
        })
    }

    fn options(&self, options: PgConnectOptions) -> PgConnectOptions {
        let options = options.application_name("herald");
        if self.pooled {
            // PgBouncer refuses start-up parameters that it does not know, and in transaction mode
            // a statement prepared on one server may be executed on another.
            options.extra_float_digits(None).statement_cache_capacity(0)
        } else {
            options
                .options(self.settings.iter().map(|(name, value)| (*name, value)))
                .statement_cache_capacity(256)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::servers_of;

    #[test]
    fn a_url_names_one_server_or_several() {
        let one = servers_of("postgres://me:p%40ss@db:5433/herald?sslmode=require").unwrap();
        assert_eq!(
            one,
            (
                vec!["postgres://me:p%40ss@db:5433/herald?sslmode=require".to_owned()],
                false
            )
        );
        let (servers, writable) = servers_of(
            "postgresql://me@one:5432,[2001:db8::2]:5433,three/herald?target_session_attrs=read-write&sslmode=disable",
        )
        .unwrap();
        assert!(writable);
        assert_eq!(
            servers,
            [
                "postgresql://me@one:5432/herald?sslmode=disable",
                "postgresql://me@[2001:db8::2]:5433/herald?sslmode=disable",
                "postgresql://me@three/herald?sslmode=disable",
            ]
        );
        assert!(servers_of("postgres://one,two/herald").unwrap().1);
        assert!(
            !servers_of("postgres://one,two/herald?target_session_attrs=any")
                .unwrap()
                .1
        );
        assert!(servers_of("postgres://one/herald?target_session_attrs=standby").is_err());
        assert!(servers_of("herald").is_err());
    }
}
