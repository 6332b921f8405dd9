//! A mail server (RFC 5321) that takes mails or refuses them, as a test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What becomes of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailFate {
    Taken,
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
    connections: usize,
    /// The first words of all lines that are no mails.
    commands: Vec<String>,
}

/// The server.
#[derive(Clone)]
pub struct MailServer {
    pub port: u16,
    state: Arc<Mutex<MailServerState>>,
}

impl MailServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let state = Arc::clone(&server.state);
        tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                state.lock().unwrap().connections += 1;
                open.spawn(converse(stream, Arc::clone(&state)));
            }
        });
        server
    }

    /// What becomes of the next mails; afterwards everything is taken.
    pub fn plays(&self, fates: &[MailFate]) {
        self.state.lock().unwrap().fates = fates.iter().cloned().collect();
    }

    /// The mails that were taken.
    pub fn taken(&self) -> Vec<TakenMail> {
        self.state.lock().unwrap().taken.clone()
    }

    /// What clients have asked for, in capitals.
    pub fn commands(&self) -> Vec<String> {
        self.state.lock().unwrap().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

/// An address between its brackets.
fn bracketed(line: &str) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or(String::new(), |(address, _)| address.to_owned())
}

async fn converse(stream: TcpStream, state: Arc<Mutex<MailServerState>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let fate = state
        .lock()
        .unwrap()
        .fates
        .pop_front()
        .unwrap_or(MailFate::Taken);
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
                if let MailFate::Refused(reply) = &fate {
                    say(&mut stream, reply).await?;
                    continue;
                }
                state.lock().unwrap().taken.push(mail.clone());
                match fate {
                    MailFate::TakenAndCut => return None,
                    MailFate::StallsAfter => std::future::pending().await,
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
