//! The sandbox, playing Meta for a server of a test: nothing takes time in it.

use std::{net::TcpListener, time::Duration};

use herald::sandbox::{self, ACCOUNT_ID, SandboxConfig};
use tokio_util::sync::CancellationToken;

use super::{APP_SECRET, Database, PHONE_NUMBER_ID, TestApp};

/// A server whose Meta is a sandbox; it ends with this.
pub struct Played {
    pub app: TestApp,
    /// Where the sandbox is.
    pub sandbox: String,
    pub folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Played {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts both; settings beside those that lead to the sandbox.
pub async fn play(database: &Database, token: &str, more: &[(&str, &str)]) -> Played {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = format!("http://{}", listener.local_addr().unwrap());
    let mut settings = vec![
        ("WHATSAPP_API_BASE", sandbox.as_str()),
        ("WHATSAPP_ACCESS_TOKEN", token),
        ("WHATSAPP_WABA_ID", ACCOUNT_ID),
    ];
    settings.extend(more);
    let app = TestApp::spawn_with(database, &settings, "").await;
    let config = SandboxConfig {
        phone_number_id: PHONE_NUMBER_ID.to_owned(),
        access_token: token.to_owned(),
        app_secret: APP_SECRET.to_owned(),
        callback_url: Some(format!("{}/webhooks/meta", app.base)),
        sent_after: Duration::ZERO,
        delivered_after: Duration::ZERO,
        read_after: Duration::ZERO,
        takes: Duration::ZERO,
        ledger: None,
        workers: 1,
        chaos: None,
        myoperator: None,
        mail: None,
    };
    let stop = CancellationToken::new();
    tokio::spawn(sandbox::run(config, listener, stop.clone()));
    Played {
        app,
        sandbox,
        folder: tempfile::tempdir().unwrap(),
        stop,
    }
}
