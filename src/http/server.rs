//! The HTTP server: limits and deadlines of connections, and the application that answers on them.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, KeepAlive, Protocol, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactoryExt, apply_fn_factory, map_config};
use actix_web::{
    App,
    dev::AppConfig,
    middleware::{Condition, from_fn},
    web,
};
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::net::TcpStream;

use super::{
    headers,
    limits::{
        RequestLimiter,
        connection::{HttpConnection, ObservedStream},
        request,
    },
};

/// After a response to a request whose body was not read, the rest is discarded for so long: a peer
/// that is still sending could not read the response otherwise.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes that the system buffers of a response that is not read. The default takes megabytes
/// per connection, and those of a thousand slow readers are allocated and copied at once.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Connections that may wait to be accepted; the system allows no more than its own `somaxconn`.
/// The standard library asks for 128; when a thousand come at once, the others are retried by their
/// client's system after a second.
const BACKLOG: i32 = 4096;

/// Sets what all connections of a listener inherit, and the length of its queue.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES)?;
    // On a socket that listens already this changes the number.
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

/// Settings of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSettings {
    pub workers: usize,
    /// Connections accepted at once, by all workers together.
    pub open_at_once: usize,
    /// How long requests may continue when the server stops.
    pub stopping_seconds: u64,
    /// The public address is https: browsers must use nothing else.
    pub tls_only: bool,
}

/// Starts to listen. `configure` adds the routes, once for each worker.
///
/// # Errors
/// When the listener cannot be used.
pub fn listen(
    listener: TcpListener,
    listening: ListenerSettings,
    limiter: web::Data<RequestLimiter>,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Server> {
    prepare(&listener)?;
    let builder = Server::build()
        .workers(listening.workers)
        .max_concurrent_connections((listening.open_at_once / listening.workers).max(1))
        .disable_signals()
        .shutdown_timeout(listening.stopping_seconds);
    let stopping = builder.graceful_shutdown_signal();
    let builder = builder.listen("herald", listener, move || {
        let app = App::new()
            .app_data(limiter.clone())
            .wrap(from_fn(request::limit))
            .wrap(Condition::new(
                listening.tls_only,
                from_fn(headers::tls_only),
            ))
            .configure(configure.clone())
            .into_factory()
            .map_err(|error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // Both are decided by `HttpConnection`, which knows more.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|stream: &ObservedStream, extensions| {
                extensions.insert(Arc::clone(&stream.connection));
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let limiter = limiter.clone();
        apply_fn_factory(http, move |stream: TcpStream, service| {
            let peer = stream.peer_addr().ok();
            let connection = limiter.admit(peer.map(|address| address.ip()));
            let limiter = limiter.clone();
            let exchange = connection.map(|connection| {
                let place = HttpConnectionGuard {
                    limiter,
                    connection: Arc::clone(&connection),
                };
                let stream = ObservedStream::new(stream, connection);
                (place, service.call((stream, Protocol::Http1, peer)))
            });
            async move {
                let Some((place, exchange)) = exchange else {
                    return Ok::<(), DispatchError>(());
                };
                tokio::select! {
                    ended = exchange => ended,
                    reason = place.connection.ended(&place.limiter.limits) => {
                        metrics::counter!("herald_http_connections_ended_total", "reason" => reason.name())
                            .increment(1);
                        Ok(())
                    }
                }
            }
        })
    })?;
    Ok(builder.run())
}

/// A connection's place, released when it is closed.
struct HttpConnectionGuard {
    limiter: web::Data<RequestLimiter>,
    connection: Arc<HttpConnection>,
}

impl Drop for HttpConnectionGuard {
    fn drop(&mut self) {
        self.limiter.leave(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::prepare;

    #[test]
    fn many_connections_wait_to_be_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        // None is accepted: of the standard library's 128, the next would time out.
        let waiting: Vec<_> = (0..400)
            .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)).unwrap())
            .collect();
        assert_eq!(waiting.len(), 400);
    }
}
