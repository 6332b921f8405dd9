//! `herald senders list|add|set|default|hold|release`: manages senders.

mod list;

use std::{io::Read, path::PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app,
    config::operator,
    domain::{
        credential::CredentialKind, edit::ValueEdit, rule::parse_duration_seconds, time::Timestamp,
    },
    engine::{
        Engine,
        admin::senders::{self, NewCredential, SenderAdminActor, SenderAdminError},
    },
    state::{Clock, random_bytes},
    store::sender::{self, NewSenderRow, SenderRowChanges},
};

/// Senders: their credentials, the default, holding and releasing.
///
/// Credentials are read from files, or from `-` (standard input), never from the command line,
/// where others could see them. They are encrypted with HERALD_SECRET_KEY and never shown again.
/// Running servers use changes from the next call on.
#[derive(Debug, Args)]
pub(super) struct SendersCommand {
    #[command(subcommand)]
    action: SendersSubcommand,
}

#[derive(Debug, Subcommand)]
enum SendersSubcommand {
    /// Lists the senders and their credentials, masked.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Adds a sender. Example: `herald senders add shop --phone-number-id 106540352242922 --access-token-file token.txt`
    Add {
        /// Its name.
        name: String,
        /// Its kind of provider; default: meta.
        #[arg(long)]
        kind: Option<String>,
        /// Meta's id of the number.
        #[arg(long, required_unless_present = "endpoint")]
        phone_number_id: Option<String>,
        /// For other kinds than meta: what the provider's callbacks call the sender. MyOperator: its number, in E.164.
        #[arg(long, conflicts_with = "phone_number_id")]
        endpoint: Option<String>,
        /// What its kind of provider needs, such as `company_id=…`; repeatable.
        #[arg(long = "setting", value_name = "NAME=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        details: SenderSettingsArgs,
        #[command(flatten)]
        given: SenderCredentialArgs,
        /// Make it the default sender.
        #[arg(long)]
        default: bool,
    },
    /// Changes a sender or gives it credentials. Example: `herald senders set shop --access-token-file - < token.txt`
    Set {
        /// Its name or its id.
        sender: String,
        /// Its new name.
        #[arg(long)]
        rename: Option<String>,
        #[command(flatten)]
        details: SenderSettingsArgs,
        #[command(flatten)]
        given: SenderCredentialArgs,
        /// Deactivate a credential; `list` shows the ids.
        #[arg(long, value_name = "ID")]
        deactivate: Vec<Uuid>,
        /// Activate a credential again.
        #[arg(long, value_name = "ID")]
        activate: Vec<Uuid>,
        /// Delete a credential for good.
        #[arg(long, value_name = "ID")]
        remove: Vec<Uuid>,
    },
    /// Makes a sender the default. Example: `herald senders default shop`
    Default {
        /// Its name or its id.
        sender: String,
    },
    /// Holds a sender: messages are accepted and wait. Example: `herald senders hold shop --reason "moving the number"`
    Hold {
        /// Its name or its id.
        sender: String,
        /// Shown with every waiting message.
        #[arg(long)]
        reason: String,
    },
    /// Releases a held sender. Example: `herald senders release shop --discard-older-than 2h`
    Release {
        /// Its name or its id.
        sender: String,
        /// Discard messages requested longer ago than this: a number and s, m, h or d.
        #[arg(long, value_name = "DURATION")]
        discard_older_than: Option<String>,
        /// Only report what would be discarded.
        #[arg(long, requires = "discard_older_than")]
        dry_run: bool,
    },
}

/// Settings of a sender. An empty text removes a value.
#[derive(Debug, Args)]
struct SenderSettingsArgs {
    /// Meta's id of the business account.
    #[arg(long)]
    waba_id: Option<String>,
    /// Meta's id of the app that is subscribed; numbers of one app share its secrets.
    #[arg(long)]
    app_id: Option<String>,
    /// Such as v26.0.
    #[arg(long)]
    api_version: Option<String>,
    /// Address of its Graph API, if it differs from WHATSAPP_API_BASE.
    #[arg(long)]
    api_base: Option<String>,
    /// Its limit in messages per second; 0: unlimited; `auto`: as the provider reports it.
    #[arg(long)]
    messages_per_second: Option<String>,
}

/// Credentials to add to a sender.
#[derive(Debug, Args)]
struct SenderCredentialArgs {
    /// A file with the access token, or `-`.
    #[arg(long, value_name = "FILE")]
    access_token_file: Option<PathBuf>,
    /// When the access token expires (RFC 3339).
    #[arg(long, value_name = "INSTANT", requires = "access_token_file")]
    access_token_expires: Option<String>,
    /// A file with an app secret, or `-`. Earlier ones stay active.
    #[arg(long, value_name = "FILE")]
    app_secret_file: Option<PathBuf>,
    /// A file with a verify token, or `-`. Earlier ones stay active.
    #[arg(long, value_name = "FILE")]
    verify_token_file: Option<PathBuf>,
}

