//! A client that does not keep to the rules of good clients.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::harness::{TestApp, sign};

/// No wait of a test is as long.
const NEVER: Duration = Duration::from_secs(20);

/// A connection from an address of this machine's own network, 127.0.0.0/8.
pub struct Stranger {
    stream: TcpStream,
}

impl Stranger {
    /// Connects from an address, and sends a text.
    pub async fn sends(app: &TestApp, from: &str, text: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let address = app.base.trim_start_matches("http://").parse().unwrap();
        let stream = socket.connect(address).await.unwrap();
        let mut stranger = Self { stream };
        assert!(stranger.send(text).await);
        stranger
    }

    /// Sends more. False: the connection has been closed.
    pub async fn send(&mut self, text: &str) -> bool {
        timeout(NEVER, self.stream.write_all(text.as_bytes()))
            .await
            .expect("neither taken nor closed")
            .is_ok()
    }

    /// What is answered next.
    pub async fn answer(&mut self) -> String {
        self.answer_within(NEVER).await.expect("no answer")
    }

    /// What is answered within this time, if anything is.
    pub async fn answer_within(&mut self, time: Duration) -> Option<String> {
        let mut answer = vec![0; 64 * 1024];
        let read = timeout(time, self.stream.read(&mut answer)).await.ok()?;
        // A reset ends a connection as well as an orderly end.
        let size = read.unwrap_or(0);
        Some(String::from_utf8_lossy(&answer[..size]).into_owned())
    }

    /// All that is answered until the connection is closed, which must happen.
    pub async fn until_closed(&mut self) -> String {
        let mut answers = String::new();
        loop {
            let answer = self
                .answer_within(NEVER)
                .await
                .expect("the connection is not closed");
            if answer.is_empty() {
                return answers;
            }
            answers.push_str(&answer);
        }
    }
}

/// A callback signed with a secret, with further header lines.
pub fn callback(body: &str, secret: &str, headers: &str) -> String {
    format!(
        "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nX-Hub-Signature-256: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        sign(secret, body.as_bytes()),
        body.len()
    )
}
