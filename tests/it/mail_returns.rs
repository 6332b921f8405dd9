//! What recipients and mail servers say about mails afterwards: links to unsubscribe, bounces, and
//! suppressed addresses.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use herald::state::Clock;
use serde_json::{Value, json};

use crate::{
    cli,
    harness::{
        Database, SECRET_KEY, TestApp,
        email::{Stage, order, stage},
    },
};

crate::tests![
    a_link_to_unsubscribe_shows_a_page_and_its_button_stops_mails,
    a_mail_program_unsubscribes_with_one_request,
    a_link_that_is_not_ours_changes_nothing,
    a_link_outlives_the_change_of_the_secret_key,
    what_cannot_be_refused_has_no_link_and_goes_out,
    a_bounce_fails_the_message_and_suppresses_its_address,
    a_bounce_that_says_nothing_of_the_mailbox_suppresses_nothing,
    a_mail_that_is_no_bounce_changes_nothing,
    a_bounce_that_cannot_be_stored_is_tried_again,
    staff_lift_a_suppression,
];

/// The path of the link in a mail.
fn link(mail: &str) -> String {
    let header = mail
        .split("List-Unsubscribe: <https://herald.example.com")
        .nth(1)
        .unwrap();
    header.split('>').next().unwrap().to_owned()
}

struct Page {
    code: u16,
    text: String,
}

impl Stage {
    async fn page(&self, method: &str, path: &str, body: &'static str) -> Page {
        let url = format!("{}{path}", self.app.base);
        let request = match method {
            "GET" => self.app.http.get(url),
            _ => self
                .app
                .http
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body),
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"));
        Page {
            code: response.status().as_u16(),
            text: response.text().await.unwrap(),
        }
    }

    /// A mail to this contact that was taken, as it arrived.
    async fn mailed(&self, to: &str) -> (String, String) {
        let id = self.ask(&order(to, &["email"])).await;
        assert_eq!(self.mail_out().await, 1);
        (id, self.mail.taken().last().unwrap().text.clone())
    }

    async fn suppressed(&self) -> Value {
        self.app.get("/api/v1/suppressed-addresses").await.1
    }

    /// Whether the next mail to this contact goes out.
    async fn is_mailed(&self, to: &str) -> bool {
        let id = self.ask(&order(to, &["email"])).await;
        self.mail_out().await;
        let status = self.status(&id).await;
        assert!(
            ["accepted", "skipped"].contains(&status.as_str()),
            "{status}"
        );
        status == "accepted"
    }
}

