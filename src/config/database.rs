//! The database.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::settings::section;

section! {
    /// Where the database is, and how it is used.
    #[derive(Clone, Debug)]
    pub struct DatabaseSettings {
        /// postgres://… or sqlite:PATH. Several PostgreSQL servers of one database:
        /// postgres://one:5432,two:5432/herald?target_session_attrs=read-write. Default: a SQLite
        /// file in HERALD_DATA_DIR.
        #[setting("DATABASE_URL", secret)]
        pub url: Option<SecretString>,
        /// Connections to PostgreSQL, at most.
        #[setting("HERALD_DATABASE_CONNECTIONS" = "10", number(2, 500))]
        pub connections: u32,
        /// `true` when DATABASE_URL leads to PgBouncer in transaction mode, or a pooler like it.
        #[setting("HERALD_DATABASE_POOLED" = "false", flag)]
        pub pooled: bool,
        /// No statement on PostgreSQL may take longer. A server that is silent for two seconds
        /// longer is taken to be down.
        #[setting("HERALD_DATABASE_TIMEOUT_SECONDS" = "10", seconds(1, 300))]
        pub timeout: Duration,
    }
}
