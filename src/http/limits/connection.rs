//! The state of one connection, and how long it may wait for its peer.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::HttpLimits;

/// Idle time of a connection whose peer is known or trusted: longer than proxies keep theirs
/// (nginx: 60 s), so that none sends a request into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(75);

/// Why we ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpConnectionCloseReason {
    /// Nothing was received.
    Idle,
    /// The head of a request was not complete in time.
    Head,
    /// A response was not read.
    Unread,
    /// It made room for another.
    Displaced,
}

impl HttpConnectionCloseReason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Unread => "unread",
            Self::Displaced => "displaced",
        }
    }
}

/// The phase of a connection in its exchange of requests and responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HttpConnectionPhase {
    /// Nothing of the next request has arrived.
    Idle,
    /// A part of its head has arrived.
    Head,
    /// The head is complete and the response is not finished. The body has its own deadline.
    Request,
}

#[derive(Debug)]
struct HttpConnectionProgress {
    phase: HttpConnectionPhase,
    since: Instant,
    /// The peer has stopped reading: since when, and how many bytes it has taken meanwhile.
    stalled: Option<(Instant, u64)>,
    /// Whether it may be idle for long.
    is_settled: bool,
}

/// The state of one connection, shared by all parts of the server.
#[derive(Debug)]
pub struct HttpConnection {
    pub(super) id: u64,
    pub peer: Option<IpAddr>,
    progress: Mutex<HttpConnectionProgress>,
    /// It may be ended although it has a request: a body is awaited, or the response is delayed on
    /// purpose.
    may_end: AtomicBool,
    displaced: Notify,
}

impl HttpConnection {
    pub(super) fn new(id: u64, peer: Option<IpAddr>, is_settled: bool) -> Self {
        Self {
            id,
            peer,
            progress: Mutex::new(HttpConnectionProgress {
                phase: HttpConnectionPhase::Idle,
                since: Instant::now(),
                stalled: None,
                is_settled,
            }),
            may_end: AtomicBool::new(false),
            displaced: Notify::new(),
        }
    }

    fn progress(&self) -> MutexGuard<'_, HttpConnectionProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: HttpConnectionPhase) {
        let mut progress = self.progress();
        progress.phase = phase;
        progress.since = Instant::now();
    }

    /// The head of a request is complete.
    pub(super) fn begin(&self) {
        self.enter(HttpConnectionPhase::Request);
    }

    /// A response was handed over to be written. `is_settled` decides how long this connection may
    /// be idle.
    pub(super) fn finish(&self, is_settled: bool) {
        self.may_end.store(false, Ordering::Relaxed);
        self.enter(HttpConnectionPhase::Idle);
        self.progress().is_settled = is_settled;
    }

    pub(super) fn let_end(&self, may_end: bool) {
        self.may_end.store(may_end, Ordering::Relaxed);
    }

    fn received(&self) {
        let mut progress = self.progress();
        if progress.phase == HttpConnectionPhase::Idle {
            progress.phase = HttpConnectionPhase::Head;
            progress.since = Instant::now();
        }
    }

    fn stalled(&self) {
        let mut progress = self.progress();
        progress.stalled.get_or_insert_with(|| (Instant::now(), 0));
    }

    fn wrote(&self, bytes: usize) {
        if let Some((_, taken)) = &mut self.progress().stalled {
            *taken = taken.saturating_add(bytes.try_into().unwrap_or(u64::MAX));
        }
    }

    /// Everything has been written.
    fn flushed(&self) {
        let mut progress = self.progress();
        if progress.stalled.take().is_some() && progress.phase == HttpConnectionPhase::Idle {
            progress.since = Instant::now();
        }
    }

    /// Whether it is the peer's turn: ending such a connection loses nothing of ours.
    pub(super) fn waits_for_peer(&self) -> bool {
        let progress = self.progress();
        progress.stalled.is_some()
            || progress.phase != HttpConnectionPhase::Request
            || self.may_end.load(Ordering::Relaxed)
    }

    /// Ends it to make room for another connection.
    pub(super) fn displace(&self) {
        self.displaced.notify_one();
    }

    /// When it will have waited long enough for its peer, in its present state.
    fn due(&self, limits: &HttpLimits) -> Option<(Instant, HttpConnectionCloseReason)> {
        let progress = self.progress();
        if let Some((since, taken)) = progress.stalled {
            return Some((
                since + limits.wait + limits.time_for(taken),
                HttpConnectionCloseReason::Unread,
            ));
        }
        match progress.phase {
            HttpConnectionPhase::Idle if progress.is_settled => Some((
                progress.since + IDLE.max(limits.wait),
                HttpConnectionCloseReason::Idle,
            )),
            HttpConnectionPhase::Idle => Some((
                progress.since + limits.wait,
                HttpConnectionCloseReason::Idle,
            )),
            HttpConnectionPhase::Head => Some((
                progress.since + limits.wait,
                HttpConnectionCloseReason::Head,
            )),
            HttpConnectionPhase::Request => None,
        }
    }

    /// Waits until the connection must end.
    pub(in crate::http) async fn ended(&self, limits: &HttpLimits) -> HttpConnectionCloseReason {
        loop {
            let now = Instant::now();
            let due = self.due(limits);
            if let Some((at, reason)) = due
                && at <= now
            {
                return reason;
            }
            // A wait that begins after this check cannot end before the next one.
            let next = due.map_or(now + limits.wait, |(at, _)| at.min(now + limits.wait));
            tokio::select! {
                () = self.displaced.notified() => return HttpConnectionCloseReason::Displaced,
                () = sleep_until(next) => {}
            }
        }
    }
}

/// A stream that records what its connection is waiting for.
#[derive(Debug)]
pub struct ObservedStream {
    stream: TcpStream,
    pub connection: Arc<HttpConnection>,
}

impl ObservedStream {
    pub const fn new(stream: TcpStream, connection: Arc<HttpConnection>) -> Self {
        Self { stream, connection }
    }

    fn note_write(&self, written: &Poll<std::io::Result<usize>>) {
        match written {
            Poll::Pending => self.connection.stalled(),
            Poll::Ready(Ok(bytes)) => self.connection.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.received();
        }
        read
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_write(&written);
        written
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.connection.flushed();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
