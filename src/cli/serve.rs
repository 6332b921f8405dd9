//! `herald serve`: the server.

use std::net::TcpListener;

use anyhow::Context;
use clap::Args;

use super::own_settings;
use crate::{
    app::{App, ServerStartOptions, StartupHoldMode},
    shutdown::ShutdownTokens,
    state::CallbackIngestMode,
};

/// Runs the server and its workers until it is stopped.
///
/// Example: `HERALD_SECRET_KEY=… DATABASE_URL=postgres://… herald serve --migrate`
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ServeCommand {
    /// Apply missing migrations first. Several processes may do so at once.
    #[arg(long)]
    migrate: bool,
    /// Start with sending on hold: callbacks and requests are accepted, but until `herald hold
    /// release` nothing is sent except one-time passwords requested since. For a restore that
    /// Herald cannot detect.
    #[arg(long)]
    hold: bool,
    /// For `bench`: store callbacks without processing them.
    #[arg(long, hide = true)]
    no_apply: bool,
    /// For `bench`: `per-request` or `bare`.
    #[arg(long, hide = true)]
    ingest: Option<String>,
}

impl ServeCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = own_settings()?;
        let secret_key = config.require_secret_key()?;
        let listener = TcpListener::bind(config.server.listen).with_context(|| {
            format!(
                "HERALD_LISTEN: {} cannot be listened on",
                config.server.listen
            )
        })?;
        let ingest = match self.ingest.as_deref() {
            Some("per-request") => CallbackIngestMode::PerRequest,
            Some("bare") => CallbackIngestMode::Bare,
            _ => CallbackIngestMode::Durable,
        };
        let options = ServerStartOptions {
            migrate: self.migrate,
            no_apply: self.no_apply,
            sending: if self.hold {
                StartupHoldMode::OnHold
            } else {
                StartupHoldMode::AsBefore
            },
            ingest,
            ..ServerStartOptions::default()
        };
        let stop = ShutdownTokens::default();
        let signals = stop.clone().follow_signals();
        let served = async {
            let built =
                App::build_when_possible(&config, &secret_key, listener, options, &stop.soft).await;
            match built? {
                Some(app) => app.run(stop.clone()).await,
                None => Ok(()),
            }
        };
        tokio::pin!(signals, served);
        tokio::select! {
            ended = &mut served => ended,
            () = &mut signals => served.await,
        }
    }
}
