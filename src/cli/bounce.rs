//! `herald bounce`: a mail server's pipe for mails that came back.

use std::io::Read;

use anyhow::bail;
use clap::Args;

use super::{ExitCodeError, chain, complain, say, settings};
use crate::{
    app,
    domain::time::Timestamp,
    engine::ingest::bounces,
    providers::smtp::bounce::{self, ReceivedBounce},
    state::Clock,
    store::made_at,
};

/// Try again later (sysexits.h: EX_TEMPFAIL). Mail servers keep the mail, and bounce it after any
/// other code.
const TRY_LATER: u8 = 75;

/// Reads a mail that came back, on standard input, and fails the message that it is about.
///
/// For the pipe of the mail server that receives mail for `SMTP_BOUNCES`. Mails that are no reports
/// of failed deliveries are ignored.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, or nothing to do · 75 not stored: try again later\n\n\
                  Example, in Postfix's master.cf:\n  herald-bounce unix - n n - 2 pipe\n    user=herald argv=/usr/local/bin/herald bounce --recipient ${original_recipient}"
)]
pub(super) struct BounceCommand {
    /// The address that the mail server delivered it to.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
}

/// How long the answer to a mail may take to be stored, in seconds.
const NEW_SECONDS: i64 = 15 * 60;

/// Whether an attempt was made so lately that its answer may not be stored yet.
fn is_new(made_at: Timestamp, now: Timestamp) -> bool {
    let age = now.micros_since(made_at) / 1_000_000;
    (-NEW_SECONDS..NEW_SECONDS).contains(&age)
}

impl BounceCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.apply().await {
            Ok(()) => Ok(()),
            Err(error) => {
                complain(&format!("herald: {}", chain(&error)));
                Err(ExitCodeError(TRY_LATER).into())
            }
        }
    }

    async fn apply(self) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(bounce::MAX_BYTES)
            .read_to_end(&mut bytes)?;
        let (attempts, failure) = match bounce::read(&bytes, self.recipient.as_deref()) {
            Ok(ReceivedBounce::Failed { attempts, failure }) => (attempts, failure),
            Ok(ReceivedBounce::Other(action)) => {
                say(format!(
                    "Nothing to do: the mail server says \"{action}\", which is no failure."
                ));
                return Ok(());
            }
            Ok(ReceivedBounce::NoReport) => {
                say("Nothing to do: this mail has no delivery report (RFC 3464).");
                return Ok(());
            }
            Err(error) => {
                say(format!("Nothing to do: {error}."));
                return Ok(());
            }
        };
        if attempts.is_empty() {
            say(
                "Nothing to do: the report names no message of Herald's. Is --recipient given, and does the mail server keep the part after the +?",
            );
            return Ok(());
        }
        let config = settings()?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        let now = Clock::System.now();
        match bounces::apply(&engine, &attempts, &failure, now).await? {
            Some(id) => say(format!("{id}: {} ({})", failure.meaning, failure.title)),
            None if attempts.iter().any(|id| is_new(made_at(*id), now)) => {
                bail!("the mail that came back was sent just now, and its answer is not stored yet")
            }
            None => say("Nothing to do: its message is not known, or has been deleted."),
        }
        Ok(())
    }
}
