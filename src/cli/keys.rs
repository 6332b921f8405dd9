//! `herald keys create|list|revoke`: manages API keys.

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use entity::{api_key, sender as senders};
use secrecy::ExposeSecret;

use super::{say, settings};
use crate::{
    app, config,
    domain::{
        access::{ApiKeyRole, ApiKeyScope, ApiKeyScopes},
        field_error::FieldError,
        time::Timestamp,
    },
    engine::{
        InputError,
        runtime::access::{self, ApiKeySpec, NO_BOUNDS},
    },
    state::{Clock, random_bytes},
    store::{self, access as rows, sender},
};

/// API keys. A key is shown once; only its digest is stored.
#[derive(Debug, Args)]
pub(super) struct ApiKeysCommand {
    #[command(subcommand)]
    action: ApiKeysSubcommand,
}

#[derive(Debug, Subcommand)]
enum ApiKeysSubcommand {
    /// Creates a key and prints it. Example: `herald keys create solar-crm --source solar-crm
    /// --catalogue solar-crm`
    Create(CreateApiKeyArgs),
    /// Lists keys by prefix, with their bounds, expiry and last use.
    List,
    /// Revokes a key. Example: `herald keys revoke herald_Ab3dEf9h`
    Revoke {
        /// The prefix as `list` shows it.
        prefix: String,
    },
}

#[derive(Debug, Args)]
struct CreateApiKeyArgs {
    /// The product that will use it: all keys of a product see the same.
    product: String,
    /// An admin key: senders and their credentials, staff, keys, audit. Needs --all.
    #[arg(long)]
    admin: bool,
    /// No bounds: it sees and changes the rows of every product.
    #[arg(long)]
    all: bool,
    /// It posts only events of this source, or of one that begins with it.
    #[arg(long)]
    source: Option<String>,
    /// It sends only with this sender, and reads messages to it. May be repeated.
    #[arg(long = "sender", value_name = "SENDER")]
    senders: Vec<String>,
    /// It uses only what this catalogue defines.
    #[arg(long)]
    catalogue: Option<String>,
    /// A scope, such as `events:write`. May be repeated; all scopes of its role, if absent.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = read_scope)]
    scopes: Vec<ApiKeyScope>,
    /// Expiry: a time (RFC 3339), or a number of days such as `90d`.
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

fn read_scope(text: &str) -> Result<ApiKeyScope, String> {
    ApiKeyScope::parse(text)
        .ok_or_else(|| format!("one of {}", ApiKeyScopes::of(ApiKeyRole::Admin)))
}

/// A time, or so many days from now.
fn read_expiry(text: &str, now: Timestamp) -> Option<Timestamp> {
    const DAY: i64 = 24 * 60 * 60;
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    match days {
        Some(days @ 1..=36_500_i64) => Some(now.plus_seconds(days * DAY)),
        Some(_) => None,
        None => Timestamp::parse_rfc3339(text),
    }
}

impl CreateApiKeyArgs {
    fn wanted(self, now: Timestamp) -> anyhow::Result<ApiKeySpec> {
        let expires_at = match &self.expires {
            None => None,
            Some(text) => Some(read_expiry(text, now).with_context(
                || "--expires: an instant such as 2027-01-01T00:00:00Z, or days such as 90d",
            )?),
        };
        Ok(ApiKeySpec {
            product: self.product,
            role: if self.admin {
                ApiKeyRole::Admin
            } else {
                ApiKeyRole::Product
            },
            scopes: (!self.scopes.is_empty()).then_some(self.scopes),
            all: self.all,
            source: self.source,
            senders: self.senders,
            catalogue: self.catalogue,
            expires_at,
        })
    }
}

/// The command-line option of a field of a key.
fn option(pointer: &str) -> &'static str {
    match pointer.split('/').nth(1) {
        Some("product") => "NAME",
        Some("role") => "--admin",
        Some("scopes") => "--scope",
        Some("source") => "--source",
        Some("senders") => "--sender",
        Some("catalogue") => "--catalogue",
        Some("expires_at") => "--expires",
        _ => "--all",
    }
}

impl ApiKeysCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let now = Clock::System.now();
        let actor = format!("cli:{}", config::operator()?);
        match self.action {
            ApiKeysSubcommand::Create(create) => {
                let wanted = create.wanted(now)?;
                let random = random_bytes().context("the system gives no random bytes")?;
                match access::create_key(&store, &actor, &wanted, &random, now).await {
                    Ok(made) => say(made.key.text.expose_secret()),
                    Err(InputError::Invalid(wrong)) => {
                        let sentence: Vec<String> = wrong.iter().map(sentence).collect();
                        bail!("{}", sentence.join("\n"));
                    }
                    Err(InputError::Store(error)) => return Err(error.into()),
                }
            }
            ApiKeysSubcommand::List => {
                let senders = sender::all(&store).await?;
                for key in rows::keys(store.reader()).await? {
                    say(line(&key, &senders, now));
                }
            }
            ApiKeysSubcommand::Revoke { prefix } => {
                let prefix = prefix.trim_end_matches('…');
                let key = store::access::key_of_prefix(store.reader(), prefix).await?;
                let key = key.context("there is no active key with this prefix")?;
                let revoked = access::revoke_key(&store, &actor, key.id, now).await?;
                ensure!(revoked, "there is no active key with this prefix");
                say("Revoked.");
            }
        }
        Ok(())
    }
}

fn sentence(wrong: &FieldError) -> String {
    if wrong.rule == NO_BOUNDS {
        return format!(
            "{NO_BOUNDS}:\n  --source SOURCE        posts events of this source, or of what begins with it, only\n  \
             --sender SENDER        sends with this sender only, and reads what is written to it\n  \
             --catalogue CATALOGUE  uses what this catalogue defines only\n  \
             --all                  no bounds"
        );
    }
    format!("{}: {}", option(&wrong.pointer), wrong.rule)
}

/// A key in the list.
fn line(key: &api_key::Model, senders: &[senders::Model], now: Timestamp) -> String {
    let is_over = key.expires_at.is_some_and(|at| at <= now.micros());
    let state = match key.revoked_at {
        Some(_) => "revoked",
        None if is_over => "expired",
        None => "active",
    };
    let bounds = rows::bounds(key);
    let mut words = Vec::new();
    match bounds.product() {
        None => words.push("all".to_owned()),
        Some(product) => {
            words.extend(product.source.iter().map(|it| format!("source={it}")));
            words.extend(product.senders.iter().map(|id| {
                let named = senders.iter().find(|sender| sender.id == *id);
                let name = named.map_or_else(|| id.to_string(), |sender| sender.name.clone());
                format!("sender={name}")
            }));
            words.extend(product.catalogue.iter().map(|it| format!("catalogue={it}")));
        }
    }
    let (role, scopes) = (ApiKeyRole::of(&key.role), rows::scopes(key));
    let scopes = if scopes == ApiKeyScopes::of(role) {
        "all scopes of its role".to_owned()
    } else {
        scopes.to_string()
    };
    let time = |at: Option<i64>| {
        at.map_or_else(
            || "never".to_owned(),
            |at| Timestamp::from_micros(at).to_string(),
        )
    };
    format!(
        "{}…  {state:<8} {:<8} {}  {}\n    bounds {}; scopes {scopes}; expires {}; last used {}",
        key.prefix,
        role.name(),
        Timestamp::from_micros(key.created_at),
        key.name,
        words.join(" "),
        time(key.expires_at),
        time(key.last_used_at),
    )
}
