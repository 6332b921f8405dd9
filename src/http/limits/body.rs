//! Deadline of request bodies, which must not arrive too slowly.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{dev::Payload, error::PayloadError, web};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{RequestLimiter, connection::HttpConnection};

/// Longest time for a body of any size, as a multiple of the usual wait.
const LONGEST: u32 = 5;

/// A body with a deadline. Only the time spent waiting for the peer counts, not our own work
/// between reads.
pub struct TimedPayload {
    payload: Payload,
    limiter: web::Data<RequestLimiter>,
    connection: Option<Arc<HttpConnection>>,
    is_late: Rc<Cell<bool>>,
    patience: Duration,
    received: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedPayload {
    pub fn new(
        payload: Payload,
        limiter: web::Data<RequestLimiter>,
        connection: Option<Arc<HttpConnection>>,
        patience: Duration,
        is_late: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            payload,
            limiter,
            connection,
            is_late,
            patience,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    fn note_waiting(&self, waits: bool) {
        if let Some(connection) = &self.connection {
            connection.let_end(waits);
        }
    }

    /// Its deadline, given the bytes received so far.
    fn until(&self, since: Instant) -> Instant {
        let allowed = self.patience + self.limiter.limits.time_for(self.received);
        since
            + allowed
                .min(self.patience * LONGEST)
                .saturating_sub(self.waited)
    }
}

impl Stream for TimedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_late.get() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(item) = Pin::new(&mut this.payload).poll_next(context) {
            if let Some(since) = this.waiting_since.take() {
                this.waited += since.elapsed();
                this.note_waiting(false);
            }
            if let Some(Ok(chunk)) = &item {
                let size = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                this.received = this.received.saturating_add(size);
            }
            return Poll::Ready(item);
        }
        let since = if let Some(since) = this.waiting_since {
            since
        } else {
            let now = Instant::now();
            this.waiting_since = Some(now);
            this.note_waiting(true);
            let until = this.until(now);
            match &mut this.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => this.timer = Some(Box::pin(sleep_until(until))),
            }
            now
        };
        let until = this.until(since);
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        match timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                this.note_waiting(false);
                this.is_late.set(true);
                Poll::Ready(Some(Err(PayloadError::Io(io::Error::from(
                    io::ErrorKind::TimedOut,
                )))))
            }
        }
    }
}
