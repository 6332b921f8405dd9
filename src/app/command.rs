//! Store and engine of a command that runs beside a server.

use anyhow::{Context, bail};

use super::opening;
use crate::{
    config::Config,
    engine::{Engine, runtime::clock::OF_PROCESS},
    providers::ProviderRegistry,
    state::Clock,
    store::{self, Store, connect, migrate},
};

/// The store for a command beside a server.
pub async fn command_store(config: &Config) -> anyhow::Result<Store> {
    let store = opening::open_database(config, connect::ConnectPurpose::Command).await?;
    if !migrate::is_current(&store)
        .await
        .context("the database's schema cannot be read")?
    {
        bail!("the database's schema is older than this program: run `herald migrate up`");
    }
    OF_PROCESS.follow(&store).await?;
    Ok(store)
}

/// An engine for a command beside a server. It can open secrets if it gets the key.
pub async fn command_engine(config: &Config, store: Store) -> anyhow::Result<Engine> {
    let now = Clock::System.now();
    let vault = match &config.secrets.key {
        Some(secret_key) => Some(opening::vault(config, secret_key, &store, false, now).await?),
        None => None,
    };
    let engine = Engine::new(store, config.engine.clone(), store::new_id(now))
        .with_keys(opening::keys(config, vault, ProviderRegistry::standard())?);
    engine.refresh_keyring().await?;
    Ok(engine)
}
