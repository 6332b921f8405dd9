//! `herald sandbox`: a simulator of Meta.

use std::{
    fmt::Write,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::say;
use crate::{
    sandbox::{self, BEHAVIOURS, SandboxConfig, SandboxMyOperatorConfig},
    shutdown::ShutdownTokens,
    telemetry,
};

/// Simulates Meta's Graph API and the people behind the phones.
///
/// Point WHATSAPP_API_BASE at it. Numbers of the fictional 555-01xx range behave specially;
/// `--people` lists them.
#[derive(Debug, Args)]
pub(super) struct SandboxCommand {
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: std::net::SocketAddr,
    /// Address for signed callbacks; without it none are posted.
    #[arg(long)]
    callback_url: Option<String>,
    #[arg(long, default_value = "106540352242922")]
    phone_number_id: String,
    /// The access token it accepts.
    #[arg(long, default_value = "sandbox-token")]
    token: String,
    /// The secret that signs its callbacks.
    #[arg(long, default_value = "sandbox-app-secret")]
    app_secret: String,
    #[arg(long, default_value_t = 300)]
    sent_after_milliseconds: u64,
    #[arg(long, default_value_t = 700)]
    delivered_after_milliseconds: u64,
    #[arg(long, default_value_t = 2000)]
    read_after_milliseconds: u64,
    /// Average time of an answer, in milliseconds: from half of it to half as much again.
    #[arg(long, default_value_t = 0)]
    takes_milliseconds: u64,
    /// Write accepted messages to this file, one JSON object a line.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Simulate failures: answers are lost, calls fail, callbacks come twice and in any order.
    #[arg(long)]
    chaos: bool,
    /// Seed of the simulated failures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Address for callbacks of MyOperator, which it plays at /chat/… as well.
    #[arg(long)]
    myoperator_callback_url: Option<String>,
    /// The key that its MyOperator accepts.
    #[arg(long, default_value = "sandbox-myoperator-key")]
    myoperator_key: String,
    /// The secret in the URL of MyOperator's callbacks.
    #[arg(long, default_value = "sandbox-myoperator-secret")]
    myoperator_secret: String,
    /// Play a mail server at this address, such as 127.0.0.1:2525; its mails are at /sandbox/phones.
    #[arg(long)]
    mail_listen: Option<SocketAddr>,
    /// List the special numbers and exit.
    #[arg(long)]
    people: bool,
}

fn bind_mail(address: SocketAddr) -> anyhow::Result<Arc<TcpListener>> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("--mail-listen: {address} cannot be listened on"))?;
    Ok(Arc::new(listener))
}

/// The special numbers, for people.
pub(super) fn people() -> String {
    BEHAVIOURS
        .iter()
        .fold(String::new(), |mut text, (digits, _, meaning)| {
            let _ = writeln!(text, "  +1 202 555 01{digits:02}   {meaning}");
            text
        })
}

impl SandboxCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.people {
            say(format!(
                "{}  any other number    sent, delivered, read",
                people()
            ));
            return Ok(());
        }
        telemetry::init_logs("info", false).map_err(anyhow::Error::msg)?;
        let listener = TcpListener::bind(self.listen)
            .with_context(|| format!("{} cannot be listened on", self.listen))?;
        let config = SandboxConfig {
            phone_number_id: self.phone_number_id,
            access_token: self.token,
            app_secret: self.app_secret,
            callback_url: self.callback_url,
            sent_after: Duration::from_millis(self.sent_after_milliseconds),
            delivered_after: Duration::from_millis(self.delivered_after_milliseconds),
            read_after: Duration::from_millis(self.read_after_milliseconds),
            takes: Duration::from_millis(self.takes_milliseconds),
            ledger: self.ledger,
            workers: 2,
            chaos: self.chaos.then_some(self.seed),
            myoperator: Some(SandboxMyOperatorConfig {
                api_key: self.myoperator_key,
                company_id: "sandbox-company".to_owned(),
                number: "+12025550199".to_owned(),
                callback_url: self.myoperator_callback_url,
                callback_secret: self.myoperator_secret,
            }),
            mail: self.mail_listen.map(bind_mail).transpose()?,
        };
        say(format!(
            "The sandbox listens on http://{}",
            listener.local_addr()?
        ));
        if let Some(mail) = &config.mail {
            let address = mail.local_addr()?;
            say(format!(
                "Its mail server listens on {address}: SMTP_URL=smtp://{address}?tls=none"
            ));
        }
        let stop = ShutdownTokens::default();
        let signals = stop.clone().follow_signals();
        let run = sandbox::run(config, listener, stop.soft.clone());
        tokio::pin!(signals, run);
        tokio::select! {
            ended = &mut run => ended,
            () = &mut signals => Ok(()),
        }
    }
}
