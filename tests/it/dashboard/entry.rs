//! Coming in, and being kept out.

use herald::{
    domain::login::{DashboardRole, LINK_SECONDS},
    engine::runtime::{
        logins::{self, DashboardUserChange, DashboardUserError},
        passwords::MAX_WAITING,
        retention::RetentionCleaner,
    },
};
use reqwest::Method;

use super::{Browser, PASSWORD, link, ready, somebody};
use crate::{
    cli::{command, herald, text},
    harness::{Database, TestApp},
};

crate::tests![
    nobody_sees_a_page_without_a_login,
    a_link_lets_in_once_and_a_password_from_then_on,
    who_guesses_has_to_wait_and_unknown_names_look_the_same,
    many_guesses_at_once_are_all_counted,
    a_pause_that_a_clock_ahead_began_is_no_longer_than_others,
    many_names_from_one_address_have_to_wait_and_are_forgotten,
    who_finds_no_place_to_wait_is_asked_to_come_again,
    a_form_of_another_site_or_session_changes_nothing,
    whoever_is_let_in_no_more_is_out_at_once,
    who_is_in_stays_in_over_a_restart_and_not_over_half_a_day,
    what_the_database_keeps_lets_nobody_in,
    logins_are_made_on_the_command_line,
    what_was_ended_stays_ended,
];

const PAGES: [&str; 10] = [
    "/dashboard",
    "/dashboard/live",
    "/dashboard/notifications",
    "/dashboard/notifications/01990f2e-0000-7000-8000-000000000000",
    "/dashboard/callbacks",
    "/dashboard/callbacks/01990f2e-0000-7000-8000-000000000000",
    "/dashboard/senders",
    "/dashboard/senders/01990f2e-0000-7000-8000-000000000000",
    "/dashboard/audit",
    "/dashboard/hold",
];

async fn nobody_sees_a_page_without_a_login(database: Database) {
    let app = ready(&database).await;
    let mut browser = Browser::new(&app);
    for path in PAGES {
        let page = browser.get(path).await;
        assert_eq!(page.status, 303, "{path}");
        let next = path.replace('/', "%2F");
        assert_eq!(page.location, format!("/dashboard/login?next={next}"));
        assert_eq!(page.text, "");
        assert!(page.cookie.is_none(), "who only looks leaves nothing");
    }
    for path in [
        "/dashboard/logout",
        "/dashboard/notifications/bulk",
        "/dashboard/callbacks/replay",
        PAGES[3],
        PAGES[7],
    ] {
        let page = browser.post(path, &[("action", "retry")]).await;
        assert_eq!(page.status, 303, "{path}");
    }
    assert_eq!(browser.get("/").await.location, "/dashboard");
    assert_eq!(browser.get("/dashboard/nothing").await.status, 303);
    let page = browser
        .get("/dashboard/login?next=https://example.org/")
        .await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("name=\"next\" value=\"/dashboard\""));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert_eq!(page.headers["cache-control"], "no-store");
    assert_eq!(app.number("SELECT count(*) FROM session").await, 0);
}

async fn a_link_lets_in_once_and_a_password_from_then_on(database: Database) {
    let app = ready(&database).await;
    let path = link(&app, "ada").await;
    let mut browser = Browser::new(&app);
    let page = browser.get(&path).await;
    assert!(
        page.says("Welcome, <strong>ada</strong> (admin)"),
        "{}",
        page.text
    );
    let form = [("name", "ada"), ("password", "too short")];
    let page = browser.ask(Method::POST, &path, &form, "same-origin").await;
    assert_eq!(page.status, 422);
    assert!(
        page.says("the password: at least 12 characters"),
        "{}",
        page.text
    );
    // It was looked at and refused: the link is still good.
    let form = [("name", "ada"), ("password", PASSWORD)];
    let page = browser.ask(Method::POST, &path, &form, "same-origin").await;
    assert_eq!((page.status, page.location.as_str()), (303, "/dashboard"));
    let cookie = page.cookie.unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/dashboard"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(browser.get("/dashboard").await.status, 200);
    let mut other = Browser::new(&app);
    assert_eq!(other.get(&path).await.status, 404);
    let again = other.ask(Method::POST, &path, &form, "same-origin").await;
    assert_eq!(again.status, 422);
    assert!(again.says("the link has been used or has expired"));
    let page = other.log_in("ada", PASSWORD).await;
    assert_eq!(
        (page.status, page.location.as_str()),
        (303, "/dashboard/audit")
    );
    assert_eq!(other.get("/dashboard/audit").await.status, 200);
    other.get("/dashboard").await;
    assert_eq!(
        other.post("/dashboard/logout", &[]).await.location,
        "/dashboard/login"
    );
    assert_eq!(other.get("/dashboard").await.status, 303);
    assert_eq!(
        browser.get("/dashboard").await.status,
        200,
        "only who has left is out"
    );
    // A link is of no use after an hour.
    let late = link(&app, "late").await;
    app.pass(LINK_SECONDS + 1);
    assert_eq!(other.get(&late).await.status, 404);
}

