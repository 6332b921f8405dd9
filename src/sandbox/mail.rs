//! The mailboxes of the simulated people: a mail server (SMTP, RFC 5321) that takes every mail and
//! shows it with the messages of the phones. Mailboxes named `gone` do not exist.

use std::{io, net::TcpListener, time::Duration};

use actix_web::web;
use mail_parser::MessageParser;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::SandboxState;

/// The mailbox that does not exist, at any domain.
const GONE: &str = "gone@";

/// Longest time between two lines of a client.
const IDLE: Duration = Duration::from_mins(1);

/// Most bytes of a mail.
const MAX_BYTES: usize = 1024 * 1024;

/// Takes mails, until its task is dropped.
pub(super) async fn run(listener: TcpListener, world: web::Data<SandboxState>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let world = world.clone();
        let tasks = world.tasks.clone();
        tasks.spawn(async move {
            // A client that hangs up ends its conversation.
            drop(converse(BufReader::new(stream), &world).await);
        });
    }
}

async fn converse(mut stream: BufReader<TcpStream>, world: &SandboxState) -> io::Result<()> {
    let mut to = String::new();
    say(&mut stream, "220 sandbox ESMTP").await?;
    while let Some(line) = read(&mut stream).await? {
        let command = line.split([' ', ':']).next().unwrap_or_default();
        let reply = match command.to_ascii_uppercase().as_str() {
            "EHLO" => "250-sandbox\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
            "HELO" | "RSET" | "NOOP" | "MAIL" => "250 2.0.0 Ok",
            "RCPT" => {
                to = bracketed(&line, str::to_ascii_lowercase);
                if to.starts_with(GONE) {
                    "550 5.1.1 There is no such mailbox"
                } else {
                    "250 2.1.5 Ok"
                }
            }
            "DATA" => {
                say(&mut stream, "354 End data with <CR><LF>.<CR><LF>").await?;
                let Some(mail) = body(&mut stream).await? else {
                    return Ok(());
                };
                keep(world, &to, mail.as_bytes());
                "250 2.0.0 Ok"
            }
            "QUIT" => return say(&mut stream, "221 2.0.0 Bye").await,
            _ => "502 5.5.2 This command is not known here",
        };
        say(&mut stream, reply).await?;
    }
    Ok(())
}

/// The lines of a mail; `None` if the client hangs up, or never ends.
async fn body(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut mail = String::new();
    while let Some(line) = read(stream).await? {
        if line == "." {
            return Ok(Some(mail));
        }
        if mail.len() + line.len() > MAX_BYTES {
            return Ok(None);
        }
        mail.push_str(line.strip_prefix('.').unwrap_or(&line));
        mail.push_str("\r\n");
    }
    Ok(None)
}

/// Shows a mail with what the phones have got.
fn keep(world: &SandboxState, to: &str, bytes: &[u8]) {
    let mail = MessageParser::default().parse(bytes);
    let text = mail.as_ref().and_then(|mail| mail.body_text(0));
    // Of a mail without HTML the parser would make some of its text.
    let html = mail.as_ref().and_then(|mail| {
        let part = mail.html_part(0)?;
        part.is_text_html().then(|| mail.body_html(0)).flatten()
    });
    let subject = mail.as_ref().and_then(|mail| mail.subject());
    let unsubscribe = mail
        .as_ref()
        .and_then(|mail| mail.header_raw("List-Unsubscribe"))
        .map(|links| bracketed(links, str::to_owned));
    let content = json!({ "type": "email", "subject": subject, "text": text, "html": html, "unsubscribe": unsubscribe });
    world.phones.keep("email", to, &content);
}

/// What stands between the first brackets, as it is to be kept.
fn bracketed(line: &str, kept: fn(&str) -> String) -> String {
    let inner = line
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| kept(address))
}

async fn say(stream: &mut BufReader<TcpStream>, reply: &str) -> io::Result<()> {
    let line = format!("{reply}\r\n");
    stream.get_mut().write_all(line.as_bytes()).await
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = timeout(IDLE, stream.read_line(&mut line)).await??;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
