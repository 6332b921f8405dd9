//! `herald keys create|list|revoke`

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::{say, settings};
use crate::{
    app,
    domain::time::Timestamp,
    engine::access::{self, Role},
    state::{Clock, random_bytes},
    store,
};

/// API keys. A key is shown once; only its digest is kept.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a key and prints it. Example: `herald keys create solar-crm`
    Create {
        /// Who will use it.
        name: String,
        /// It may change senders and their credentials as well.
        #[arg(long)]
        admin: bool,
    },
    /// Lists the keys by prefix.
    List,
    /// Revokes a key. Example: `herald keys revoke herald_Ab3dEf9h`
    Revoke {
        /// The prefix that `list` shows.
        prefix: String,
    },
}

impl Keys {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let now = Clock::System.now();
        match self.action {
            Action::Create { name, admin } => {
                let random = random_bytes().context("the system gives no random bytes")?;
                let role = if admin { Role::Admin } else { Role::Product };
                let key = access::create_key(&store, &name, role, &random, now).await?;
                say(key.text.expose_secret());
            }
            Action::List => {
                for key in store::access::keys(&store).await? {
                    let state = if key.revoked_at.is_some() {
                        "revoked"
                    } else {
                        "active"
                    };
                    say(format!(
                        "{}…  {state:<8} {:<8} {}  {}",
                        key.prefix,
                        key.role,
                        Timestamp::from_micros(key.created_at),
                        key.name
                    ));
                }
            }
            Action::Revoke { prefix } => {
                let prefix = prefix.trim_end_matches('…').to_owned();
                let revoked = store
                    .write(async |tx| store::access::revoke_key(tx, &prefix, now).await)
                    .await?;
                ensure!(revoked, "there is no active key with this prefix");
                say("Revoked.");
            }
        }
        Ok(())
    }
}