async fn who_guesses_has_to_wait_and_unknown_names_look_the_same(database: Database) {
    let app = ready(&database).await;
    somebody(&app, "ada", DashboardRole::Viewer).await;
    let mut browser = Browser::new(&app);
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            let page = browser.log_in(name, "a wrong password").await;
            assert_eq!(page.status, 422, "{name}");
            assert!(page.says("The name or the password is wrong."));
        }
        let page = browser.log_in(name, PASSWORD).await;
        assert_eq!(page.status, 429, "not even the right one is looked at");
        assert!(page.says("wait 30 seconds"), "{}", page.text);
    }
    app.pass(29);
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 429);
    app.pass(2);
    assert_eq!(
        browser.log_in("ada", "wrong again, sorry").await.status,
        422
    );
    assert!(
        browser
            .log_in("ada", PASSWORD)
            .await
            .says("wait 60 seconds")
    );
    app.pass(61);
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    // It is forgiven: five more are free.
    for _ in 0..5 {
        assert_eq!(browser.log_in("ada", "a wrong password").await.status, 422);
    }
    // However many names are tried, they leave little behind: two names and an address.
    let rows = app.number("SELECT count(*) FROM login_failure").await;
    assert!(rows <= 3, "{rows}");
}

async fn a_pause_that_a_clock_ahead_began_is_no_longer_than_others(database: Database) {
    let app = ready(&database).await;
    somebody(&app, "ada", DashboardRole::Viewer).await;
    let mut browser = Browser::new(&app);
    app.pass(6 * 3600);
    let mut inside = somebody(&app, "eve", DashboardRole::Viewer).await;
    let path = link(&app, "late").await;
    for _ in 0..5 {
        browser.log_in("ada", "a wrong password").await;
    }
    app.pass(-6 * 3600);
    let page = browser.log_in("ada", PASSWORD).await;
    assert!(page.says("wait 30 seconds"), "{}", page.text);
    app.pass(29);
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 429);
    app.pass(2);
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    // A link and a session have their own time from when they are first seen.
    herald::engine::runtime::clock::mend_turn(&app.engine, app.now())
        .await
        .unwrap();
    assert_eq!(inside.get("/dashboard").await.status, 200);
    assert_eq!(browser.get(&path).await.status, 200);
    app.pass(LINK_SECONDS + 1);
    assert_eq!(browser.get(&path).await.status, 404);
    app.pass(12 * 3600);
    assert_eq!(inside.get("/dashboard").await.status, 303);
}

async fn many_guesses_at_once_are_all_counted(database: Database) {
    let app = ready(&database).await;
    somebody(&app, "ada", DashboardRole::Viewer).await;
    let guesses = (0..12).map(|_| async {
        let mut browser = Browser::new(&app);
        browser.log_in("ada", "a wrong password").await.status
    });
    let answers = futures_util::future::join_all(guesses).await;
    let compared = answers.iter().filter(|status| **status == 422).count();
    assert_eq!(compared, 5, "{answers:?}");
}

