//! `herald send`: a test send, from the check to the read receipt.

use std::{collections::BTreeMap, io::BufRead, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::{ExitCodeError, check, people::masked_mailbox, say, settings};
use crate::{
    app,
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        content::{FreeFormMessageContent, TextContent},
        phone,
        priority::MessagePriority,
        recipient::RecipientSpec,
        status::{NotificationStatus, StatusGroup},
    },
    engine::{
        Engine,
        insight::{
            check::{FindingSeverity, InstallationCheckResult},
            story,
        },
        intake::{
            self, ClientNotificationRequest, MessageContentMode, NotificationRequest,
            NotificationRequestContent, NotificationRequestError, NotificationRequestRefusal,
            RequestedTemplate,
        },
        runtime::heartbeat::{self, WorkerLiveness},
    },
    state::Clock,
    store::{Store, people, sender},
};

/// Sends one message to one person and follows it: checks whether sending can work, shows who would
/// get it, asks for confirmation, sends, and prints what happens.
#[derive(Debug, Args)]
#[command(
    after_help = "The message is sent by `herald serve`, which must run.\n\n\
                  Exit codes: 0 accepted · 1 refused, failed, or nothing was heard in time\n\n\
                  Examples:\n  herald send user:tariro --template order_confirmation --param customer_name=Asha --param order_number=A-17\n  \
                  herald send +12025550101 --text 'Are you there?' --yes"
)]
pub(super) struct SendCommand {
    /// A number in E.164, an e-mail address, user:NAME or contact:NAME.
    to: String,
    /// The name of a template.
    #[arg(long, conflicts_with = "text", required_unless_present = "text")]
    template: Option<String>,
    /// A parameter of the template. May be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair, requires = "template")]
    params: Vec<(String, String)>,
    /// The language of the template, such as en_US.
    #[arg(long, requires = "template")]
    language: Option<String>,
    /// Free text: deliverable only within 24 hours of the person's last message.
    #[arg(long)]
    text: Option<String>,
    /// By which channel: whatsapp or email, and whatever else is set up. Default: that of the sender.
    #[arg(long, value_parser = channel)]
    channel: Option<MessageChannel>,
    /// Name of the sender; the default if absent.
    #[arg(long)]
    sender: Option<String>,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Send although a check failed.
    #[arg(long)]
    force: bool,
    /// Show the number in full.
    #[arg(long)]
    show: bool,
    /// How long the delivery is followed, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    follow_seconds: u64,
}

fn channel(text: &str) -> Result<MessageChannel, String> {
    MessageChannel::parse(text).ok_or_else(|| format!("one of {}", MessageChannel::RULE))
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "it is written NAME=VALUE".to_owned())
}

/// The story is polled this often.
const LOOK: Duration = Duration::from_millis(250);

/// Checks that concern sending; the others concern receiving.
const OF_SENDING: [&str; 9] = [
    "secret_key",
    "no_sender",
    "sender_held",
    "reachable",
    "token",
    "scopes",
    "number",
    "account",
    "account_restricted",
];

