//! What strangers may take of connections, time and memory, and that good callbacks get
//! through meanwhile. Deadlines are short by settings, and the end of a connection is awaited.

pub mod proxies;
mod stranger;

use std::time::{Duration, Instant};

use crate::harness::{APP_SECRET, Database, TestApp, sign};
use stranger::{Stranger, callback};

crate::tests![
    a_login_that_is_half_sent_is_answered_408_and_closed,
    a_body_that_drips_is_answered_408,
    a_body_that_comes_in_time_is_taken_however_it_is_cut,
    the_unread_body_of_an_answered_request_does_not_hold_its_connection,
    a_connection_that_says_nothing_is_closed,
    a_head_that_is_not_finished_is_closed_the_second_one_too,
    a_client_that_does_not_read_its_answers_is_closed,
    an_address_that_keeps_asking_for_the_contract_gets_it_at_a_bounded_rate,
    what_is_announced_and_not_sent_takes_no_room_from_callbacks,
    an_address_that_signs_well_has_its_callback_taken_after_late_bodies,
    the_oldest_connection_of_an_address_ends_for_its_next,
    good_callbacks_pass_while_strangers_hold_every_connection,
    more_connections_than_the_files_allow_are_not_kept,
];

/// Waits that no test here lives to see.
const LONG: (&str, &str) = ("HERALD_HTTP_WAIT_MILLISECONDS", "600000");
const LONG_BODY: (&str, &str) = ("HERALD_HTTP_BODY_WAIT_MILLISECONDS", "600000");
const SHORT: (&str, &str) = ("HERALD_HTTP_WAIT_MILLISECONDS", "300");
const SHORT_BODY: (&str, &str) = ("HERALD_HTTP_BODY_WAIT_MILLISECONDS", "300");

/// A login form of which the last bytes do not come.
pub const HALF_LOGIN: &str = "POST /dashboard/login HTTP/1.1\r\nHost: herald\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname=";

async fn a_login_that_is_half_sent_is_answered_408_and_closed(database: Database) {
    let app = TestApp::spawn_with(&database, &[LONG, SHORT_BODY], "").await;
    let mut logins = Vec::new();
    for _ in 0..20 {
        logins.push(Stranger::sends(&app, "127.0.0.2", HALF_LOGIN).await);
    }
    for mut login in logins {
        let answer = login.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("/problems/late"), "{answer}");
    }
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 200);
}