async fn many_names_from_one_address_have_to_wait_and_are_forgotten(database: Database) {
    let app = ready(&database).await;
    somebody(&app, "ada", DashboardRole::Viewer).await;
    // Each name is a new one, so that no name has to wait.
    let guesses = (0..60).map(|number| {
        let (app, name) = (&app, format!("nobody{number}"));
        async move { Browser::new(app).log_in(&name, PASSWORD).await }
    });
    let pages = futures_util::future::join_all(guesses).await;
    let count = |status: u16| pages.iter().filter(|page| page.status == status).count();
    assert!(count(422) <= 20, "{}", count(422));
    assert_eq!(count(422) + count(429) + count(503), 60);
    for page in pages.iter().filter(|page| page.status != 422) {
        let seconds: i64 = page.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
    }
    let mut browser = Browser::new(&app);
    for number in 60..80 {
        browser.log_in(&format!("nobody{number}"), PASSWORD).await;
    }
    let page = browser.log_in("ada", PASSWORD).await;
    assert_eq!(page.status, 429, "not even the right one is looked at");
    app.pass(31);
    let page = browser.log_in("ada", PASSWORD).await;
    assert_eq!(page.status, 303, "{}", page.text);
    // Whoever gets in is not counted as a failure, and what is old is deleted.
    app.pass(60 * 60 + 1);
    for _ in 0..25 {
        assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    }
    app.pass(25 * 60 * 60);
    RetentionCleaner::default()
        .turn(&app.engine, app.now())
        .await
        .unwrap();
    let left = app.number("SELECT count(*) FROM login_failure").await;
    assert_eq!(left, 0);
}

async fn who_finds_no_place_to_wait_is_asked_to_come_again(database: Database) {
    let app = ready(&database).await;
    somebody(&app, "ada", DashboardRole::Viewer).await;
    let path = link(&app, "grace").await;
    let places: Vec<_> = std::iter::from_fn(|| app.engine.passwords.place()).collect();
    assert_eq!(places.len(), MAX_WAITING);
    let mut browser = Browser::new(&app);
    for _ in 0..10 {
        let page = browser.log_in("ada", PASSWORD).await;
        assert_eq!(page.status, 503);
        assert_eq!(page.headers["retry-after"], "5");
        assert!(page.says("try again in a few seconds"), "{}", page.text);
    }
    let form = [("password", "a password of hers")];
    let page = browser.ask(Method::POST, &path, &form, "same-origin").await;
    assert!(page.says("too many people are signing in"), "{}", page.text);
    drop(places);
    // Nothing was counted, and the link was not used up.
    assert_eq!(browser.log_in("ada", PASSWORD).await.status, 303);
    let page = browser.ask(Method::POST, &path, &form, "same-origin").await;
    assert_eq!(page.status, 303, "{}", page.text);
}

