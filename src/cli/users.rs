//! `herald users
//! add-admin|add|list|role|link|password|off|on|links|ensure|connect|disconnect|delete`: dashboard
//! users and staff members.

use std::io::Read;

use anyhow::Context;
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use super::{people, say, settings};
use crate::{
    app,
    config::{self, Config},
    domain::{access::AccessBounds, login::DashboardRole, time::Timestamp},
    engine::{
        people::PeopleActor,
        runtime::logins::{self, DashboardUserChange, DashboardUserError},
    },
    state::{Clock, random_bytes},
    store::{Store, login},
};

/// Dashboard users, and staff members that get messages.
#[derive(Debug, Args)]
pub(super) struct UsersCommand {
    #[command(subcommand)]
    action: UsersSubcommand,
}

#[derive(Debug, Subcommand)]
enum UsersSubcommand {
    /// Adds an admin, and prints a link that signs in once. Example: `herald users add-admin ada`
    #[command(name = "add-admin")]
    AddAdmin(DashboardUserArgs),
    /// Adds a dashboard user. Example: `herald users add grace --role operator`
    Add {
        #[command(flatten)]
        new: DashboardUserArgs,
        /// viewer: reads, and sees numbers masked. operator: retries, cancels, replays, holds.
        /// admin: changes credentials as well.
        #[arg(long, value_parser = role)]
        role: DashboardRole,
    },
    /// Lists dashboard users.
    List,
    /// Prints a new link that signs in once, to choose a password. Example: `herald users link ada`
    Link { name: String },
    /// Sets a password, and ends all sessions. Example: `herald users password ada --file -`
    Password {
        name: String,
        /// A file with the password; `-` is standard input.
        #[arg(long)]
        file: String,
    },
    /// Changes the role of a dashboard user. Example: `herald users role grace viewer`
    Role {
        name: String,
        #[arg(value_parser = role)]
        role: DashboardRole,
    },
    /// Disables a dashboard user, and ends its sessions.
    Off { name: String },
    /// Enables a dashboard user again.
    On { name: String },
    /// Shows which staff members are linked to a contact. The others get no messages.
    Links {
        /// Show numbers in full.
        #[arg(long)]
        show: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Creates staff members without contacts; prints Created or Exists. Example: `herald users
    /// ensure asha ravi`
    Ensure {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Links a staff member to a contact, creating the staff member if needed. Example: `herald
    /// users connect asha --to +12025550101`
    Connect {
        name: String,
        /// A number in E.164, or contact:NAME.
        #[arg(long)]
        to: String,
    },
    /// Removes the link of a staff member to a contact.
    Disconnect { name: String },
    /// Deletes staff members, also from all groups. Refused while a route or a rule names them. A
    /// dashboard user of the same name stays: `herald users off` disables it.
    Delete {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct DashboardUserArgs {
    name: String,
    /// A file with the password; `-` is standard input. Without it, a link is printed.
    #[arg(long)]
    password_file: Option<String>,
}

fn role(text: &str) -> Result<DashboardRole, String> {
    DashboardRole::parse(text).ok_or_else(|| "viewer, operator or admin".to_owned())
}

fn read_password(file: &str) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("standard input cannot be read")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
    }
    Ok(SecretString::from(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// What a command ends with. Storage's error is kept as it is: it may say that the file is damaged.
pub(super) fn refused(error: DashboardUserError) -> anyhow::Error {
    match error {
        DashboardUserError::Store(error) => error.into(),
        refused => refused.into(),
    }
}

/// Prints a link to a page of this server.
async fn print_link(config: &Config, store: &Store, actor: &str, name: &str) -> anyhow::Result<()> {
    let random = random_bytes().context("the system gives no random bytes")?;
    let token = logins::link(store, actor, name, &random, Clock::System.now())
        .await
        .map_err(refused)?;
    say(format!(
        "{}/dashboard/enter/{}\nThe link signs {name} in once, within an hour.",
        config.base_url(),
        token.expose_secret()
    ));
    Ok(())
}

impl UsersCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let now = Clock::System.now();
        let actor = format!("cli:{}", config::operator()?);
        let by = PeopleActor {
            actor: &actor,
            now,
            bounds: &AccessBounds::All,
        };
        let change = match self.action {
            UsersSubcommand::AddAdmin(new) => {
                return add(&config, &store, &actor, new, DashboardRole::Admin).await;
            }
            UsersSubcommand::Add { new, role } => {
                return add(&config, &store, &actor, new, role).await;
            }
            UsersSubcommand::List => return list(&store).await,
            UsersSubcommand::Link { name } => {
                return print_link(&config, &store, &actor, &name).await;
            }
            UsersSubcommand::Password { name, file } => {
                let password = read_password(&file)?;
                logins::set_password(&store, &actor, &name, password, now)
                    .await
                    .map_err(refused)?;
                say("Password set. All sessions of this user have ended.");
                return Ok(());
            }
            UsersSubcommand::Role { name, role } => (name, DashboardUserChange::Role(role)),
            UsersSubcommand::Off { name } => (name, DashboardUserChange::Off),
            UsersSubcommand::On { name } => (name, DashboardUserChange::On),
            UsersSubcommand::Links { show, json } => {
                return people::links(&store, show, json).await;
            }
            UsersSubcommand::Connect { name, to } => {
                return people::connect(&store, by, &name, &to).await;
            }
            UsersSubcommand::Disconnect { name } => {
                return people::disconnect(&store, by, &name).await;
            }
            UsersSubcommand::Ensure { names } => return people::ensure(&store, by, &names).await,
            UsersSubcommand::Delete { names } => return people::delete(&store, by, &names).await,
        };
        let (name, change) = change;
        logins::change(&store, &actor, &name, change, now)
            .await
            .map_err(refused)?;
        say("Done.");
        Ok(())
    }
}

async fn add(
    config: &Config,
    store: &Store,
    actor: &str,
    new: DashboardUserArgs,
    role: DashboardRole,
) -> anyhow::Result<()> {
    let now = Clock::System.now();
    // Read first: a missing file must not leave a user without a password.
    let password = new
        .password_file
        .as_deref()
        .map(read_password)
        .transpose()?;
    logins::add(store, actor, &new.name, role, now)
        .await
        .map_err(refused)?;
    match password {
        None => print_link(config, store, actor, &new.name).await,
        Some(password) => {
            match logins::set_password(store, actor, &new.name, password, now).await {
                Ok(()) => {}
                Err(DashboardUserError::Store(error)) => return Err(error.into()),
                Err(refused) => anyhow::bail!(
                    "{refused}; {} was added without a password: `herald users password {} --file FILE`",
                    new.name,
                    new.name
                ),
            }
            say(format!(
                "{} can sign in at {}/dashboard",
                new.name,
                config.base_url()
            ));
            Ok(())
        }
    }
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for row in login::all(store).await? {
        let state = match (row.off_at, &row.password_hash) {
            (Some(_), _) => "off",
            (None, None) => "no password",
            (None, Some(_)) => "active",
        };
        let last = row.last_in_at.map_or_else(
            || "never".to_owned(),
            |at| Timestamp::from_micros(at).to_string(),
        );
        say(format!(
            "{:<24} {:<9} {state:<12} last sign-in: {last}",
            row.name, row.role
        ));
    }
    Ok(())
}
