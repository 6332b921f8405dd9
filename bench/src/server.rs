//! The real server, as a process of its own.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What the load signs with.
pub const APP_SECRET: &str = "bench-app-secret-of-no-value";

/// A server is ready after this, or does not start.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running server. Dropped, it is killed.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn herald(url: &str, directory: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("herald")
        .current_dir(directory)
        .env("DATABASE_URL", url)
        .env("HERALD_DATA_DIR", directory)
        .env("HERALD_LOG", "warn")
        .env(
            "HERALD_SECRET_KEY",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        )
        .env("WHATSAPP_APP_SECRET", APP_SECRET);
    Ok(command)
}

/// Runs one command of Herald to its end.
pub fn command(url: &str, directory: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = herald(url, directory)?.args(words).output()?;
    ensure!(
        output.status.success(),
        "herald {} failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An address without a listener.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(
        url: &str,
        directory: &Path,
        words: &[&str],
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        Self::start_at(free_address()?, url, directory, words, settings).await
    }

    /// The same at a known address: where it was before.
    pub async fn start_at(
        address: SocketAddr,
        url: &str,
        directory: &Path,
        words: &[&str],
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut server = Self::launch(address, url, directory, words, settings, None)?;
        server.wait(READY_WITHIN).await?;
        Ok(server)
    }

    /// Starts a server and does not wait. What it logs goes to a file, if there is one.
    pub fn launch(
        address: SocketAddr,
        url: &str,
        directory: &Path,
        words: &[&str],
        settings: &[(&str, String)],
        log: Option<std::fs::File>,
    ) -> anyhow::Result<Self> {
        let mut command = herald(url, directory)?;
        command
            .arg("serve")
            .args(words)
            .env("HERALD_LISTEN", address.to_string());
        for (name, value) in settings {
            command.env(name, value);
        }
        if let Some(log) = log {
            command.stderr(log);
        }
        let child = command.stdout(Stdio::null()).stdin(Stdio::null()).spawn()?;
        Ok(Self { child, address })
    }

    /// Waits until it is ready.
    pub async fn wait(&mut self, most: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                bail!("the server ended at its start: {status}");
            }
            if let Ok((200, _)) = self.get("/readyz").await {
                return Ok(());
            }
            if started.elapsed() > most {
                bail!("the server is not ready after {} s", most.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn stop(&mut self, most: Duration) -> anyhow::Result<ExitStatus> {
        let pid = self.pid().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status()?;
        ensure!(asked.success(), "the server cannot be asked to end");
        let started = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(
                started.elapsed() < most,
                "the server has not ended {} s after it was asked to",
                most.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        request(
            self.address,
            &format!("GET {path} HTTP/1.1\r\nHost: herald\r\nConnection: close\r\n\r\n"),
        )
        .await
    }

    /// Refuses to measure what is not durable.
    pub async fn durability(&self) -> anyhow::Result<Value> {
        let (_, body) = self.get("/readyz").await?;
        let ready: Value = serde_json::from_str(&body)?;
        let durability = ready.get("durability").cloned().unwrap_or_default();
        let is =
            |name: &str, value: &str| durability.get(name).and_then(Value::as_str) == Some(value);
        let full = (is("synchronous", "2") && is("journal_mode", "wal"))
            || (is("fsync", "on")
                && is("synchronous_commit", "on")
                && is("full_page_writes", "on"));
        ensure!(full, "the database is not fully durable: {durability}");
        Ok(durability)
    }
}

/// Writes a request on a connection of its own, and reads the whole answer.
pub async fn raw(address: SocketAddr, text: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// One request on a connection of its own.
pub async fn request(address: SocketAddr, text: &str) -> anyhow::Result<(u16, String)> {
    let answer = raw(address, text).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no HTTP status")?;
    Ok((status, dechunked(head, body)))
}

/// The body, whether it came in one piece or in chunks.
fn dechunked(head: &str, body: &str) -> String {
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut rest = body;
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        if size == 0 {
            break;
        }
        whole.push_str(after.get(..size).unwrap_or(""));
        rest = after.get(size + 2..).unwrap_or("");
    }
    whole
}
