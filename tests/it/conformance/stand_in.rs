//! An HTTP server that plays a provider: it answers messages as a test says, and remembers them.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How a message is answered.
#[derive(Clone, Debug)]
pub enum StandInAnswer {
    Said(u16, Value),
    /// The message is taken, and the connection ends before the answer.
    Lost,
}

impl From<(u16, Value)> for StandInAnswer {
    fn from((status, body): (u16, Value)) -> Self {
        Self::Said(status, body)
    }
}

type Reads = Box<dyn Fn(&str) -> Option<(u16, Value)> + Send>;

#[derive(Default)]
struct StandInState {
    answers: VecDeque<StandInAnswer>,
    reads: Option<Reads>,
    messages: Vec<Value>,
}

/// The server.
pub struct StandIn {
    pub base: String,
    address: SocketAddr,
    state: Arc<Mutex<StandInState>>,
    serving: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<StandInState>>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self {
            base: format!("http://{address}"),
            address,
            state,
            serving: tokio::sync::Mutex::new(Some(serving)),
        }
    }

    /// Nothing listens any more.
    pub async fn stop(&self) {
        let serving = self.serving.lock().await.take().unwrap();
        serving.abort();
        drop(serving.await);
    }

    /// It listens again at the same address.
    pub async fn restart(&self) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap();
        let serving = tokio::spawn(serve(listener, Arc::clone(&self.state)));
        *self.serving.lock().await = Some(serving);
    }

    /// The answers to messages, one after another; the last one is repeated for reads of its path
    /// only as `reads` says.
    pub fn plays(&self, answers: &[StandInAnswer], reads: impl Fn(&str) -> Option<(u16, Value)>) {
        let known = ["/chat/phonenumbers", "/chat/templates"].map(|path| (path, reads(path)));
        let mut state = self.state.lock().unwrap();
        state.answers = answers.iter().cloned().collect();
        state.reads = Some(Box::new(move |path| {
            let found = known.iter().find(|(known, _)| path.starts_with(known));
            found.and_then(|(_, answer)| answer.clone())
        }));
    }

    /// The bodies of the messages, as they came.
    pub fn messages(&self) -> Vec<Value> {
        self.state.lock().unwrap().messages.clone()
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<StandInState>>) {
    // They end with this task.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        open.spawn(converse(stream, Arc::clone(&state)));
    }
}

/// Answers requests until the connection ends.
async fn converse(mut stream: TcpStream, state: Arc<Mutex<StandInState>>) {
    while let Some((method, path, body)) = request(&mut stream).await {
        let answer = if method == "POST" {
            let mut state = state.lock().unwrap();
            state.messages.push(serde_json::from_slice(&body).unwrap());
            state.answers.pop_front().unwrap()
        } else {
            let state = state.lock().unwrap();
            let said = state.reads.as_ref().and_then(|reads| reads(&path));
            let (status, body) = said.unwrap_or((200, serde_json::json!({})));
            StandInAnswer::Said(status, body)
        };
        let StandInAnswer::Said(status, body) = answer else {
            return;
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