/// `herald bounce` with this mail on its standard input.
pub fn bounce(url: &str, mail: &str, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut child = cli::command(url, folder.path(), &[&["bounce"], words].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(mail.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// A bounce to the address that a mail came from.
pub fn bounced(to: &str, action: &str, status: &str, said: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net\nTo: {to}\nSubject: Undelivered Mail\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"B\"\n\n\
         --B\nContent-Type: text/plain\n\nIt could not be delivered.\n\
         --B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
         Final-Recipient: rfc822; someone.else@example.com\nAction: {action}\nStatus: {status}\n\
         Diagnostic-Code: smtp; {said}\n\n--B--\n"
    )
}

async fn a_link_to_unsubscribe_shows_a_page_and_its_button_stops_mails(database: Database) {
    let stage = stage(&database).await;
    let (_, mail) = stage.mailed("contact:asha").await;
    let path = link(&mail);
    // Scanners of mail open links, as often as they like.
    for _ in 0..3 {
        let page = stage.page("GET", &path, "").await;
        assert_eq!(page.code, 200);
        assert!(
            page.text.contains("<form method=\"post\">") && page.text.contains("@example.com"),
            "{}",
            page.text
        );
        assert!(!page.text.contains("asha@"), "{}", page.text);
    }
    assert!(stage.is_mailed("contact:asha").await);
    // The button; twice is once.
    for _ in 0..2 {
        let page = stage.page("POST", &path, "").await;
        assert!(
            page.code == 200 && page.text.contains("You are unsubscribed"),
            "{}",
            page.text
        );
    }
    assert!(!stage.is_mailed("contact:asha").await);
    // Another way to write the same mailbox is the same mailbox.
    assert!(!stage.is_mailed("ASHA@example.com").await);
    assert!(stage.is_mailed("contact:chipo").await);
    // It refuses its channel, and no other.
    let id = stage
        .ask(&order("contact:asha", &["whatsapp", "email"]))
        .await;
    stage.app.send().await;
    assert_eq!(stage.status(&id).await, "accepted");
    stage.app.told(&id, "failed", Some(131_026)).await;
    stage.app.pass(15);
    stage.app.settle().await;
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 0, "the fallback is refused as well");
    let listed = stage.suppressed().await;
    assert_eq!(
        (
            &listed[0]["address"],
            &listed[0]["reason"],
            listed.as_array().unwrap().len()
        ),
        (&json!("asha@example.com"), &json!("unsubscribed"), 1)
    );
}

async fn a_mail_program_unsubscribes_with_one_request(database: Database) {
    let stage = stage(&database).await;
    let (_, mail) = stage.mailed("chipo@example.com").await;
    let page = stage
        .page("POST", &link(&mail), "List-Unsubscribe=One-Click")
        .await;
    assert_eq!(page.code, 200);
    assert!(!stage.is_mailed("contact:chipo").await);
}

async fn a_link_that_is_not_ours_changes_nothing(database: Database) {
    let stage = stage(&database).await;
    let (id, mail) = stage.mailed("contact:asha").await;
    let good = link(&mail);
    let mut forged = good.clone().into_bytes();
    let at = "/unsubscribe/".len() + 5;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let long = "A".repeat(500);
    for path in [
        forged.as_str(),
        "/unsubscribe/x",
        &format!("/unsubscribe/{id}"),
        "/unsubscribe/%00",
        &format!("/unsubscribe/{long}"),
    ] {
        for method in ["GET", "POST"] {
            let page = stage.page(method, path, "").await;
            assert!(
                page.code == 404 && page.text.contains("This link does not work"),
                "{path}: {}",
                page.text
            );
        }
    }
    assert_eq!(stage.suppressed().await, json!([]));
    // A message of WhatsApp has no such link, and none can be made of its id.
    let token = stage.app.engine.unsubscribe_token(
        stage
            .ask(&order("contact:asha", &["whatsapp"]))
            .await
            .parse()
            .unwrap(),
    );
    let page = stage
        .page("POST", &format!("/unsubscribe/{}", token.unwrap()), "")
        .await;
    assert_eq!(page.code, 404);
}

async fn a_link_outlives_the_change_of_the_secret_key(database: Database) {
    let stage = stage(&database).await;
    let (_, mail) = stage.mailed("contact:asha").await;
    let post = async |app: &TestApp| {
        let request = app.http.post(format!("{}{}", app.base, link(&mail)));
        request.send().await.unwrap().status().as_u16()
    };
    let new_key = "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100";
    let both = [
        ("HERALD_SECRET_KEY", new_key),
        ("HERALD_SECRET_KEY_PREVIOUS", SECRET_KEY),
    ];
    let (url, _folder) = stage.app.shut_down().await;
    let app = TestApp::start(&url, &both).await;
    assert_eq!(post(&app).await, 200);
    let (_, listed) = app.get("/api/v1/suppressed-addresses").await;
    assert_eq!(listed[0]["reason"], "unsubscribed");
    let (url, _) = app.shut_down().await;
    let app = TestApp::start(&url, &[("HERALD_SECRET_KEY", new_key)]).await;
    assert_eq!(post(&app).await, 404, "a key that is gone opens nothing");
}

async fn what_cannot_be_refused_has_no_link_and_goes_out(database: Database) {
    let stage = stage(&database).await;
    let (_, mail) = stage.mailed("contact:asha").await;
    stage.page("POST", &link(&mail), "").await;
    let mut body = order("contact:asha", &["email"]);
    body["message_kind"] = json!("alarms");
    let id = stage.ask(&body).await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.status(&id).await, "accepted");
    assert!(
        !stage
            .mail
            .taken()
            .last()
            .unwrap()
            .text
            .contains("List-Unsubscribe")
    );
}

