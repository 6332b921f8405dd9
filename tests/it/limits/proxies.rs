//! Behind a proxy: whose a request is, and what is bounded by that.

use std::time::{Duration, Instant};

use super::{
    HALF_LOGIN, LONG, LONG_BODY, forged,
    stranger::{Stranger, callback},
};
use crate::harness::{APP_SECRET, Database, TestApp};

crate::tests![
    failures_count_against_the_forwarded_address,
    without_trust_the_forwarded_address_is_not_believed,
    a_trusted_proxy_may_open_more_connections_than_an_address,
    the_requests_of_one_forwarded_network_are_bounded,
    answers_that_are_delayed_keep_no_place_from_good_callbacks,
    livez_says_whether_the_proxy_is_trusted,
];

const TRUSTED: (&str, &str) = ("HERALD_TRUSTED_PROXIES", "127.0.0.1");

fn forwarded(address: &str) -> String {
    format!("X-Forwarded-For: {address}\r\n")
}

/// Has so many callbacks refused one after the other. How long the last one took.
async fn fail(app: &TestApp, address: &str, times: u32) -> Duration {
    let mut proxy = Stranger::sends(app, "127.0.0.1", "").await;
    let mut last = Duration::ZERO;
    for _ in 0..times {
        let started = Instant::now();
        assert!(proxy.send(&forged(&forwarded(address))).await);
        let answer = proxy.answer().await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        last = started.elapsed();
    }
    last
}

/// What an address is made to wait that has failed often, at the most.
const SLOWED: Duration = Duration::from_millis(800);

async fn failures_count_against_the_forwarded_address(database: Database) {
    let app = TestApp::spawn_with(&database, &[TRUSTED], "").await;
    assert!(fail(&app, "192.0.2.1", 10).await >= SLOWED);
    assert!(fail(&app, "192.0.2.1", 1).await >= SLOWED);
    assert!(fail(&app, "192.0.2.2", 1).await < SLOWED);
    // The client's own header stands before what the proxy adds.
    assert!(fail(&app, "192.0.2.2, 192.0.2.1", 1).await >= SLOWED);
}

async fn without_trust_the_forwarded_address_is_not_believed(database: Database) {
    let app = TestApp::spawn_with(&database, &[], "").await;
    assert!(fail(&app, "192.0.2.1", 10).await >= SLOWED);
    assert!(fail(&app, "192.0.2.2", 1).await >= SLOWED);
}

async fn a_trusted_proxy_may_open_more_connections_than_an_address(database: Database) {
    let settings = [
        TRUSTED,
        LONG,
        LONG_BODY,
        ("HERALD_HTTP_CONNECTIONS_PER_ADDRESS", "2"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(Stranger::sends(&app, "127.0.0.1", "").await);
    }
    for proxy in &mut open {
        assert!(
            proxy
                .send("GET /livez HTTP/1.1\r\nHost: herald\r\n\r\n")
                .await
        );
        assert!(proxy.answer().await.starts_with("HTTP/1.1 200"));
    }
}

async fn the_requests_of_one_forwarded_network_are_bounded(database: Database) {
    let settings = [
        TRUSTED,
        LONG,
        LONG_BODY,
        ("HERALD_HTTP_CONNECTIONS_PER_ADDRESS", "2"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    // An answer to `Expect` says that the request has begun.
    let half = |address: &str| {
        let headers = format!("{}Expect: 100-continue\r\nHost:", forwarded(address));
        HALF_LOGIN
            .replace("Host:", &headers)
            .trim_end_matches("name=")
            .to_owned()
    };
    let mut open = Vec::new();
    for address in [
        "2001:db8:1:2::1",
        "2001:db8:1:3::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2::3",
    ] {
        let mut proxy = Stranger::sends(&app, "127.0.0.1", &half(address)).await;
        assert!(proxy.answer().await.starts_with("HTTP/1.1 100"));
        open.push(proxy);
    }
    // The oldest of the network has ended; the neighbours' is as it was.
    assert_eq!(open[0].until_closed().await, "");
    for proxy in &mut open[1..] {
        assert!(proxy.send(&"x".repeat(100)).await);
        let answer = proxy.answer().await;
        assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    }
}

async fn livez_says_whether_the_proxy_is_trusted(database: Database) {
    for (settings, header, says) in [
        (&[TRUSTED][..], "", "none"),
        (&[TRUSTED], "X-Forwarded-For: 192.0.2.1\r\n", "trusted"),
        (&[TRUSTED], "Forwarded: for=192.0.2.1\r\n", "trusted"),
        (&[], "X-Forwarded-For: 192.0.2.1\r\n", "not_trusted"),
    ] {
        let app = TestApp::spawn_with(&database, settings, "").await;
        let request = format!("GET /livez HTTP/1.1\r\nHost: herald\r\n{header}\r\n");
        let answer = app.raw(&request).await;
        let expected = format!(r#""proxy":"{says}""#);
        assert!(answer.contains(&expected), "{header}: {answer}");
    }
}

/// All clients of a proxy that is not trusted share the places of one address.
async fn answers_that_are_delayed_keep_no_place_from_good_callbacks(database: Database) {
    let settings = [LONG, ("HERALD_HTTP_CONNECTIONS_PER_ADDRESS", "2")];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    assert!(fail(&app, "192.0.2.1", 10).await >= SLOWED);
    let mut delayed = Vec::new();
    for _ in 0..2 {
        delayed.push(Stranger::sends(&app, "127.0.0.1", &forged("Expect: 100-continue\r\n")).await);
    }
    for stranger in &mut delayed {
        assert!(stranger.answer().await.starts_with("HTTP/1.1 100"));
    }
    // They are looked at for a moment before they are delayed: no place is free then.
    let started = Instant::now();
    let good = callback("{}", APP_SECRET, "");
    let answer = loop {
        let mut stranger = Stranger::sends(&app, "127.0.0.1", &good).await;
        let answer = stranger.answer().await;
        if !answer.is_empty() {
            break answer;
        }
        assert!(started.elapsed() < SLOWED, "no place");
    };
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(started.elapsed() < SLOWED);
}