async fn a_body_that_drips_is_answered_408(database: Database) {
    let app = TestApp::spawn_with(&database, &[LONG, SHORT_BODY], "").await;
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {}\r\nContent-Length: 100000\r\n\r\n",
        app.key
    );
    let mut drip = Stranger::sends(&app, "127.0.0.1", &head).await;
    let started = Instant::now();
    let answer = loop {
        if !drip.send(" ").await {
            break drip.until_closed().await;
        }
        if let Some(answer) = drip.answer_within(Duration::from_millis(10)).await {
            break answer;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it drips on");
    };
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

async fn a_body_that_comes_in_time_is_taken_however_it_is_cut(database: Database) {
    let app = TestApp::spawn(&database).await;
    let body = format!(r#"{{"entry":[],"text":"{}"}}"#, "x".repeat(300 * 1024));
    let request = callback(&body, APP_SECRET, "");
    let mut sender = Stranger::sends(&app, "127.0.0.1", "").await;
    for part in request.as_bytes().chunks(7000) {
        assert!(sender.send(std::str::from_utf8(part).unwrap()).await);
    }
    let answer = sender.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn the_unread_body_of_an_answered_request_does_not_hold_its_connection(database: Database) {
    let app = TestApp::spawn_with(&database, &[SHORT, LONG_BODY], "").await;
    // Refused before its body is read; the rest of a chunked body is thrown away, but not for ever.
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: herald\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut open = Stranger::sends(&app, "127.0.0.2", head).await;
    let answer = open.until_closed().await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

async fn a_connection_that_says_nothing_is_closed(database: Database) {
    let app = TestApp::spawn_with(&database, &[SHORT], "").await;
    let mut silent = Stranger::sends(&app, "127.0.0.2", "").await;
    assert_eq!(silent.until_closed().await, "");
    assert!(
        metric(
            &app,
            r#"herald_http_connections_ended_total{reason="idle"}"#
        )
        .await
    );
}

async fn a_head_that_is_not_finished_is_closed_the_second_one_too(database: Database) {
    let app = TestApp::spawn_with(&database, &[SHORT], "").await;
    let half = "POST /webhooks/meta HTTP/1.1\r\nHost: her";
    let mut first = Stranger::sends(&app, "127.0.0.2", half).await;
    assert_eq!(first.until_closed().await, "");
    // A complete request before it changes nothing, be it one that is signed well.
    let mut second = Stranger::sends(&app, "127.0.0.2", &callback("{}", APP_SECRET, "")).await;
    let answer = second.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(second.send(half).await);
    assert_eq!(second.until_closed().await, "");
    assert!(
        metric(
            &app,
            r#"herald_http_connections_ended_total{reason="head"}"#
        )
        .await
    );
}

async fn a_client_that_does_not_read_its_answers_is_closed(database: Database) {
    let app = TestApp::spawn_with(&database, &[SHORT], "").await;
    let mut slow = Stranger::sends(&app, "127.0.0.2", "").await;
    let requests = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: herald\r\n\r\n".repeat(20);
    let started = Instant::now();
    while slow.send(&requests).await {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "it is answered on and on"
        );
    }
    assert!(
        metric(
            &app,
            r#"herald_http_connections_ended_total{reason="unread"}"#
        )
        .await
    );
}

async fn an_address_that_keeps_asking_for_the_contract_gets_it_at_a_bounded_rate(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    let mut sizes = Vec::new();
    let status = loop {
        let (status, answer) = app.text("/api/v1/openapi.json").await;
        if status != 200 || sizes.len() > 1000 {
            break status;
        }
        sizes.push(answer.len());
    };
    assert_eq!(status, 429, "after {} answers", sizes.len());
    // Two megabytes at once, and what the rate allows for the time that it took.
    assert!(sizes.iter().sum::<usize>() > 2 * 1024 * 1024);
    // Nothing else is held against the address.
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 200);
    assert_eq!(app.get("/api/v1/notifications").await.0, 200);
    assert!(metric(&app, r#"herald_http_refused_total{reason="answers"}"#).await);
}

async fn what_is_announced_and_not_sent_takes_no_room_from_callbacks(database: Database) {
    let settings = [
        ("HERALD_INBOX_MEGABYTES", "4"),
        ("HERALD_INBOX_WAIT_MILLISECONDS", "1000"),
        LONG,
        LONG_BODY,
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    let head = format!(
        "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nX-Hub-Signature-256: sha256={}\r\nExpect: 100-continue\r\nContent-Length: 262144\r\n\r\n",
        "0".repeat(64)
    );
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut stranger = Stranger::sends(&app, "127.0.0.2", &head).await;
        let answer = stranger.answer().await;
        assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
        assert!(stranger.send("x").await);
        waiting.push(stranger);
    }
    let started = Instant::now();
    for number in 0..50 {
        let body = format!(r#"{{"entry":[],"number":{number}}}"#).into_bytes();
        assert_eq!(app.callback_bytes(body).await, 200);
    }
    // One of the size that is announced, too.
    assert_eq!(app.callback_bytes(vec![b' '; 250 * 1024]).await, 200);
    assert!(started.elapsed() < Duration::from_secs(20));
}

async fn an_address_that_signs_well_has_its_callback_taken_after_late_bodies(database: Database) {
    let app = TestApp::spawn_with(&database, &[LONG, SHORT_BODY], "").await;
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 200);
    let mut late = Vec::new();
    for _ in 0..10 {
        late.push(Stranger::sends(&app, "127.0.0.1", HALF_LOGIN).await);
    }
    for mut stranger in late {
        let answer = stranger.until_closed().await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    // Its signatures that do not fit are not slowed by that: late bodies count apart.
    let started = Instant::now();
    assert_eq!(app.callback_with(b"{}".to_vec(), None).await.0, 401);
    assert_eq!(app.callback_bytes(b"[]".to_vec()).await, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(metric(&app, r#"herald_http_refused_total{reason="late"}"#).await);
}

async fn the_oldest_connection_of_an_address_ends_for_its_next(database: Database) {
    let settings = [
        LONG,
        LONG_BODY,
        ("HERALD_HTTP_CONNECTIONS_PER_ADDRESS", "3"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    let mut other = Stranger::sends(&app, "127.0.0.3", HALF_LOGIN).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        let mut stranger = Stranger::sends(&app, "127.0.0.2", "").await;
        // An answer says that it was taken in.
        assert!(
            stranger
                .send("GET /livez HTTP/1.1\r\nHost: herald\r\n\r\n")
                .await
        );
        assert!(stranger.answer().await.starts_with("HTTP/1.1 200"));
        open.push(stranger);
    }
    for stranger in &mut open[..3] {
        assert_eq!(stranger.until_closed().await, "");
    }
    for stranger in &mut open[3..] {
        assert!(
            stranger
                .send("GET /livez HTTP/1.1\r\nHost: herald\r\n\r\n")
                .await
        );
        assert!(stranger.answer().await.starts_with("HTTP/1.1 200"));
    }
    // Another address's are not touched.
    assert!(other.send(&"x".repeat(95)).await);
    let answer = other.answer().await;
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
}

async fn good_callbacks_pass_while_strangers_hold_every_connection(database: Database) {
    let settings = [LONG, LONG_BODY, ("HERALD_HTTP_CONNECTIONS", "16")];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    let mut kept = Stranger::sends(&app, "127.0.0.1", &callback("{}", APP_SECRET, "")).await;
    assert!(kept.answer().await.starts_with("HTTP/1.1 200"));
    let mut strangers = Vec::new();
    for number in 0..200 {
        let text = ["", "GET / HT", HALF_LOGIN][number % 3];
        let address = format!("127.0.{}.{}", number / 100, 2 + number % 100);
        strangers.push(Stranger::sends(&app, &address, text).await);
        if number % 20 == 0 {
            let body = format!(r#"{{"entry":[],"number":{number}}}"#);
            assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
        }
    }
    // The first of them have ended for the others; the one that has signed well is still there.
    strangers[0].until_closed().await;
    assert!(kept.send(&callback("[]", APP_SECRET, "")).await);
    assert!(kept.answer().await.starts_with("HTTP/1.1 200"));
    // From an address that nothing is known of as well.
    let mut new = Stranger::sends(&app, "127.0.9.9", &callback("[1]", APP_SECRET, "")).await;
    assert!(new.answer().await.starts_with("HTTP/1.1 200"));
    assert!(
        metric(
            &app,
            r#"herald_http_connections_ended_total{reason="displaced"}"#
        )
        .await
    );
}

async fn more_connections_than_the_files_allow_are_not_kept(database: Database) {
    let app = TestApp::spawn_with(&database, &[("HERALD_HTTP_CONNECTIONS", "1000000")], "").await;
    let (_, metrics) = app.text("/metrics").await;
    let figure = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("{name} is missing: {metrics}"))
    };
    assert!(figure("herald_file_limit ") > 0.0);
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "the soft limit is the hard one: {line}");
}

/// Whether a metric is there.
pub async fn metric(app: &TestApp, name: &str) -> bool {
    let (_, metrics) = app.text("/metrics").await;
    metrics.lines().any(|line| line.starts_with(name))
}

/// A callback that is signed with another secret, `headers` included.
pub fn forged(headers: &str) -> String {
    let request = callback("{}", "another secret", headers);
    assert!(!request.contains(&sign(APP_SECRET, b"{}")));
    request
}