async fn a_form_of_another_site_or_session_changes_nothing(database: Database) {
    let app = ready(&database).await;
    let mut admin = somebody(&app, "ada", DashboardRole::Admin).await;
    let path = format!("/dashboard/senders/{}", app.sender);
    let hold = [("action", "hold"), ("reason", "by a stranger")];
    let token = admin.token.clone();
    let with_token = [hold[0], hold[1], ("token", token.as_str())];
    let page = admin
        .ask(Method::POST, &path, &with_token, "cross-site")
        .await;
    assert_eq!(page.status, 403);
    assert!(page.says("Cross-site form rejected"));
    let page = admin.ask(Method::POST, &path, &hold, "same-origin").await;
    assert_eq!(page.status, 403);
    assert!(page.says("Form expired"), "{}", page.text);
    let mut other = somebody(&app, "eve", DashboardRole::Admin).await;
    let page = other
        .ask(Method::POST, &path, &with_token, "same-origin")
        .await;
    assert_eq!(page.status, 403, "the token is of another session");
    // A login that another site sends would put somebody in as somebody else.
    let form = [("name", "ada"), ("password", PASSWORD)];
    let page = other
        .ask(Method::POST, "/dashboard/login", &form, "cross-site")
        .await;
    assert_eq!(page.status, 403);
    // Without the header, the origin decides.
    let origin = async |origin: &str| {
        let answer = app
            .http
            .post(format!("{}/dashboard/login", app.base))
            .header("Origin", origin)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("name=nobody&password=nothing")
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    assert_eq!(origin("https://example.org").await, 403);
    assert_eq!(origin("null").await, 403);
    assert_eq!(origin(&app.base).await, 422);
    let (_, sender) = app
        .admin(
            "GET",
            &format!("/api/v1/senders/{}", app.sender),
            &serde_json::Value::Null,
        )
        .await;
    assert_eq!(sender["state"], "active");
}

async fn whoever_is_let_in_no_more_is_out_at_once(database: Database) {
    let app = ready(&database).await;
    let mut admin = somebody(&app, "ada", DashboardRole::Admin).await;
    let mut operator = somebody(&app, "grace", DashboardRole::Operator).await;
    let change = async |name: &str, change| {
        logins::change(&app.store, "tests", name, change, app.now()).await
    };
    assert_eq!(operator.get("/dashboard/audit").await.status, 403);
    change("grace", DashboardUserChange::Role(DashboardRole::Admin))
        .await
        .unwrap();
    assert_eq!(operator.get("/dashboard/audit").await.status, 200);
    change("grace", DashboardUserChange::Off).await.unwrap();
    assert_eq!(operator.get("/dashboard").await.status, 303);
    assert_eq!(operator.log_in("grace", PASSWORD).await.status, 422);
    change("grace", DashboardUserChange::On).await.unwrap();
    assert_eq!(operator.log_in("grace", PASSWORD).await.status, 303);
    change("grace", DashboardUserChange::Role(DashboardRole::Viewer))
        .await
        .unwrap();
    // Somebody must be able to let others in.
    for last in [
        DashboardUserChange::Off,
        DashboardUserChange::Role(DashboardRole::Operator),
    ] {
        let changed = change("ada", last).await;
        assert!(matches!(changed, Err(DashboardUserError::LastAdmin)));
    }
    // A new password puts out whoever knew the old one.
    let new = secrecy::SecretString::from("another long one");
    logins::set_password(&app.store, "tests", "ada", new, app.now())
        .await
        .unwrap();
    assert_eq!(admin.get("/dashboard").await.status, 303);
    assert_eq!(admin.log_in("ada", PASSWORD).await.status, 422);
    assert_eq!(admin.log_in("ada", "another long one").await.status, 303);
}

async fn who_is_in_stays_in_over_a_restart_and_not_over_half_a_day(database: Database) {
    let app = ready(&database).await;
    let cookie = somebody(&app, "ada", DashboardRole::Viewer).await.cookie;
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    let mut browser = Browser::new(&app);
    browser.cookie = cookie.clone();
    assert_eq!(browser.get("/dashboard").await.status, 200);
    app.pass(12 * 60 * 60 + 1);
    assert_eq!(browser.get("/dashboard").await.status, 303);
    // A cookie that somebody has changed is none.
    let mut forged = Browser::new(&app);
    forged.cookie = cookie.map(|cookie| cookie.replace("herald_session=", "herald_session=x"));
    assert_eq!(forged.get("/dashboard").await.status, 303);
    // Sessions that are over go with the next login.
    browser.log_in("ada", PASSWORD).await;
    assert_eq!(app.number("SELECT count(*) FROM session").await, 1);
}

async fn what_the_database_keeps_lets_nobody_in(database: Database) {
    let app = ready(&database).await;
    let browser = somebody(&app, "ada", DashboardRole::Admin).await;
    let path = link(&app, "grace").await;
    let key = browser.cookie.clone().unwrap();
    let mut kept = String::new();
    for (table, columns) in [
        ("session", "hex_of(digest) || state"),
        ("login_link", "hex_of(digest)"),
        ("login", "coalesce(password_hash, '')"),
        ("audit", "detail"),
    ] {
        let hex = match database {
            Database::Sqlite => "hex(digest)",
            Database::Postgres => "encode(digest, 'hex')",
        };
        let sql = format!(
            "SELECT {} FROM {table}",
            columns.replace("hex_of(digest)", hex)
        );
        for row in herald::store::dialect::query(app.store.reader(), sql, [])
            .await
            .unwrap()
        {
            kept += &row.try_get_by_index::<String>(0).unwrap();
        }
    }
    let secret = path.rsplit('/').next().unwrap();
    let cookie = key.split('=').nth(1).unwrap();
    for wrong in [secret, cookie, PASSWORD] {
        assert!(!kept.contains(wrong));
    }
    assert!(kept.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
}

async fn logins_are_made_on_the_command_line(database: Database) {
    let app = ready(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let users = |words: &[&str]| {
        let words: Vec<&str> = ["users"].iter().chain(words).copied().collect();
        herald(&app.database_url, folder.path(), &words)
    };
    let added = users(&["add-admin", "ada"]);
    assert!(added.status.success(), "{}", text(&added));
    let printed = text(&added);
    let path = printed
        .split("/dashboard")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    // Made by the real clock, which is far ahead of this server's.
    let mut browser = Browser::new(&app);
    let page = browser.get(&format!("/dashboard{path}")).await;
    assert!(
        page.says("Welcome, <strong>ada</strong> (admin)"),
        "{}",
        page.text
    );
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let grace = users(&[
        "add",
        "grace",
        "--role",
        "viewer",
        "--password-file",
        file.to_str().unwrap(),
    ]);
    assert!(grace.status.success(), "{}", text(&grace));
    assert_eq!(browser.log_in("grace", PASSWORD).await.status, 303);
    let mut piped = command(
        &app.database_url,
        folder.path(),
        &["users", "password", "grace", "--file", "-"],
    );
    piped.stdin(std::fs::File::open(&file).unwrap());
    assert!(piped.output().unwrap().status.success());
    assert_eq!(
        browser.get("/dashboard").await.status,
        303,
        "a new password ends sessions"
    );
    assert!(users(&["role", "grace", "operator"]).status.success());
    assert!(users(&["off", "grace"]).status.success());
    let listed = text(&users(&["list"]));
    for words in ["ada", "admin", "no password", "grace", "operator", "off"] {
        assert!(listed.contains(words), "{listed}");
    }
    assert!(!listed.contains("argon"), "{listed}");
    for (words, why) in [
        (vec!["add-admin", "ada"], "already"),
        (vec!["add-admin", "a/b"], "letters, digits"),
        (vec!["link", "nobody"], "no dashboard user of this name"),
        (vec!["off", "ada"], "last admin"),
        (
            vec!["add", "x", "--role", "viewer", "--password-file", "missing"],
            "cannot be read",
        ),
    ] {
        let refused = users(&words);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{words:?}: {}",
            text(&refused)
        );
        assert!(text(&refused).contains(why), "{}", text(&refused));
    }
    assert_eq!(
        users(&["add", "x", "--role", "root"]).status.code(),
        Some(2)
    );
    assert_eq!(
        app.number("SELECT count(*) FROM login WHERE name = 'x'")
            .await,
        0
    );
}

/// Neither a link nor a session outlives the password that ended it, and of two admins who
/// put each other out one stays.
async fn what_was_ended_stays_ended(database: Database) {
    let app = ready(&database).await;
    let mut ada = somebody(&app, "ada", DashboardRole::Admin).await;
    let path = link(&app, "grace").await;
    let new = secrecy::SecretString::from("another long one");
    logins::set_password(&app.store, "tests", "grace", new, app.now())
        .await
        .unwrap();
    let mut stranger = Browser::new(&app);
    assert_eq!(stranger.get(&path).await.status, 404);
    let change = |name: &'static str| {
        logins::change(
            &app.store,
            "tests",
            name,
            DashboardUserChange::Off,
            app.now(),
        )
    };
    let (first, second) = futures_util::future::join(change("ada"), change("grace")).await;
    assert!(first.is_ok() || second.is_ok());
    let refused = [first, second]
        .iter()
        .filter(|done| matches!(done, Err(DashboardUserError::LastAdmin)))
        .count();
    assert_eq!(refused, 1);
    app.sql("UPDATE login SET off_at = NULL").await;
    // The session ends while a form of it is on its way.
    app.sql("DELETE FROM session").await;
    let sender = format!("/dashboard/senders/{}", app.sender);
    let page = ada
        .post(&sender, &[("action", "hold"), ("reason", "late")])
        .await;
    assert_eq!(page.status, 303);
    assert_eq!(app.number("SELECT count(*) FROM session").await, 0);
    // What PostgreSQL cannot store is no name.
    assert_eq!(stranger.log_in("\0", "a wrong password").await.status, 422);
}
