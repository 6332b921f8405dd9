//! `herald contacts list|show|set|prefer|identity|merge|split|delete`

mod identity;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{
    people::{masked, refused, undone},
    say, settings,
};
use crate::{
    app, config,
    domain::{
        access::Bounds, edit::Edit, preference::Preference, quiet::QuietHours,
        recipient::RecipientSpec, time::Timestamp, window,
    },
    engine::people::{self, By, ContactChanges, identity as engine_identity},
    state::Clock,
    store::{
        Store,
        alias::{self, Alias},
        conversation, people as rows, sender, suppression, wish,
    },
};

/// People who receive: who they are, and what they want.
#[derive(Debug, Args)]
pub(super) struct Contacts {
    #[command(subcommand)]
    action: Action,
}

/// How somebody is named at the command line.
const WHO: &str = "A number in E.164, a user id of WhatsApp, contact:NAME or the id of a contact.";

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
    /// Shows what is known of somebody, and what they want. Example: `herald contacts show +12025550101`
    Show {
        #[arg(help = WHO)]
        who: String,
        /// Numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Adds a contact, or changes the one of this number.
    /// Example: `herald contacts set +12025550101 --name Asha --language hi`
    Set(Set),
    /// Turns a kind of message on or off. Example: `herald contacts prefer +12025550101 --kind shop.orders off`
    Prefer {
        #[arg(help = WHO)]
        who: String,
        /// A catalogue's kind of message; all, if absent.
        #[arg(long)]
        kind: Option<String>,
        /// Such as whatsapp; all, if absent.
        #[arg(long)]
        channel: Option<String>,
        /// `default` takes what was said of it away.
        #[arg(value_parser = ["on", "off", "default"])]
        wanted: String,
    },
    /// Shows why somebody is one person: aliases, what the provider has said of them, and who may
    /// be the same. Example: `herald contacts identity +12025550101`
    Identity {
        #[arg(help = WHO)]
        who: String,
        /// Numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Lists contacts that may be one person, or are and stay two.
    Conflicts {
        /// 1 to 1000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        limit: u64,
        /// Numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Makes two contacts one, whatever evidence says: the other's id leads to the first.
    /// Example: `herald contacts merge +12025550101 US.13491208655302741918`
    Merge {
        #[arg(help = WHO)]
        who: String,
        #[arg(help = WHO)]
        other: String,
        /// Takes the other's name, handle and catalogue away where they differ.
        #[arg(long)]
        overwrite: bool,
    },
    /// Says that aliases of a contact are another person's, or that two contacts are two persons.
    /// Example: `herald contacts split +12025550101 --alias US.13491208655302741918`
    Split {
        #[arg(help = WHO)]
        who: String,
        /// A number or user id of the contact that is another person's. May be repeated.
        #[arg(long, required_unless_present = "other", conflicts_with = "other")]
        alias: Vec<String>,
        /// Another contact, of which it is open whether it is the same person: it is not.
        #[arg(long)]
        other: Option<String>,
    },
    /// Deletes somebody, and cancels what waits for them. What they were sent stays in the record
    /// for as long as records are kept; of who refuses something, the number and the refusal stay.
    Delete {
        #[arg(help = WHO)]
        who: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// A number in E.164, or a user id of WhatsApp.
    address: String,
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

/// Whom these words name.
async fn known(store: &Store, text: &str) -> anyhow::Result<Uuid> {
    let reader = store.reader();
    let of_alias = async |alias: Alias| alias::owner(reader, &alias).await;
    if let Ok(id) = Uuid::parse_str(text) {
        let id = rows::current(reader, id).await?;
        let there = rows::details(reader, &Bounds::All, id).await?;
        return there
            .map(|_| id)
            .ok_or_else(|| anyhow!("there is no contact {id}"));
    }
    match RecipientSpec::parse(text)? {
        RecipientSpec::Phone(phone) => of_alias(Alias::of_phone(&phone)).await?.ok_or_else(|| {
            anyhow!("nobody has this number: `herald contacts set {text}` adds them")
        }),
        RecipientSpec::UserId(user_id) => of_alias(Alias::of_user_id(&user_id))
            .await?
            .ok_or_else(|| anyhow!("nobody is called so")),
        RecipientSpec::Contact(handle) => rows::contact_by_handle(reader, &handle)
            .await?
            .map(|person| person.contact_id)
            .ok_or_else(|| anyhow!("there is no contact {handle}")),
        _ => bail!("a number in E.164, a user id of WhatsApp, contact:NAME or an id"),
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
            bounds: &Bounds::All,
        };
        match self.action {
            Action::List {
                begins,
                limit,
                show,
            } => {
                for person in
                    rows::page(&store, &Bounds::All, begins.as_deref(), None, limit).await?
                {
                    say(format!(
                        "{}  {:<20} {:<6} {}",
                        person.contact_id,
                        masked(person.phone.as_deref(), show).unwrap_or_default(),
                        person.language.unwrap_or_default(),
                        person.name.unwrap_or_default(),
                    ));
                }
                Ok(())
            }
            Action::Show { who, show } => self::show(&store, &who, show, by.now).await,
            Action::Set(set) => {
                let changes = ContactChanges {
                    quiet_hours: hours(set.quiet_hours.as_deref())?,
                    name: edit(set.name),
                    handle: edit(set.handle),
                    language: edit(set.language),
                    time_zone: edit(set.time_zone),
                    ..ContactChanges::of(&set.address)
                };
                let id = people::save_contact(&store, by, None, &changes)
                    .await
                    .map_err(refused)?;
                say(id.to_string());
                Ok(())
            }
            Action::Prefer {
                who,
                kind,
                channel,
                wanted,
            } => {
                let contact = known(&store, &who).await?;
                let (kind, channel) = (kind.unwrap_or_default(), channel.unwrap_or_default());
                if wanted == "default" {
                    people::forget_preference(&store, by, contact, &kind, &channel).await?;
                } else {
                    let wanted = Preference {
                        kind,
                        channel,
                        wanted: wanted == "on",
                    };
                    people::prefer(&store, by, contact, &wanted)
                        .await
                        .map_err(refused)?;
                }
                preferences(&store, contact).await
            }
            Action::Identity { who, show } => {
                identity::show(&store, known(&store, &who).await?, show).await
            }
            Action::Conflicts { limit, show } => identity::conflicts(&store, limit, show).await,
            Action::Merge {
                who,
                other,
                overwrite,
            } => {
                let (one, two) = (known(&store, &who).await?, known(&store, &other).await?);
                let engine = app::command_engine(&config, store).await?;
                let stays = engine_identity::merge(&engine, by, one, two, overwrite)
                    .await
                    .map_err(|error| undone(error, "nothing is merged"))?;
                say(format!("They are one contact: {stays}"));
                Ok(())
            }
            Action::Split { who, alias, other } => {
                let contact = known(&store, &who).await?;
                let other = match &other {
                    Some(other) => Some(known(&store, other).await?),
                    None => None,
                };
                let aliases = alias
                    .iter()
                    .map(|text| identity::alias(text))
                    .collect::<anyhow::Result<Vec<Alias>>>()?;
                let engine = app::command_engine(&config, store).await?;
                let done = match other {
                    Some(other) => engine_identity::part(&engine, by, contact, other)
                        .await
                        .map(|()| other),
                    None => engine_identity::split(&engine, by, contact, &aliases).await,
                };
                let theirs = done.map_err(|error| undone(error, "nothing is split"))?;
                say(format!(
                    "They are two persons; the other one's contact is {theirs}"
                ));
                Ok(())
            }
            Action::Delete { who } => {
                let contact = known(&store, &who).await?;
                let engine = app::command_engine(&config, store).await?;
                let deleted = people::delete_contact(&engine, by, contact)
                    .await
                    .map_err(|error| undone(error, "nobody is deleted"))?;
                let cancelled = deleted.cancelled;
                say(format!(
                    "Deleted; {cancelled} that waited for them cancelled."
                ));
                if deleted.refusal_kept {
                    say("They refuse something: their number and that refusal are kept.");
                }
                Ok(())
            }
        }
    }
}

async fn preferences(store: &Store, contact: Uuid) -> anyhow::Result<()> {
    let all = wish::preferences(store, &Bounds::All, contact).await?;
    if all.is_empty() {
        say("wants every kind, on every channel");
    }
    for it in all {
        let or = |text: String, every: &str| {
            if text.is_empty() {
                every.to_owned()
            } else {
                text
            }
        };
        let what = if it.wanted { "wanted" } else { "not wanted" };
        let kind = or(it.message_kind, "every kind");
        let channel = or(it.channel, "every channel");
        say(format!("{kind}, {channel}: {what}"));
    }
    Ok(())
}

async fn show(store: &Store, who: &str, show: bool, now: Timestamp) -> anyhow::Result<()> {
    let contact = known(store, who).await?;
    let Some(details) = rows::details(store.reader(), &Bounds::All, contact).await? else {
        bail!("there is no contact {contact}");
    };
    let line = |name: &str, value: &str| say(format!("{name:<16} {value}"));
    line("id", &contact.to_string());
    let (handle, users) = rows::names(store.reader(), contact).await?;
    for (name, value) in [
        ("name", details.name.or(details.profile_name)),
        ("username", details.username),
        ("handle", handle.map(|handle| format!("contact:{handle}"))),
        ("language", details.language),
        ("time zone", details.time_zone),
        ("quiet hours", details.quiet_hours.map(|it| it.to_string())),
        ("catalogue", details.catalogue),
    ] {
        if let Some(value) = value {
            line(name, &value);
        }
    }
    for user in users {
        line("staff", &format!("user:{user}"));
    }
    for row in alias::of_contact(store.reader(), &Bounds::All, contact).await? {
        let value = masked(Some(&row.value), show).unwrap_or_default();
        let old = if row.superseded_at.is_some() {
            " (until lately)"
        } else {
            ""
        };
        line(&row.kind.replace('_', " "), &format!("{value}{old}"));
    }
    let senders = sender::all(store).await?;
    for row in conversation::of_contact(store, &Bounds::All, contact).await? {
        let Some(until) = row.window_until.map(Timestamp::from_micros) else {
            continue;
        };
        let what = if window::is_open(Some(until), now) {
            "open until"
        } else {
            "closed since"
        };
        let with = senders.iter().find(|it| it.id == row.sender_id);
        let with = with.map_or("a sender that is gone", |it| it.name.as_str());
        line("window", &format!("{what} {until}, with {with}"));
    }
    for row in suppression::of_contact(store, contact).await? {
        let what = if row.wanted { "wants" } else { "does not want" };
        let at = Timestamp::from_micros(row.provider_at);
        line(
            "said",
            &format!("{what} {} ({}, {at})", row.scope, row.source),
        );
    }
    preferences(store, contact).await
}