impl SenderCredentialArgs {
    fn read(&self) -> anyhow::Result<Vec<NewCredential>> {
        let expires_at = self
            .access_token_expires
            .as_deref()
            .map(|text| {
                Timestamp::parse_rfc3339(text)
                    .context("--access-token-expires: an instant such as 2026-12-01T00:00:00Z")
            })
            .transpose()?;
        let files = [
            (CredentialKind::AccessToken, &self.access_token_file),
            (CredentialKind::AppSecret, &self.app_secret_file),
            (CredentialKind::VerifyToken, &self.verify_token_file),
        ];
        let from_input = files
            .iter()
            .filter(|(_, path)| path.as_ref().is_some_and(|path| path.as_os_str() == "-"))
            .count();
        ensure!(
            from_input <= 1,
            "only one credential can come from standard input"
        );
        let mut all = Vec::new();
        for (kind, path) in files {
            let Some(path) = path else { continue };
            let text = if path.as_os_str() == "-" {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("standard input cannot be read")?;
                text
            } else {
                std::fs::read_to_string(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?
            };
            all.push(NewCredential {
                kind,
                value: SecretString::from(text.trim().to_owned()),
                expires_at: expires_at.filter(|_| kind == CredentialKind::AccessToken),
            });
        }
        Ok(all)
    }
}

/// A text, unless it is empty.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// An absent option changes nothing; an empty one removes the value.
fn edit(text: Option<String>) -> ValueEdit<String> {
    text.map_or(ValueEdit::Keep, |text| ValueEdit::To(some(Some(text))))
}

/// Parses a limit.
fn per_second(text: Option<&str>) -> anyhow::Result<Option<i64>> {
    match text {
        None | Some("auto") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .context("--messages-per-second: a number, or auto"),
    }
}

/// A refusal in words, with the names of the options.
fn refused(error: SenderAdminError) -> anyhow::Error {
    match error {
        SenderAdminError::Fields(fields) => {
            let rules: Vec<String> = fields
                .into_iter()
                .map(|field| {
                    let name = field.pointer.trim_start_matches('/').replace('_', "-");
                    format!("{name}: {}", field.rule)
                })
                .collect();
            anyhow::anyhow!("{}", rules.join("; "))
        }
        SenderAdminError::NotFound => anyhow::anyhow!("there is no such sender or credential"),
        SenderAdminError::NoKey => {
            anyhow::anyhow!("HERALD_SECRET_KEY: needed to encrypt credentials")
        }
        SenderAdminError::KeyReplaced => anyhow::anyhow!(
            "HERALD_SECRET_KEY: the key is being replaced; start the servers with the new one first"
        ),
        SenderAdminError::KeyReused => anyhow::anyhow!("this key was used before"),
        SenderAdminError::Store(error) => error.into(),
    }
}

impl SendersCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        let actor = format!("cli:{}", operator()?);
        let by = SenderAdminActor {
            actor: &actor,
            now: Clock::System.now(),
            key: None,
        };
        match self.action {
            SendersSubcommand::List { json } => list::list(&engine, json).await,
            SendersSubcommand::Add {
                name,
                kind,
                phone_number_id,
                endpoint,
                settings,
                details,
                given,
                default,
            } => {
                let own = settings
                    .iter()
                    .map(|setting| {
                        let pair = setting.split_once('=');
                        let (name, value) = pair.context("--setting: NAME=VALUE")?;
                        Ok((name.to_owned(), value.to_owned()))
                    })
                    .collect::<anyhow::Result<Vec<(String, String)>>>()?;
                let new = NewSenderRow {
                    kind: kind.unwrap_or_else(|| engine.providers().default_kind().to_owned()),
                    name: name.clone(),
                    endpoint_id: phone_number_id.or(endpoint),
                    account_id: some(details.waba_id),
                    app_id: some(details.app_id),
                    settings: [
                        ("api_version", some(details.api_version)),
                        ("api_base", some(details.api_base)),
                    ]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .chain(own)
                    .collect(),
                    per_second: per_second(details.messages_per_second.as_deref())?,
                };
                let credentials = given.read()?;
                let nonces = credentials
                    .iter()
                    .map(|_| nonce())
                    .collect::<anyhow::Result<Vec<_>>>()?;
                let id = senders::add(&engine, by, &new, &credentials, &nonces)
                    .await
                    .map_err(refused)?;
                if default {
                    senders::make_default(&engine, by, id)
                        .await
                        .map_err(refused)?;
                }
                say(format!("Added {name} ({id})."));
                if let Some(obstacle) = engine.obstacle(Some(id)) {
                    say(format!("It cannot send yet: {obstacle}"));
                }
                Ok(())
            }
            SendersSubcommand::Set {
                sender,
                rename,
                details,
                given,
                deactivate,
                activate,
                remove,
            } => {
                let row = found(&engine, &sender).await?;
                change(&engine, by, row.id, rename, details).await?;
                for new in given.read()? {
                    senders::add_credential(&engine, by, row.id, &new, nonce()?)
                        .await
                        .map_err(refused)?;
                    say(format!("{} saved.", new.kind.name()));
                }
                for id in activate {
                    senders::set_active(&engine, by, row.id, id, true)
                        .await
                        .map_err(refused)?;
                    say(format!("Credential {id} is in use."));
                }
                for id in deactivate {
                    senders::set_active(&engine, by, row.id, id, false)
                        .await
                        .map_err(refused)?;
                    say(format!("Credential {id} is no longer in use."));
                }
                for id in remove {
                    senders::remove(&engine, by, row.id, id)
                        .await
                        .map_err(refused)?;
                    say(format!("Credential {id} is deleted."));
                }
                match engine.obstacle(Some(row.id)) {
                    Some(obstacle) => say(format!("It cannot send: {obstacle}")),
                    None => say(
                        "It has everything that it needs to send. Check whether Meta accepts it: herald check.",
                    ),
                }
                Ok(())
            }
            SendersSubcommand::Default { sender } => {
                let row = found(&engine, &sender).await?;
                senders::make_default(&engine, by, row.id)
                    .await
                    .map_err(refused)?;
                say(format!("{} is the default.", row.name));
                Ok(())
            }
            SendersSubcommand::Hold { sender, reason } => {
                let row = found(&engine, &sender).await?;
                ensure!(!reason.trim().is_empty(), "--reason: a reason is needed");
                senders::hold(&engine, by, row.id, reason.trim())
                    .await
                    .map_err(refused)?;
                say(format!(
                    "{} is held. Its messages are accepted and wait.",
                    row.name
                ));
                Ok(())
            }
            SendersSubcommand::Release {
                sender,
                discard_older_than,
                dry_run,
            } => release(&engine, by, &sender, discard_older_than.as_deref(), dry_run).await,
        }
    }
}

