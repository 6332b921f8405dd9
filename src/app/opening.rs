//! Opens the database, and what is needed to read it: keys, and the installation's id.

use anyhow::{Context, bail};
use secrecy::SecretString;
use uuid::Uuid;

use super::environment;
use crate::{
    config::Config,
    domain::time::Timestamp,
    engine::runtime::{
        keyring::ProviderCredentialCache,
        lineage::StaleDatabaseDetector,
        vault::{self, Vault, VaultKeyCheck},
    },
    providers::{ProviderRegistry, http_client},
    state::random_bytes,
    store::{
        self, Store, callback, connect, migrate,
        sqlite_file::{self, SqliteDatabasePresence, SqliteFileCondition, SqliteFileUsage},
        state_mark::StateMarkLocation,
    },
};

/// Opens the database with these settings, whatever its schema.
pub async fn open_database(
    config: &Config,
    purpose: connect::ConnectPurpose,
) -> Result<Store, connect::DatabaseOpenError> {
    let access = connect::DatabaseConnectSettings {
        connections: config.database.connections,
        pooled: config.database.pooled,
        timeout: config.database.timeout,
    };
    connect::open(&config.database_url(), access, purpose).await
}

/// Whether a start failed because of a database that may become usable: it is unreachable,
/// starting, full or read-only.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<connect::DatabaseOpenError>()
            .is_some_and(connect::DatabaseOpenError::may_pass)
            || cause
                .downcast_ref::<store::StoreError>()
                .is_some_and(|error| error.is_transient() && !error.is_damage())
    })
}

/// Opens the store and checks that it can be used: a SQLite file that was not closed in order is
/// read completely first.
pub(super) async fn open_store(
    config: &Config,
    migrate_now: bool,
    now: Timestamp,
) -> anyhow::Result<(Store, SqliteFileCondition)> {
    let database_url = config.database_url();
    let is_in_data_dir = connect::sqlite_file(&database_url)
        .is_some_and(|file| file.starts_with(&config.server.data_dir));
    if is_in_data_dir && let Err(error) = store::files::own_folder(&config.server.data_dir) {
        tracing::warn!(event = "data_dir.permissions", %error, "HERALD_DATA_DIR could not be created, or could not be closed to other users of this machine, who may then read it");
    }
    let before = sqlite_file::path_of(&database_url).map(SqliteDatabasePresence::look);
    let store = open_database(config, connect::ConnectPurpose::Serve).await?;
    let condition = match &before {
        Some(before) => sqlite_file::check(&store, before).await?,
        None => SqliteFileCondition::Sound,
    };
    if migrate_now {
        migrate::up(&store)
            .await
            .context("the database could not be migrated")?;
    } else if !migrate::is_current(&store)
        .await
        .context("the database's schema cannot be read")?
    {
        bail!(
            "the database's schema is older than this program: run `herald migrate up`, or start with --migrate"
        );
    }
    let is_other = condition == SqliteFileCondition::Copy;
    if let Some(segments) = callback::restore_pending(&store, is_other).await?
        && segments > 0
    {
        tracing::warn!(
            event = "database.inbox_ahead",
            segments,
            "the database is older than its stored callbacks: those that it does not know are applied again"
        );
    }
    sqlite_file::put_use(&store, SqliteFileUsage::Running, now).await?;
    Ok((store, condition))
}

/// The installation's id, and the location of its external state mark.
pub(super) async fn lineage(
    config: &Config,
    store: &Store,
    now: Timestamp,
) -> anyhow::Result<StaleDatabaseDetector> {
    let outside = config
        .secrets
        .state_mark
        .as_ref()
        .map(StateMarkLocation::open)
        .transpose()?;
    let installation = store
        .write(async |tx| store::lineage::installation(tx, Uuid::new_v4(), now).await)
        .await?;
    Ok(StaleDatabaseDetector::new(installation, outside))
}

/// The keys of this installation, which must match the encrypted rows of the database.
pub(super) async fn vault(
    config: &Config,
    secret_key: &SecretString,
    store: &Store,
    rotate: bool,
    now: Timestamp,
) -> anyhow::Result<Vault> {
    let Ok(vault) = Vault::new(secret_key, config.secrets.previous_key.as_ref()) else {
        bail!("HERALD_SECRET_KEY: 64 hex digits, such as `openssl rand -hex 32` prints")
    };
    let checked = vault::check(store, &vault, rotate, || random_bytes().ok(), now)
        .await
        .context("HERALD_SECRET_KEY could not be compared with the database")?;
    match checked {
        VaultKeyCheck::Fits => {}
        VaultKeyCheck::Rotated(count) => {
            tracing::warn!(
                event = "secret_key.rotated",
                count,
                "credentials are now encrypted with the new HERALD_SECRET_KEY: once every process has it, remove HERALD_SECRET_KEY_PREVIOUS"
            );
        }
        VaultKeyCheck::Wrong => bail!(
            "HERALD_SECRET_KEY: not the key this database was made with. Set the old key; to change it, set the new key and the old one as HERALD_SECRET_KEY_PREVIOUS. Without the old one, encrypted data cannot be read"
        ),
    }
    Ok(vault)
}

/// The keys, and the credentials from the environment.
pub(super) fn keys(
    config: &Config,
    vault: Option<Vault>,
    providers: ProviderRegistry,
) -> anyhow::Result<ProviderCredentialCache> {
    let http = http_client(config.calls.timeout, config.calls.connect_timeout)?;
    Ok(ProviderCredentialCache::new(
        vault,
        environment::credentials(config, providers.default_kind()),
        providers,
        Some(http),
    ))
}