async fn a_bounce_fails_the_message_and_suppresses_its_address(database: Database) {
    let stage = stage(&database).await;
    let (id, _) = stage.mailed("contact:asha").await;
    let to = stage.mail.taken()[0].from.clone();
    let said = "550 5.1.1 <asha@example.com>: no such user";
    let mail = bounced(&to, "failed", "5.1.1", said);
    for _ in 0..2 {
        let output = bounce(&stage.app.database_url, &mail, &[]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(
            text,
            format!("{id}: There is no such mailbox. (smtp_550_5.1.1)\n")
        );
    }
    let shown = stage.app.notification(&id).await;
    assert_eq!(
        (&shown["status"], &shown["failure"]["details"]),
        (&json!("failed"), &json!(said)),
        "{shown}"
    );
    let listed = stage.suppressed().await;
    // The address of the message, not that which the report names.
    assert_eq!(
        (&listed[0]["address"], &listed[0]["reason"]),
        (&json!("asha@example.com"), &json!("bounced"))
    );
    assert!(!stage.is_mailed("contact:asha").await);
    // A message that falls back does so for a bounce as well.
    let mut body = order("contact:chipo", &["email", "whatsapp"]);
    body["fallback_after_seconds"] = json!(600);
    let id = stage.ask(&body).await;
    assert_eq!(stage.mail_out().await, 1);
    let to = stage.mail.taken().last().unwrap().from.clone();
    let mail = bounced("bounces@example.com", "failed", "5.1.1", said);
    let output = bounce(&stage.app.database_url, &mail, &["--recipient", &to]);
    assert!(output.status.success());
    assert_eq!(stage.status(&id).await, "failed");
    // The command goes by the clock of this machine, the server by that of the test.
    let ahead = Clock::System.now().micros_since(stage.app.now()) / 1_000_000;
    stage.app.pass(ahead + 60);
    stage.fall_back().await;
    let child = stage.stand_in(&id).await.unwrap();
    assert_eq!(
        stage.app.notification(&child).await["reason"],
        "the contact has no phone number"
    );
}

async fn a_bounce_that_says_nothing_of_the_mailbox_suppresses_nothing(database: Database) {
    let stage = stage(&database).await;
    let (id, _) = stage.mailed("contact:asha").await;
    let to = stage.mail.taken()[0].from.clone();
    let mail = bounced(
        &to,
        "failed",
        "5.7.26",
        "550 5.7.26 This mail is unauthenticated",
    );
    assert!(bounce(&stage.app.database_url, &mail, &[]).status.success());
    assert_eq!(stage.suppressed().await, json!([]));
    let sender_state = "SELECT state FROM sender WHERE kind = 'smtp'";
    let shown = stage.app.notification(&id).await;
    assert_eq!(
        shown["attempts"][0]["failure"]["title"], "smtp_550_5.7.26",
        "{shown}"
    );
    assert_eq!(stage.app.texts(sender_state).await.len(), 1);
}

async fn a_mail_that_is_no_bounce_changes_nothing(database: Database) {
    let stage = stage(&database).await;
    let (id, mail) = stage.mailed("contact:asha").await;
    let to = stage.mail.taken()[0].from.clone();
    let late = bounced(&to, "delayed", "4.4.1", "451 4.4.1 no answer");
    let unknown = bounced(
        "bounces+00000000000000000000000000000001@example.com",
        "failed",
        "5.1.1",
        "550 5.1.1 no such user",
    );
    let untagged = bounced(
        "bounces@example.com",
        "failed",
        "5.1.1",
        "550 5.1.1 no such user",
    );
    let away = format!(
        "From: asha@example.com\nTo: {to}\nAuto-Submitted: auto-replied\nSubject: Away\n\nBack on Monday.\n"
    );
    for (text, said) in [
        (late.as_str(), "\"delayed\", which is no failure"),
        (&unknown, "not known, or has been deleted"),
        (&untagged, "names no message of Herald's"),
        (&away, "no delivery report"),
        (&mail, "no delivery report"),
        ("", "this is not a mail"),
    ] {
        let output = bounce(&stage.app.database_url, text, &[]);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && shown.contains(said), "{shown}");
    }
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.suppressed().await, json!([]));
}

async fn a_bounce_that_cannot_be_stored_is_tried_again(database: Database) {
    let stage = stage(&database).await;
    stage.mailed("contact:asha").await;
    let to = stage.mail.taken()[0].from.clone();
    let mail = bounced(&to, "failed", "5.1.1", "550 5.1.1 no such user");
    // So is one whose mail was sent a moment ago: its answer may be on its way.
    let new = herald::store::new_id(Clock::System.now()).simple();
    let early = bounced(
        &format!("bounces+{new}@example.com"),
        "failed",
        "5.1.1",
        "550 5.1.1 no such user",
    );
    let output = bounce(&stage.app.database_url, &early, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(75) && said.contains("just now"),
        "{said}"
    );
    let output = bounce("sqlite:///nowhere/at/all.sqlite", &mail, &[]);
    assert_eq!(
        output.status.code(),
        Some(75),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.stderr.is_empty());
}

async fn staff_lift_a_suppression(database: Database) {
    let stage = stage(&database).await;
    let (_, mail) = stage.mailed("contact:asha").await;
    let path = "/api/v1/suppressed-addresses/email/Asha@example.com";
    assert_eq!(stage.app.request("DELETE", path, &Value::Null).await.0, 404);
    stage.page("POST", &link(&mail), "").await;
    assert!(!stage.is_mailed("contact:asha").await);
    assert_eq!(stage.app.request("DELETE", path, &Value::Null).await.0, 204);
    assert!(stage.is_mailed("contact:asha").await);
    let action = "SELECT subject FROM audit WHERE action = 'address.allowed'";
    let audited = stage.app.texts(action).await;
    assert!(
        audited.len() == 1 && !audited[0].contains("asha@"),
        "{audited:?}"
    );
    // And by the command.
    stage.page("POST", &link(&mail), "").await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = cli::herald(&stage.app.database_url, folder.path(), words);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, shown) = run(&["suppressions", "list"]);
    assert!(
        code == Some(0) && shown.contains("unsubscribed") && !shown.contains("asha@"),
        "{shown}"
    );
    let (_, shown) = run(&["suppressions", "list", "--show"]);
    assert!(shown.contains("asha@example.com"), "{shown}");
    assert_eq!(
        run(&["suppressions", "lift", "asha@example.com"]).0,
        Some(0)
    );
    assert_eq!(
        run(&["suppressions", "lift", "asha@example.com"]).0,
        Some(1)
    );
    assert_eq!(
        run(&["suppressions", "list"]).1,
        "No address is suppressed.\n"
    );
    assert!(stage.is_mailed("contact:asha").await);
}
