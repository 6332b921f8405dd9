//! `herald users links|connect|disconnect` and `herald contacts list|show|set|prefer`

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{say, settings};
use crate::{
    app, config,
    domain::{edit::Edit, phone, preference::Preference, quiet::QuietHours},
    engine::{
        accept::FieldError,
        people::{self, By, ContactChanges, Whom},
    },
    state::Clock,
    store::{
        Store,
        people::{self as rows, Link, StaffQuery},
        wish,
    },
};

/// What is wrong, in words.
pub(super) fn refused(wrong: Vec<FieldError>) -> anyhow::Error {
    let all: Vec<String> = wrong
        .into_iter()
        .map(|it| {
            let field = it.pointer.trim_start_matches('/');
            if field.is_empty() {
                it.rule
            } else {
                format!("{field}: {}", it.rule)
            }
        })
        .collect();
    anyhow!(all.join("; "))
}

/// Users that are read at once.
const PAGE: u64 = 500;

/// Every user, or every one of a group, by name.
pub(super) async fn everybody(store: &Store, group: Option<&str>) -> anyhow::Result<Vec<Link>> {
    let mut all: Vec<Link> = Vec::new();
    loop {
        let after = all.last().map(|it| it.name.clone());
        let wanted = StaffQuery {
            group,
            beginning: None,
            after: after.as_deref(),
        };
        let page = rows::staff_page(store, wanted, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Who is linked, and who is not.
pub(super) async fn links(store: &Store, show: bool, json: bool) -> anyhow::Result<()> {
    let all = everybody(store, None).await?;
    if json {
        let all: Vec<_> = all
            .iter()
            .map(|link| {
                serde_json::json!({
                    "user": link.name,
                    "contact": link.person.as_ref().map(|person| person.contact_id),
                    "phone": link.person.as_ref().and_then(|person| masked(person.phone.as_deref(), show)),
                    "groups": link.groups,
                })
            })
            .collect();
        say(serde_json::json!(all).to_string());
        return Ok(());
    }
    let unlinked = all.iter().filter(|link| link.person.is_none()).count();
    for link in &all {
        let contact = match &link.person {
            None => "NOT LINKED".to_owned(),
            Some(person) => masked(person.phone.as_deref(), show)
                .unwrap_or_else(|| "linked, without a number".to_owned()),
        };
        say(format!(
            "{:<24} {contact:<20} {}",
            link.name,
            link.groups.join(", ")
        ));
    }
    say(format!(
        "{} linked, {unlinked} not linked: `herald users connect NAME --to +12025550123`",
        all.len() - unlinked
    ));
    Ok(())
}

fn masked(number: Option<&str>, show: bool) -> Option<String> {
    number.map(|number| {
        if show {
            number.to_owned()
        } else {
            phone::mask(number)
        }
    })
}

/// Links a user to a contact.
pub(super) async fn connect(
    store: &Store,
    by: By<'_>,
    user: &str,
    whom: &str,
) -> anyhow::Result<()> {
    let whom = Whom::parse(whom).map_err(|rule| anyhow!(rule))?;
    let made = people::connect(store, by, user, &whom)
        .await?
        .map_err(refused)?;
    say(if made {
        format!("{user} was made, and is linked.")
    } else {
        format!("{user} is linked.")
    });
    Ok(())
}

/// Takes the link of a user away.
pub(super) async fn disconnect(store: &Store, by: By<'_>, user: &str) -> anyhow::Result<()> {
    people::disconnect(store, by, user)
        .await?
        .map_err(refused)?;
    say(format!(
        "{user} is linked to nobody: what is for them is skipped."
    ));
    Ok(())
}

/// People who receive: who they are, and what they want.
#[derive(Debug, Args)]
pub(super) struct Contacts {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists contacts. Example: `herald contacts list --begins Ash`
    List {
        /// Whose name, handle or number begins with it.
        #[arg(long)]
        begins: Option<String>,
        /// 1 to 10000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
        /// Numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Adds a contact, or changes the one of this number.
    /// Example: `herald contacts set +12025550101 --name Asha --language hi`
    Set(Set),
    /// Turns a kind of message on or off. Example: `herald contacts prefer +12025550101 --kind shop.orders off`
    Prefer {
        /// A number in E.164.
        phone: String,
        /// A catalogue's kind of message; all, if absent.
        #[arg(long)]
        kind: Option<String>,
        /// Such as whatsapp; all, if absent.
        #[arg(long)]
        channel: Option<String>,
        #[arg(value_parser = ["on", "off"])]
        wanted: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// A number in E.164.
    phone: String,
    #[arg(long)]
    name: Option<String>,
    /// What `contact:NAME` means.
    #[arg(long)]
    handle: Option<String>,
    #[arg(long)]
    language: Option<String>,
    /// Such as Africa/Harare.
    #[arg(long)]
    time_zone: Option<String>,
    /// `21:00-07:00`, or `none`.
    #[arg(long)]
    quiet_hours: Option<String>,
}

fn edit(value: Option<String>) -> Edit<String> {
    value.map_or(Edit::Keep, |value| Edit::To(Some(value)))
}

fn hours(text: Option<&str>) -> anyhow::Result<Edit<QuietHours>> {
    Ok(match text {
        None => Edit::Keep,
        Some("none") => Edit::To(None),
        Some(text) => {
            let Some((from, until)) = text.split_once('-') else {
                bail!("quiet hours are written 21:00-07:00");
            };
            Edit::To(Some(QuietHours::parse(from.trim(), until.trim())?))
        }
    })
}

async fn known(store: &Store, text: &str) -> anyhow::Result<Uuid> {
    let phone = phone::Phone::parse(text)?;
    match rows::contact_by_phone(store.reader(), &phone).await? {
        Some(person) => Ok(person.contact_id),
        None => bail!("nobody has this number: `herald contacts set {text}` adds them"),
    }
}

impl Contacts {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let actor = format!("cli:{}", config::operator()?);
        let by = By {
            actor: &actor,
            now: Clock::System.now(),
        };
        match self.action {
            Action::List {
                begins,
                limit,
                show,
            } => {
                for person in rows::page(&store, begins.as_deref(), None, limit).await? {
                    say(format!(
                        "{}  {:<20} {:<6} {}",
                        person.contact_id,
                        masked(person.phone.as_deref(), show).unwrap_or_default(),
                        person.language.unwrap_or_default(),
                        person.name.unwrap_or_default(),
                    ));
                }
            }
            Action::Set(set) => {
                let changes = ContactChanges {
                    quiet_hours: hours(set.quiet_hours.as_deref())?,
                    name: edit(set.name),
                    handle: edit(set.handle),
                    language: edit(set.language),
                    time_zone: edit(set.time_zone),
                    phone: Some(set.phone),
                };
                let id = people::save_contact(&store, by, None, &changes)
                    .await?
                    .map_err(refused)?;
                say(id.to_string());
            }
            Action::Prefer {
                phone,
                kind,
                channel,
                wanted,
            } => {
                let contact = known(&store, &phone).await?;
                let (kind, channel) = (kind.unwrap_or_default(), channel.unwrap_or_default());
                let mut all: Vec<Preference> = wish::preferences(&store, contact)
                    .await?
                    .into_iter()
                    .map(|row| Preference {
                        kind: row.message_kind,
                        channel: row.channel,
                        wanted: row.wanted,
                    })
                    .filter(|it| it.kind != kind || it.channel != channel)
                    .collect();
                all.push(Preference {
                    kind,
                    channel,
                    wanted: wanted == "on",
                });
                people::set_preferences(&store, by, contact, &all)
                    .await?
                    .map_err(refused)?;
                for it in all {
                    let kind = if it.kind.is_empty() {
                        "every kind"
                    } else {
                        &it.kind
                    };
                    let channel = if it.channel.is_empty() {
                        "every channel"
                    } else {
                        &it.channel
                    };
                    let what = if it.wanted { "wanted" } else { "not wanted" };
                    say(format!("{kind}, {channel}: {what}"));
                }
            }
        }
        Ok(())
    }
}