impl SendCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = settings()?;
        let store = app::command_store(&config).await?;
        let engine = app::command_engine(&config, store.clone()).await?;
        // Only the sender in question is checked.
        let ring = engine.keyring();
        let sender = match &self.sender {
            Some(named) => {
                let row = sender::named(store.reader(), named).await?;
                Some(
                    row.with_context(|| format!("there is no sender {named}"))?
                        .id,
                )
            }
            None => ring.default_account().map(|account| account.id),
        };
        let rows = check::look_with(&config, &engine, sender).await?;
        self.judge(&rows)?;
        let whom = self.whom(&store).await?;
        let worker = heartbeat::pulses(&engine, Clock::System.now())
            .await?
            .into_iter()
            .any(|(worker, pulse)| worker == "work" && pulse == WorkerLiveness::Alive);
        if !worker {
            say("No server runs: the message waits in the queue until herald serve does.");
        }
        let what = match (&self.template, &self.text) {
            (Some(template), _) => format!("the template {template}"),
            (None, _) => "a free text".to_owned(),
        };
        if !self.yes && !asked(&format!("Send {what} to {whom}? [y/N] "))? {
            say("Nothing was sent.");
            return Err(ExitCodeError(1).into());
        }
        let id = self.ask(&engine).await?;
        say(format!("Queued as {id}."));
        self.follow(&store, id).await
    }

    /// Prints failed checks, and stops unless forced to continue.
    fn judge(&self, rows: &[InstallationCheckResult]) -> anyhow::Result<()> {
        let fails: Vec<&InstallationCheckResult> = rows
            .iter()
            .filter(|row| row.verdict == FindingSeverity::Failed && OF_SENDING.contains(&row.name))
            .collect();
        for row in &fails {
            say(format!("FAILED  {}\n        -> {}", row.found, row.remedy));
        }
        ensure!(
            fails.is_empty() || self.force,
            "the check found problems with sending: fix them, or use --force"
        );
        if fails.is_empty() {
            say("The check found no problems with sending.");
        }
        Ok(())
    }

    /// The recipient, for people.
    async fn whom(&self, store: &Store) -> anyhow::Result<String> {
        let recipient =
            RecipientSpec::parse(&self.to).map_err(|error| anyhow::anyhow!("{error}"))?;
        let reader = store.reader();
        let person = match &recipient {
            RecipientSpec::User(name) => {
                let staff = people::user(reader, &AccessBounds::All, name)
                    .await?
                    .with_context(|| format!("there is no user {name}"))?;
                Some(staff.person.with_context(|| {
                    format!("the user {name} is not linked to a contact: nothing can be sent")
                })?)
            }
            RecipientSpec::Contact(name) => Some(
                people::contact_by_handle(reader, name)
                    .await?
                    .with_context(|| format!("there is no contact {name}"))?,
            ),
            RecipientSpec::Phone(phone) => people::contact_by_phone(reader, phone).await?,
            RecipientSpec::UserId(_) | RecipientSpec::Email(_) => None,
            RecipientSpec::Group(_) | RecipientSpec::Same => {
                bail!(
                    "the recipient is one person: a number, an e-mail address, user:NAME or contact:NAME"
                )
            }
        };
        let name = person.as_ref().and_then(|person| person.name.clone());
        if let RecipientSpec::Email(address) = &recipient {
            return Ok(masked_mailbox(address.as_str(), self.show));
        }
        if self.channel.is_some_and(MessageChannel::reaches_mailboxes) {
            let mailbox = match person {
                Some(person) => mailbox_of(store, &recipient, person.contact_id).await?,
                None => None,
            };
            let at = mailbox.map_or_else(
                || "no e-mail address is known".to_owned(),
                |mailbox| masked_mailbox(&mailbox, self.show),
            );
            return Ok(format!("{} ({at})", name.as_ref().unwrap_or(&self.to)));
        }
        let number = match &recipient {
            RecipientSpec::Phone(phone) => Some(phone.e164().to_owned()),
            _ => person.and_then(|person| person.phone),
        };
        let number = number.map(|number| {
            if self.show {
                number
            } else {
                phone::mask(&number)
            }
        });
        Ok(match (name, number) {
            (Some(name), Some(number)) => format!("{name} ({number})"),
            (Some(name), None) => name,
            (None, Some(number)) => number,
            (None, None) => self.to.clone(),
        })
    }

    /// Queues the message.
    async fn ask(&self, engine: &Engine) -> anyhow::Result<Uuid> {
        let content = match (&self.template, &self.text) {
            (Some(name), _) => NotificationRequestContent::Template(RequestedTemplate {
                name: name.clone(),
                language: self.language.clone(),
                params: self
                    .params
                    .iter()
                    .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                    .collect::<Map<_, _>>(),
            }),
            (None, text) => NotificationRequestContent::Free {
                content: FreeFormMessageContent::Text(TextContent {
                    body: text.clone().unwrap_or_default(),
                    preview_url: false,
                }),
                fallback: None,
            },
        };
        let request = NotificationRequest {
            message_kind: None,
            mode: MessageContentMode::Template,
            to: vec![self.to.clone()],
            about: None,
            sender: self.sender.clone(),
            content,
            reference: None,
            labels: BTreeMap::from([("origin".to_owned(), "herald send".to_owned())]),
            // A person is waiting for it.
            priority: MessagePriority::High,
            expires_after_seconds: Some(600),
            send_at: None,
            reply_to: None,
            channels: self.channel.into_iter().collect(),
            fallback_seconds: None,
        };
        let asked = ClientNotificationRequest {
            bounds: AccessBounds::All,
            key: None,
            request,
        };
        let answers = intake::many(engine, &[asked], Clock::System.now()).await;
        match answers.into_iter().next() {
            Some(Ok(stored)) => stored
                .ids
                .first()
                .copied()
                .context("no notification was created"),
            Some(Err(NotificationRequestError::Refused(NotificationRequestRefusal::Fields(
                wrong,
            )))) => {
                let wrong: Vec<String> = wrong
                    .iter()
                    .map(|wrong| {
                        format!("{}: {}", wrong.pointer.trim_start_matches('/'), wrong.rule)
                    })
                    .collect();
                bail!("{}", wrong.join("; "))
            }
            _ => bail!("the database could not store the message: nothing was sent"),
        }
    }

    /// Prints each entry of the story as it appears.
    async fn follow(&self, store: &Store, id: Uuid) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(self.follow_seconds);
        let mut shown = 0;
        loop {
            let found = story::of(store, &AccessBounds::All, id, Clock::System.now())
                .await?
                .context("the notification has been deleted")?;
            for line in found.lines.iter().skip(shown) {
                let at = line.at.get(11..19).unwrap_or(&line.at);
                say(format!("{at}  {}", line.text));
            }
            shown = found.lines.len();
            let status = NotificationStatus::parse(found.status);
            let over = matches!(
                status,
                Some(NotificationStatus::Read | NotificationStatus::Played)
            ) || matches!(found.group, StatusGroup::Failed | StatusGroup::NotSent);
            if over || Instant::now() >= until {
                say(&found.standing);
                if let Some(trouble) = &found.failure {
                    say(format!("-> {}", trouble.remedy));
                }
                say(format!("More: herald explain {id}"));
                return if found.group == StatusGroup::Sent {
                    Ok(())
                } else {
                    Err(ExitCodeError(1).into())
                };
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Asks a question; only `y` and `yes` count as yes.
fn asked(question: &str) -> anyhow::Result<bool> {
    say(question);
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("standard input cannot be read: use --yes")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The mailbox of a contact.
async fn mailbox_of(
    store: &Store,
    recipient: &RecipientSpec,
    contact: Uuid,
) -> anyhow::Result<Option<String>> {
    let mut known = people::emails_of(store.reader(), None, &[contact]).await?;
    let emails = known.remove(&contact);
    Ok(emails.and_then(|emails| emails.of_message(None, recipient.is_staff())))
}