fn nonce() -> anyhow::Result<[u8; 24]> {
    random_bytes().context("the system gives no random bytes")
}

async fn found(engine: &Engine, named: &str) -> anyhow::Result<entity::sender::Model> {
    match sender::named(engine.store.reader(), named).await? {
        Some(row) => Ok(row),
        None => bail!("there is no sender {named}: `herald senders list` shows them"),
    }
}

async fn change(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
    rename: Option<String>,
    details: SenderSettingsArgs,
) -> anyhow::Result<()> {
    let changes = SenderRowChanges {
        name: rename,
        account_id: edit(details.waba_id),
        app_id: edit(details.app_id),
        settings: [
            ("api_version", edit(details.api_version)),
            ("api_base", edit(details.api_base)),
        ]
        .into_iter()
        .filter(|(_, edit)| *edit != ValueEdit::Keep)
        .map(|(name, edit)| (name.to_owned(), edit))
        .collect(),
        per_second: match details.messages_per_second {
            Some(text) => ValueEdit::To(per_second(Some(&text))?),
            None => ValueEdit::Keep,
        },
    };
    if changes == SenderRowChanges::default() {
        return Ok(());
    }
    senders::set(engine, by, id, &changes)
        .await
        .map_err(refused)?;
    say("Changed.");
    Ok(())
}

async fn release(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    named: &str,
    older_than: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let row = found(engine, named).await?;
    if let Some(text) = older_than {
        let seconds = parse_duration_seconds(text)
            .context("--discard-older-than: a number and s, m, h or d, such as 2h")?;
        let before = by.now.plus_seconds(-seconds);
        let batch = senders::discard(engine, by, row.id, before, dry_run)
            .await?
            .context("there is no such sender")?;
        let word = if dry_run {
            "would be discarded"
        } else {
            "discarded"
        };
        say(format!(
            "{} of {} messages {word}.",
            batch.changed, batch.matched
        ));
    }
    if !dry_run {
        senders::release(engine, by, row.id)
            .await
            .map_err(refused)?;
        say(format!("{} is released.", row.name));
    }
    Ok(())
}
