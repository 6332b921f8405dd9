//! What plays a provider: it deals with messages as a test says, and remembers them.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use crate::harness::listen_at;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandInFate {
    /// It is taken, with this id where the provider gives it one.
    Taken(&'static str),
    /// The same, but the answer comes only when the test says so.
    TakenSlowly(&'static str),
    /// It is refused for the message's sake.
    Refused,
    /// It is refused because the key is wrong.
    Denied,
    /// It is taken, and the connection ends before the answer.
    Lost,
}

/// A stand-in, as the tests need it.
pub trait ProviderStandIn {
    fn port(&self) -> u16;

    /// What becomes of the next messages.
    fn plays(&self, fates: &[StandInFate]);

    /// What was sent to it, as text.
    fn messages(&self) -> Vec<String>;

    /// Until an answer is being held back.
    async fn until_slow(&self);

    /// Gives the answer that was held back.
    fn release(&self);

    /// Nothing listens any more.
    async fn stop(&self);

    /// It listens again at the same address.
    async fn restart(&self);
}

/// How a provider of the HTTP sort answers: a message with this fate, or a read of this path.
pub trait HttpAnswers: Clone + Send + Sync + 'static {
    fn answer(&self, fate: StandInFate) -> (u16, Value);

    fn read(&self, path: &str) -> Option<(u16, Value)>;
}

#[derive(Default)]
struct HttpStandInState {
    fates: VecDeque<StandInFate>,
    messages: Vec<Value>,
}

struct HttpStandInShared<A> {
    answers: A,
    state: Mutex<HttpStandInState>,
    is_slow: Notify,
    goes_on: Notify,
}

/// An HTTP server.
pub struct HttpStandIn<A> {
    address: SocketAddr,
    shared: Arc<HttpStandInShared<A>>,
    serving: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl<A: HttpAnswers> HttpStandIn<A> {
    pub async fn start(answers: A) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(HttpStandInShared {
            answers,
            state: Mutex::default(),
            is_slow: Notify::new(),
            goes_on: Notify::new(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            serving: tokio::sync::Mutex::new(Some(serving)),
        }
    }

    /// The bodies of the messages, as they came.
    pub fn bodies(&self) -> Vec<Value> {
        self.shared.state.lock().unwrap().messages.clone()
    }
}

impl<A: HttpAnswers> ProviderStandIn for HttpStandIn<A> {
    fn port(&self) -> u16 {
        self.address.port()
    }

    fn plays(&self, fates: &[StandInFate]) {
        self.shared.state.lock().unwrap().fates = fates.iter().copied().collect();
    }

    fn messages(&self) -> Vec<String> {
        self.bodies().iter().map(Value::to_string).collect()
    }

    async fn until_slow(&self) {
        self.shared.is_slow.notified().await;
    }

    fn release(&self) {
        self.shared.goes_on.notify_one();
    }

    async fn stop(&self) {
        let serving = self.serving.lock().await.take().unwrap();
        serving.abort();
        drop(serving.await);
    }

    async fn restart(&self) {
        let serving = tokio::spawn(serve(listen_at(self.address), Arc::clone(&self.shared)));
        *self.serving.lock().await = Some(serving);
    }
}

async fn serve<A: HttpAnswers>(listener: TcpListener, shared: Arc<HttpStandInShared<A>>) {
    // They end with this task.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        open.spawn(converse(stream, Arc::clone(&shared)));
    }
}

/// Answers requests until the connection ends.
async fn converse<A: HttpAnswers>(mut stream: TcpStream, shared: Arc<HttpStandInShared<A>>) {
    while let Some((method, path, body)) = request(&mut stream).await {
        let (status, body) = if method == "POST" {
            let fate = {
                let mut state = shared.state.lock().unwrap();
                state.messages.push(serde_json::from_slice(&body).unwrap());
                state.fates.pop_front().unwrap()
            };
            match fate {
                StandInFate::Lost => return,
                StandInFate::TakenSlowly(_) => {
                    shared.is_slow.notify_one();
                    shared.goes_on.notified().await;
                }
                StandInFate::Taken(_) | StandInFate::Refused | StandInFate::Denied => {}
            }
            shared.answers.answer(fate)
        } else {
            let read = shared.answers.read(&path);
            read.unwrap_or_else(|| (200, serde_json::json!({})))
        };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Method, path and body of a request; nothing once the connection has ended.
async fn request(stream: &mut TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok()?;
        if count == 0 {
            return None;
        }
        read.extend_from_slice(&chunk[..count]);
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        })
        .unwrap_or(0_usize);
    let mut body = read[end..].to_vec();
    while body.len() < length {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.ok()?;
        if count == 0 {
            return None;
        }
        body.extend_from_slice(&chunk[..count]);
    }
    Some((method, path, body))
}
