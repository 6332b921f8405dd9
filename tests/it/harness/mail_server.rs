//! A mail server (RFC 5321) that takes mails or refuses them, as a test says.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
};

use super::listen_at;

/// What becomes of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailFate {
    Taken,
    /// The same, but the reply comes only when the test says so.
    TakenSlowly,
    /// This reply to `RCPT TO`.
    RecipientRefused(&'static str),
    /// This reply to the mail itself.
    Refused(&'static str),
    /// It is taken, and the connection ends before the reply.
    TakenAndCut,
    /// It is not taken: the connection ends after `DATA`.
    CutBefore,
    /// Nothing more is said after `RCPT TO`, and the connection stays open.
    StallsBefore,
    /// It is taken, but nothing is said, and the connection stays open.
    StallsAfter,
    /// This reply to `MAIL FROM`.
    SenderRefused(&'static str),
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct TakenMail {
    pub from: String,
    pub to: String,
    /// As it came, with its lines ended by `\n`.
    pub text: String,
}

#[derive(Default)]
struct MailServerState {
    fates: VecDeque<MailFate>,
    taken: Vec<TakenMail>,
    /// Each that was begun with `MAIL FROM`, whatever became of it.
    attempted: Vec<TakenMail>,
    connections: usize,
    /// The first words of all lines that are no mails.
    commands: Vec<String>,
}

/// Ends with the last server that shares it.
#[derive(Default)]
struct MailServerShared {
    state: Mutex<MailServerState>,
    is_slow: Notify,
    goes_on: Notify,
}

/// The server.
#[derive(Clone)]
pub struct MailServer {
    pub port: u16,
    shared: Arc<MailServerShared>,
    serving: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<MailServerShared>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            serving: Arc::new(tokio::sync::Mutex::new(Some(serving))),
        }
    }

    /// Nothing listens any more, and what was open ends.
    pub async fn stop(&self) {
        let serving = self.serving.lock().await.take().unwrap();
        serving.abort();
        drop(serving.await);
    }

    /// It listens again at the same address.
    pub async fn restart(&self) {
        let listener = listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        *self.serving.lock().await = Some(tokio::spawn(serve(listener, Arc::clone(&self.shared))));
    }

    /// Until a reply is being held back.
    pub async fn until_slow(&self) {
        self.shared.is_slow.notified().await;
    }

    /// Gives the reply that was held back.
    pub fn release(&self) {
        self.shared.goes_on.notify_one();
    }

    /// The mails that were begun, whatever became of them.
    pub fn attempted(&self) -> Vec<TakenMail> {
        self.shared.state.lock().unwrap().attempted.clone()
    }

    /// What becomes of the next mails; afterwards everything is taken.
    pub fn plays(&self, fates: &[MailFate]) {
        self.shared.state.lock().unwrap().fates = fates.iter().cloned().collect();
    }

    /// The mails that were taken.
    pub fn taken(&self) -> Vec<TakenMail> {
        self.shared.state.lock().unwrap().taken.clone()
    }

    /// What clients have asked for, in capitals.
    pub fn commands(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }
}

/// An address between its brackets.
fn bracketed(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(String::new(), |(address, _)| address.to_owned())
}

async fn serve(listener: TcpListener, shared: Arc<MailServerShared>) {
    // They end with this task.
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.state.lock().unwrap().connections += 1;
        open.spawn(converse(stream, Arc::clone(&shared)));
    }
}

async fn converse(stream: TcpStream, shared: Arc<MailServerShared>) -> Option<()> {
    let state = &shared.state;
    let mut stream = BufReader::new(stream);
    let (mut fate, mut place) = (MailFate::Taken, 0);
    let mut mail = TakenMail {
        from: String::new(),
        to: String::new(),
        text: String::new(),
    };
    say(&mut stream, "220 mail.example.com ESMTP").await?;
    loop {
        let line = read(&mut stream).await?;
        let word = line
            .split([' ', ':'])
            .next()
            .unwrap_or("")
            .to_ascii_uppercase();
        state.lock().unwrap().commands.push(word.clone());
        match word.as_str() {
            "EHLO" => say(&mut stream, "250-mail.example.com\r\n250 8BITMIME").await?,
            "MAIL" => {
                mail.from = bracketed(&line);
                {
                    // A connection that only looks whether the server is there takes none.
                    let mut state = state.lock().unwrap();
                    fate = state.fates.pop_front().unwrap_or(MailFate::Taken);
                    place = state.attempted.len();
                    state.attempted.push(mail.clone());
                }
                match &fate {
                    MailFate::SenderRefused(reply) => say(&mut stream, reply).await?,
                    _ => say(&mut stream, "250 2.1.0 Ok").await?,
                }
            }
            "RCPT" => {
                mail.to = bracketed(&line);
                match &fate {
                    MailFate::RecipientRefused(reply) => say(&mut stream, reply).await?,
                    MailFate::StallsBefore => std::future::pending().await,
                    _ => say(&mut stream, "250 2.1.5 Ok").await?,
                }
            }
            "DATA" => {
                say(&mut stream, "354 End data with <CR><LF>.<CR><LF>").await?;
                if fate == MailFate::CutBefore {
                    return None;
                }
                loop {
                    let line = read(&mut stream).await?;
                    if line == "." {
                        break;
                    }
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.text.push('\n');
                }
                state.lock().unwrap().attempted[place] = mail.clone();
                if let MailFate::Refused(reply) = &fate {
                    say(&mut stream, reply).await?;
                    continue;
                }
                state.lock().unwrap().taken.push(mail.clone());
                match fate {
                    MailFate::TakenAndCut => return None,
                    MailFate::StallsAfter => std::future::pending().await,
                    MailFate::TakenSlowly => {
                        shared.is_slow.notify_one();
                        shared.goes_on.notified().await;
                    }
                    _ => {}
                }
                say(&mut stream, "250 2.0.0 Ok: queued as 4711").await?;
            }
            "QUIT" => {
                say(&mut stream, "221 2.0.0 Bye").await?;
                return Some(());
            }
            _ => say(&mut stream, "502 5.5.2 Command not known").await?,
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, reply: &str) -> Option<()> {
    let line = format!("{reply}\r\n");
    stream.get_mut().write_all(line.as_bytes()).await.ok()
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}
