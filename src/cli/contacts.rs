//! `herald contacts list|show|set|prefer|identity|merge|split|delete`: manages contacts.

mod identity;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{
    people::{masked, masked_mailbox, refused, undone},
    say, settings,
};
use crate::{
    app, config,
    domain::{
        access::AccessBounds, channel::MessageChannel, edit::ValueEdit, email::EmailAddress,
        preference::MessagePreference, quiet::QuietHours, recipient::RecipientSpec,
        time::Timestamp, window,
    },
    engine::people::{self, ContactChanges, PeopleActor, identity as engine_identity},
    state::Clock,
    store::{
        Store, address_suppression,
        alias::{self, ContactAlias},
        conversation,
        people::{self as rows, ContactFilter},
        preferences, sender, suppression,
    },
};

/// Contacts: who receives messages, their identity and preferences.
#[derive(Debug, Args)]
pub(super) struct ContactsCommand {
    #[command(subcommand)]
    action: ContactsSubcommand,
}

/// Help for the argument that names a contact.
const WHO: &str = "A number in E.164, a user id of WhatsApp, an e-mail address, contact:NAME or the id of a contact.";

/// How many contacts that share a mailbox are listed.
const SHARING: u64 = 10;

#[derive(Debug, Subcommand)]
enum ContactsSubcommand {
    /// Lists contacts. Example: `herald contacts list --begins Ash`
    List {
        /// Prefix of the name, handle, mailbox or number.
        #[arg(long)]
        begins: Option<String>,
        /// 1 to 10000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
        /// Show numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Shows a contact with its preferences and opt-outs. Example: `herald contacts show
    /// +12025550101`
    Show {
        #[arg(help = WHO)]
        who: String,
        /// Show numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Adds a contact, or changes the one of this number.
    /// Example: `herald contacts set +12025550101 --name Asha --language hi`
    Set(ContactSetArgs),
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
        /// `default` removes the preference.
        #[arg(value_parser = ["on", "off", "default"])]
        wanted: String,
    },
    /// Shows the identity of a contact: aliases, evidence from the provider, and contacts that may
    /// be the same person. Example: `herald contacts identity +12025550101`
    Identity {
        #[arg(help = WHO)]
        who: String,
        /// Show numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Lists contacts that may be one person, or are one and stay separate.
    Conflicts {
        /// 1 to 1000.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        limit: u64,
        /// Show numbers in full.
        #[arg(long)]
        show: bool,
    },
    /// Merges two contacts, whatever the evidence says: the other's id redirects to the first.
    /// Example: `herald contacts merge +12025550101 US.13491208655302741918`
    Merge {
        #[arg(help = WHO)]
        who: String,
        #[arg(help = WHO)]
        other: String,
        /// Where they differ, keep the first one's name, handle and catalogue, and drop the other's.
        #[arg(long)]
        overwrite: bool,
    },
    /// Splits aliases off a contact as another person, or declares two contacts to be two people.
    /// Example: `herald contacts split +12025550101 --alias US.13491208655302741918`
    Split {
        #[arg(help = WHO)]
        who: String,
        /// A number or user id of the contact that belongs to another person. May be repeated.
        #[arg(long, required_unless_present = "other", conflicts_with = "other")]
        alias: Vec<String>,
        /// Another contact whose identity is undecided: it is not the same person.
        #[arg(long)]
        other: Option<String>,
    },
    /// Deletes a contact, and cancels its waiting messages. The record of sent messages stays for
    /// its retention time; if the contact has an opt-out, its number and the opt-out stay. What the
    /// person wrote and the callbacks that concern the person are erased by the server.
    Delete {
        #[arg(help = WHO)]
        who: String,
    },
}

#[derive(Debug, Args)]
struct ContactSetArgs {
    /// A number in E.164, or a user id of WhatsApp.
    address: String,
    #[arg(long)]
    name: Option<String>,
    /// The name in `contact:NAME`.
    #[arg(long)]
    handle: Option<String>,
    /// The mailbox, or `none`.
    #[arg(long)]
    email: Option<String>,
    #[arg(long)]
    language: Option<String>,
    /// Such as Africa/Harare.
    #[arg(long)]
    time_zone: Option<String>,
    /// `21:00-07:00`, or `none`.
    #[arg(long)]
    quiet_hours: Option<String>,
}

fn edit(value: Option<String>) -> ValueEdit<String> {
    value.map_or(ValueEdit::Keep, |value| ValueEdit::To(Some(value)))
}

fn hours(text: Option<&str>) -> anyhow::Result<ValueEdit<QuietHours>> {
    Ok(match text {
        None => ValueEdit::Keep,
        Some("none") => ValueEdit::To(None),
        Some(text) => {
            let Some((from, until)) = text.split_once('-') else {
                bail!("--quiet-hours: from and until, such as 21:00-07:00, or none");
            };
            ValueEdit::To(Some(QuietHours::parse(from.trim(), until.trim())?))
        }
    })
}

/// The contact that these words name.
async fn known(store: &Store, text: &str) -> anyhow::Result<Uuid> {
    let reader = store.reader();
    let of_alias = async |alias: ContactAlias| alias::owner(reader, &alias).await;
    if let Ok(id) = Uuid::parse_str(text) {
        let id = rows::current(reader, id).await?;
        let there = rows::details(reader, &AccessBounds::All, id).await?;
        return there
            .map(|_| id)
            .ok_or_else(|| anyhow!("there is no contact {id}"));
    }
    match RecipientSpec::parse(text)? {
        RecipientSpec::Phone(phone) => {
            of_alias(ContactAlias::of_phone(&phone))
                .await?
                .ok_or_else(|| {
                    anyhow!("no contact has this number: `herald contacts set {text}` creates one")
                })
        }
        RecipientSpec::UserId(user_id) => of_alias(ContactAlias::of_user_id(&user_id))
            .await?
            .ok_or_else(|| anyhow!("no contact has this user id")),
        RecipientSpec::Contact(handle) => rows::contact_by_handle(reader, &handle)
            .await?
            .map(|person| person.contact_id)
            .ok_or_else(|| anyhow!("there is no contact {handle}")),
        RecipientSpec::Email(address) => owner_of(store, &address).await,
        _ => bail!(
            "name the contact by a number in E.164, a user id of WhatsApp, an e-mail address, contact:NAME or its id"
        ),
    }
}

/// The only contact that has a mailbox.
async fn owner_of(store: &Store, address: &EmailAddress) -> anyhow::Result<Uuid> {
    let filter = ContactFilter::Mailbox(address);
    let found = rows::page(store, &AccessBounds::All, filter, None, SHARING).await?;
    match found.as_slice() {
        [] => bail!("no contact has this e-mail address"),
        [only] => Ok(only.contact_id),
        several => {
            let ids = several.iter().map(|it| it.contact_id.to_string());
            let ids = ids.collect::<Vec<String>>().join(", ");
            bail!("several contacts have this e-mail address; name one by its id: {ids}")
        }
    }
}

impl ContactsCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let actor = format!("cli:{}", config::operator()?);
        let by = PeopleActor {
            actor: &actor,
            now: Clock::System.now(),
            bounds: &AccessBounds::All,
        };
        match self.action {
            ContactsSubcommand::List {
                begins,
                limit,
                show,
            } => {
                let filter = begins
                    .as_deref()
                    .map_or(ContactFilter::All, ContactFilter::Beginning);
                for person in rows::page(&store, &AccessBounds::All, filter, None, limit).await? {
                    let mailbox = person.email.as_deref().map(|it| masked_mailbox(it, show));
                    say(format!(
                        "{}  {:<20} {:<24} {:<6} {}",
                        person.contact_id,
                        masked(person.phone.as_deref(), show).unwrap_or_default(),
                        mailbox.unwrap_or_default(),
                        person.language.unwrap_or_default(),
                        person.name.unwrap_or_default(),
                    ));
                }
                Ok(())
            }
            ContactsSubcommand::Show { who, show } => self::show(&store, &who, show, by.now).await,
            ContactsSubcommand::Set(set) => {
                let changes = ContactChanges {
                    quiet_hours: hours(set.quiet_hours.as_deref())?,
                    name: edit(set.name),
                    handle: edit(set.handle),
                    email: match set.email.as_deref() {
                        Some("none") => ValueEdit::To(None),
                        _ => edit(set.email),
                    },
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
            ContactsSubcommand::Prefer {
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
                    let wanted = MessagePreference {
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
            ContactsSubcommand::Identity { who, show } => {
                identity::show(&store, known(&store, &who).await?, show).await
            }
            ContactsSubcommand::Conflicts { limit, show } => {
                identity::conflicts(&store, limit, show).await
            }
            ContactsSubcommand::Merge {
                who,
                other,
                overwrite,
            } => {
                let (one, two) = (known(&store, &who).await?, known(&store, &other).await?);
                let engine = app::command_engine(&config, store).await?;
                let stays = engine_identity::merge(&engine, by, one, two, overwrite)
                    .await
                    .map_err(|error| undone(error, "nothing is merged"))?;
                say(format!("They are one contact now: {stays}"));
                Ok(())
            }
            ContactsSubcommand::Split { who, alias, other } => {
                let contact = known(&store, &who).await?;
                let other = match &other {
                    Some(other) => Some(known(&store, other).await?),
                    None => None,
                };
                let aliases = alias
                    .iter()
                    .map(|text| identity::alias(text))
                    .collect::<anyhow::Result<Vec<ContactAlias>>>()?;
                let engine = app::command_engine(&config, store).await?;
                let done = match other {
                    Some(other) => engine_identity::part(&engine, by, contact, other)
                        .await
                        .map(|()| other),
                    None => engine_identity::split(&engine, by, contact, &aliases).await,
                };
                let theirs = done.map_err(|error| undone(error, "nothing is split"))?;
                say(format!(
                    "They are two people now; the other person's contact is {theirs}"
                ));
                Ok(())
            }
            ContactsSubcommand::Delete { who } => {
                let contact = known(&store, &who).await?;
                let engine = app::command_engine(&config, store).await?;
                let deleted = people::delete_contact(&engine, by, contact)
                    .await
                    .map_err(|error| undone(error, "no contact is deleted"))?;
                let cancelled = deleted.cancelled;
                say(format!("Deleted. Waiting messages cancelled: {cancelled}."));
                if deleted.refusal_kept {
                    say("This person has opted out: the number and the opt-out are kept.");
                }
                Ok(())
            }
        }
    }
}

async fn preferences(store: &Store, contact: Uuid) -> anyhow::Result<()> {
    let all = preferences::preferences(store, &AccessBounds::All, contact).await?;
    if all.is_empty() {
        say("no preferences saved: nothing is turned off, on any channel");
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

/// A mailbox, and why it gets nothing, if so.
async fn mailbox(store: &Store, address: &str, show: bool) -> anyhow::Result<String> {
    let suppressed =
        address_suppression::find(store.reader(), MessageChannel::Email, address).await?;
    let shown = masked_mailbox(address, show);
    Ok(match suppressed {
        Some(row) => format!("{shown} ({}, {})", row.reason, row.created_at),
        None => shown,
    })
}

async fn show(store: &Store, who: &str, show: bool, now: Timestamp) -> anyhow::Result<()> {
    let contact = known(store, who).await?;
    let Some(details) = rows::details(store.reader(), &AccessBounds::All, contact).await? else {
        bail!("there is no contact {contact}");
    };
    let line = |name: &str, value: &str| say(format!("{name:<16} {value}"));
    line("id", &contact.to_string());
    let (handle, users) = rows::names(store.reader(), contact).await?;
    let email = match &details.email {
        Some(address) => Some(mailbox(store, address, show).await?),
        None => None,
    };
    for (name, value) in [
        ("name", details.name.or(details.profile_name)),
        ("username", details.username),
        ("handle", handle.map(|handle| format!("contact:{handle}"))),
        ("e-mail", email),
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
    for row in alias::of_contact(store.reader(), &AccessBounds::All, contact).await? {
        let value = masked(Some(&row.value), show).unwrap_or_default();
        let old = if row.superseded_at.is_some() {
            " (former)"
        } else {
            ""
        };
        line(&row.kind.replace('_', " "), &format!("{value}{old}"));
    }
    let senders = sender::all(store).await?;
    for row in conversation::of_contact(store, &AccessBounds::All, contact).await? {
        let Some(until) = row.window_until.map(Timestamp::from_micros) else {
            continue;
        };
        let what = if window::is_open(Some(until), now) {
            "open until"
        } else {
            "closed since"
        };
        let with = senders.iter().find(|it| it.id == row.sender_id);
        let with = with.map_or("a deleted sender", |it| it.name.as_str());
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
