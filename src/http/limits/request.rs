//! Middleware that determines the client of a request and applies the limits.

use std::{
    cell::Cell,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header::HeaderMap,
    middleware::Next,
    web,
};
use bytes::Bytes;

use super::{RequestLimiter, body::TimedPayload, connection::HttpConnection};
use crate::{
    domain::address::{self, TrustedProxies},
    http::problem::ApiProblem,
    state::{ClientAddress, ProxyTrust},
};

/// The texts of all headers of a name, in order.
fn lines<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
}

/// The client of a request, and how it arrived. `X-Forwarded-For` has precedence: proxies that
/// write it often pass on a `Forwarded` of the client's own.
fn caller(headers: &HeaderMap, peer: Option<IpAddr>, proxies: &TrustedProxies) -> ClientAddress {
    let mut hops: Vec<&str> = lines(headers, "X-Forwarded-For").collect();
    if hops.is_empty() {
        hops = lines(headers, "Forwarded")
            .map(address::forwarded_for)
            .collect();
    }
    let Some(peer) = peer else {
        return ClientAddress::new(None, ProxyTrust::None);
    };
    let proxy = match (hops.is_empty(), proxies.contains(peer)) {
        (false, true) => ProxyTrust::Trusted,
        (false, false) if address::is_private(peer) => ProxyTrust::NotTrusted,
        (true, _) | (false, false) => ProxyTrust::None,
    };
    ClientAddress::new(Some(proxies.client(peer, hops.into_iter())), proxy)
}

/// A request in progress on a connection, until its response has been written.
struct ActiveRequest {
    limiter: web::Data<RequestLimiter>,
    connection: Option<Arc<HttpConnection>>,
    caller: ClientAddress,
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let peers = &self.limiter.peers;
        let now = Instant::now();
        let is_proven = self.caller.has_proven();
        if is_proven {
            peers.remember(self.caller.address, now);
        }
        if let Some(connection) = &self.connection {
            let is_known = peers.is_known(connection.peer, now);
            let is_settled = self
                .limiter
                .connections
                .rest(connection, is_proven, is_known);
            connection.finish(is_settled);
        }
    }
}

/// The body of a response, with the request that ends with it.
pub struct TrackedResponseBody {
    body: BoxBody,
    _turn: ActiveRequest,
}

impl MessageBody for TrackedResponseBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// Determines the client of a request, limits its concurrent requests, and gives the body a
/// deadline. A body that misses it is answered 408, whatever its handler does.
pub async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<TrackedResponseBody>, Error> {
    let Some(limiter) = request.app_data::<web::Data<RequestLimiter>>().cloned() else {
        return Err(ApiProblem::Internal.into());
    };
    let mut request = request;
    let connection = request.conn_data::<Arc<HttpConnection>>().cloned();
    let peer = request.peer_addr().map(|address| address.ip());
    let caller = caller(request.headers(), peer, &limiter.limits.proxies);
    if caller.proxy == ProxyTrust::NotTrusted && !limiter.proxy_seen.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            event = "http.proxy_not_trusted",
            "requests arrive through a proxy that is not in HERALD_TRUSTED_PROXIES: all its clients count as one address and share its limits"
        );
    }
    let now = Instant::now();
    let is_known = limiter.peers.is_known(caller.address, now);
    let admitted = connection.as_ref().is_none_or(|connection| {
        let admitted = limiter
            .connections
            .begin(connection, caller.address, is_known);
        connection.begin();
        admitted
    });
    request.extensions_mut().insert(caller.clone());
    let turn = ActiveRequest {
        limiter: limiter.clone(),
        connection: connection.clone(),
        caller: caller.clone(),
    };
    if !admitted {
        metrics::counter!("herald_http_refused_total", "reason" => "address").increment(1);
        let response = request.into_response(ApiProblem::TooMany.error_response());
        return Ok(answered(response, turn));
    }
    let is_late = Rc::new(Cell::new(false));
    match request.take_payload() {
        Payload::None => {}
        payload => {
            let timed = TimedPayload::new(
                payload,
                limiter.clone(),
                connection,
                limiter.patience(caller.address),
                Rc::clone(&is_late),
            );
            request.set_payload(Payload::Stream {
                payload: Box::pin(timed),
            });
        }
    }
    let response = next.call(request).await;
    if is_late.get() {
        metrics::counter!("herald_http_refused_total", "reason" => "late").increment(1);
        limiter.peers.note_late(caller.address, now);
        let late = response?.into_response(ApiProblem::Late.error_response());
        return Ok(answered(late, turn));
    }
    Ok(answered(response?, turn))
}

fn answered(
    response: ServiceResponse<impl MessageBody + 'static>,
    turn: ActiveRequest,
) -> ServiceResponse<TrackedResponseBody> {
    response.map_body(|_, body| TrackedResponseBody {
        body: body.boxed(),
        _turn: turn,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{ProxyTrust, TrustedProxies, caller};

    #[test]
    fn the_address_that_a_trusted_proxy_names_is_the_callers() {
        let proxies = TrustedProxies::parse("127.0.0.1").unwrap();
        let forwarded = "for=192.0.2.60;proto=http, for=198.51.100.17";
        for (headers, peer, address, proxy) in [
            (vec![], "127.0.0.1", "127.0.0.1", ProxyTrust::None),
            (
                vec![("x-forwarded-for", "192.0.2.1")],
                "127.0.0.1",
                "192.0.2.1",
                ProxyTrust::Trusted,
            ),
            // Several headers are one list.
            (
                vec![
                    ("x-forwarded-for", "203.0.113.9"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "127.0.0.1",
                "192.0.2.1",
                ProxyTrust::Trusted,
            ),
            (
                vec![("forwarded", forwarded)],
                "127.0.0.1",
                "198.51.100.17",
                ProxyTrust::Trusted,
            ),
            (
                vec![
                    ("forwarded", "for=203.0.113.9"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "127.0.0.1",
                "192.0.2.1",
                ProxyTrust::Trusted,
            ),
            (
                vec![("x-forwarded-for", "192.0.2.1")],
                "172.17.0.1",
                "172.17.0.1",
                ProxyTrust::NotTrusted,
            ),
            (
                vec![("x-forwarded-for", "192.0.2.1")],
                "203.0.113.5",
                "203.0.113.5",
                ProxyTrust::None,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            let found = caller(&map, Some(peer.parse().unwrap()), &proxies);
            assert_eq!(
                (found.address, found.proxy),
                (Some(address.parse().unwrap()), proxy),
                "{headers:?} from {peer}"
            );
        }
    }
}
