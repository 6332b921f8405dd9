//! What the pages say and do.

use herald::domain::login::DashboardRole;
use serde_json::json;

use super::{Browser, ready, somebody};
use crate::harness::{Database, TestApp};

crate::tests![
    the_overview_names_what_needs_a_person_and_who_failed_why,
    filters_are_links_and_what_is_wrong_with_them_is_said,
    many_are_retried_after_a_look_at_what_would_happen,
    a_bulk_change_goes_on_where_it_stopped,
    a_form_that_is_sent_twice_is_done_once,
    a_notification_tells_its_story_and_is_retried,
    viewers_see_nobody_s_number_and_change_nothing,
    callbacks_are_found_and_dead_letters_replayed,
    a_sender_is_held_and_given_a_token_that_nobody_sees_again,
    pages_hold_no_script_or_style_of_their_own,
];

async fn the_overview_names_what_needs_a_person_and_who_failed_why(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let page = browser.get("/dashboard").await;
    assert!(page.says("Nothing at the moment."), "{}", page.text);
    let id = app.order("A-1", "+12025550101").await;
    let good = app.order("A-2", "+12025550102").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.told(&good, "delivered", None).await;
    app.callback(json!({ "statuses": [{ "id": "wamid.X" }] }))
        .await;
    let page = browser.get("/dashboard").await;
    assert!(
        page.says("Soon: 1 items of callbacks could not be applied."),
        "{}",
        page.text
    );
    assert!(page.says("Read their reasons, fix the causes, and replay them."));
    assert!(
        page.says("<th scope=\"row\">131026</th><td>1</td>"),
        "{}",
        page.text
    );
    assert!(page.says("+12025550101</td><td>131026: The message cannot be delivered"));
    assert!(
        page.says(", 1 delivered, 1 failed, 0 neither yet</title>"),
        "{}",
        page.text
    );
    assert!(page.says("Delivered <strong>50.0 %</strong> of accepted"));
    assert!(page.says("80/s") || page.says("unlimited"));
}

async fn filters_are_links_and_what_is_wrong_with_them_is_said(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let failed = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&failed, "failed", Some(131_026)).await;
    let waiting = app.order("A-2", "+12025550102").await;
    for (query, first, second) in [
        ("", true, true),
        ("status=pending", false, true),
        ("status=failed,expired,gave_up", true, false),
        ("status=not_sent", false, false),
        ("recipient=%2B12025550101", true, false),
        ("reference=A-2&since=24h&template=", false, true),
        ("since=2027-01-01T00:00:00Z", false, false),
        ("type=demo.order.created&until=0h", false, false),
    ] {
        let page = browser
            .get(&format!("/dashboard/notifications?{query}"))
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert_eq!(page.text.contains(&failed), first, "{query}");
        assert_eq!(page.text.contains(&waiting), second, "{query}");
    }
    let page = browser
        .get("/dashboard/notifications?status=lost&since=yesterday&label=x")
        .await;
    for wrong in ["status: one of", "since: RFC 3339", "label: name=value"] {
        assert!(page.says(wrong), "{wrong}: {}", page.text);
    }
    // Nothing that is typed becomes a part of the page.
    let page = browser
        .get("/dashboard/notifications?template=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
        .await;
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
}

async fn many_are_retried_after_a_look_at_what_would_happen(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    for number in 1..=3 {
        let id = app
            .order(&format!("A-{number}"), &format!("+1202555010{number}"))
            .await;
        app.send().await;
        app.told(&id, "failed", Some(131_026)).await;
    }
    let delivered = app.order("A-4", "+12025550104").await;
    app.send().await;
    app.told(&delivered, "delivered", None).await;
    let again = "SELECT count(*) FROM notification WHERE generation > 1";
    let preview = browser
        .get("/dashboard/notifications/bulk?action=retry&type=demo.order.created&template=")
        .await;
    assert!(
        preview.says("<strong>3</strong> of <strong>4</strong> would be sent again."),
        "{}",
        preview.text
    );
    assert!(
        preview.says("<li>1: "),
        "why the fourth is left alone: {}",
        preview.text
    );
    assert_eq!(app.number(again).await, 0);
    let form = [("action", "retry"), ("type", "demo.order.created")];
    let done = browser.submit("/dashboard/notifications/bulk", &form).await;
    assert!(
        done.says("3 of 4 were sent again. 1 were left unchanged: "),
        "{}",
        done.text
    );
    assert_eq!(app.number(again).await, 3);
    let noted =
        "SELECT count(*) FROM audit WHERE actor = 'login:ada' AND action = 'notification.retry'";
    assert_eq!(app.number(noted).await, 1);
    // Loaded again, the page says nothing more, and nothing is sent again.
    let page = browser
        .get("/dashboard/notifications?type=demo.order.created")
        .await;
    assert!(!page.says("were sent again"));
    // Everything there is, is not meant by leaving all fields empty.
    for query in [
        "action=cancel",
        "action=delete&status=failed",
        "status=failed",
    ] {
        let page = browser
            .get(&format!("/dashboard/notifications/bulk?{query}"))
            .await;
        assert!(page.status >= 400, "{query}");
    }
    for form in [
        vec![("action", "cancel")],
        vec![("action", "delete"), ("status", "failed")],
    ] {
        let page = browser.post("/dashboard/notifications/bulk", &form).await;
        assert_eq!(page.status, 400, "{form:?}");
    }
}

async fn a_bulk_change_goes_on_where_it_stopped(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let to: Vec<String> = (0..2_050)
        .map(|number| format!("+1202555{number:04}"))
        .collect();
    for chunk in to.chunks(1_000) {
        let body = json!({ "to": chunk, "template": "jaspers_market_plain_text_v1" });
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
    }
    let preview = browser
        .get("/dashboard/notifications/bulk?action=cancel&status=queued")
        .await;
    assert!(
        preview.says("of the newest <strong>2000</strong> would be cancelled. There are more"),
        "{}",
        preview.text
    );
    let form = [("action", "cancel"), ("status", "queued")];
    let half = browser.submit("/dashboard/notifications/bulk", &form).await;
    assert!(
        half.says("2000 of 2000 were cancelled so far."),
        "{}",
        half.text
    );
    let field = |name: &str| {
        let after = half
            .text
            .split(&format!("name=\"{name}\" value=\""))
            .nth(1)
            .unwrap();
        after.split('"').next().unwrap().to_owned()
    };
    let (cursor, matched, changed) = (field("cursor"), field("matched"), field("changed"));
    let form = [
        form[0],
        form[1],
        ("cursor", cursor.as_str()),
        ("matched", matched.as_str()),
        ("changed", changed.as_str()),
    ];
    let done = browser.submit("/dashboard/notifications/bulk", &form).await;
    assert!(done.says("2050 of 2050 were cancelled."), "{}", done.text);
    let cancelled = "SELECT count(*) FROM notification WHERE status = 'cancelled'";
    assert_eq!(app.number(cancelled).await, 2_050);
}

/// A double click, or the way back and once more: nobody gets a message twice by it.
async fn a_form_that_is_sent_twice_is_done_once(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let preview = browser
        .get("/dashboard/notifications/bulk?action=retry&reference=A-1&even_if_delivered=yes")
        .await;
    let once = preview.text.split("name=\"once\" value=\"").nth(1).unwrap();
    let once = once.split('"').next().unwrap().to_owned();
    let form = [
        ("action", "retry"),
        ("reference", "A-1"),
        ("even_if_delivered", "yes"),
        ("once", once.as_str()),
    ];
    for _ in 0..3 {
        let done = browser.submit("/dashboard/notifications/bulk", &form).await;
        assert!(done.says("1 of 1 were sent again."), "{}", done.text);
        app.send().await;
    }
    assert_eq!(app.number("SELECT count(*) FROM attempt").await, 2);
}

async fn a_notification_tells_its_story_and_is_retried(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let path = format!("/dashboard/notifications/{id}");
    let page = browser.get(&path).await;
    for words in [
        "It failed: The message cannot be delivered",
        "Thank you Asha: we have your order A-1.",
        "The event A-1 of tests (demo.order.created) was posted",
        "It failed with code 131026",
        "Check the number with the person",
        "&#34;messaging_product&#34;",
    ] {
        assert!(page.says(words), "{words}: {}", page.text);
    }
    let page = browser.submit(&path, &[("action", "retry")]).await;
    assert!(page.says("Queued again."), "{}", page.text);
    let page = browser.submit(&path, &[("action", "retry")]).await;
    assert!(page.says("role=\"alert\""), "{}", page.text);
    let page = browser.submit(&path, &[("action", "cancel")]).await;
    assert!(page.says("Cancelled."), "{}", page.text);
    assert_eq!(
        browser
            .get("/dashboard/notifications/01990f2e-0000-7000-8000-000000000000")
            .await
            .status,
        404
    );
    assert_eq!(
        browser
            .get("/dashboard/notifications/nonsense")
            .await
            .status,
        404
    );
}

async fn viewers_see_nobody_s_number_and_change_nothing(database: Database) {
    let app = ready(&database).await;
    let mut viewer = somebody(&app, "vera", DashboardRole::Viewer).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let sender = format!("/dashboard/senders/{}", app.sender);
    let notification = format!("/dashboard/notifications/{id}");
    for path in [
        "/dashboard",
        "/dashboard/notifications?status=failed",
        "/dashboard/callbacks",
        "/dashboard/callbacks?q=%2B12025550101",
        "/dashboard/senders",
        &sender,
        &notification,
    ] {
        let page = viewer.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        for secret in [
            "2025550101",
            "wamid.",
            "we have your order",
            "<button>Send again",
            "token-fo",
        ] {
            assert!(
                !page.text.contains(secret),
                "{path} shows {secret}: {}",
                page.text
            );
        }
    }
    let callback = format!("/dashboard/callbacks/{}", app.newest_callback().await);
    let guess = "/dashboard/notifications?recipient=%2B12025550101";
    for path in ["/dashboard/audit", &callback, guess] {
        assert_eq!(viewer.get(path).await.status, 403, "{path}");
    }
    viewer.get("/dashboard").await;
    for (path, action) in [
        (notification.as_str(), "retry"),
        ("/dashboard/notifications/bulk", "retry"),
        ("/dashboard/callbacks/replay", ""),
        (&sender, "hold"),
        (&sender, "add"),
    ] {
        let form = [
            ("action", action),
            ("reason", "x"),
            ("callback", "all"),
            ("status", "failed"),
        ];
        let page = viewer.post(path, &form).await;
        assert_eq!(page.status, 403, "{path}: {}", page.text);
        assert!(page.says("Permission denied"), "{path}");
    }
    let mut operator = somebody(&app, "olga", DashboardRole::Operator).await;
    let page = operator
        .post(
            &sender,
            &[("action", "add"), ("kind", "access_token"), ("value", "x")],
        )
        .await;
    assert!(page.says("This needs the role admin."), "{}", page.text);
    let page = operator.get(&callback).await;
    assert!(
        page.says("Only admins see the body.") && !page.text.contains("2025550101"),
        "{}",
        page.text
    );
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE generation > 1")
            .await,
        0
    );
}

async fn callbacks_are_found_and_dead_letters_replayed(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Admin).await;
    let id = app.order("A-1", "+12025550101").await;
    let other = app.order("B-1", "+12025550102").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let callback = app.newest_callback().await.to_string();
    app.told(&other, "delivered", None).await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    for q in [&id, &wamid, "+12025550101", &callback] {
        let page = browser
            .get(&format!("/dashboard/callbacks?q={}", super::encoded(q)))
            .await;
        assert!(page.text.contains(&callback), "{q}: {}", page.text);
        assert_eq!(
            page.text.matches("/dashboard/callbacks/0").count(),
            1,
            "{q}"
        );
    }
    let page = browser.get("/dashboard/callbacks?q=nothing").await;
    assert!(page.says("No stored callback matches."));
    // An item that nothing can be made of, and one whose number is learned later.
    app.callback(json!({ "statuses": [{ "id": "wamid.X" }] }))
        .await;
    let dead = app.newest_callback().await.to_string();
    let page = browser.get("/dashboard/callbacks").await;
    assert!(
        page.says("Dead letters <small>(1)</small>"),
        "{}",
        page.text
    );
    let page = browser
        .submit("/dashboard/callbacks/replay", &[("callback", &dead)])
        .await;
    assert!(
        page.says("0 items were applied, 1 still cannot be"),
        "{}",
        page.text
    );
    let page = browser
        .submit("/dashboard/callbacks/replay", &[("callback", "all")])
        .await;
    assert!(page.says("1 still cannot be"), "{}", page.text);
    let page = browser
        .post("/dashboard/callbacks/replay", &[("callback", "nonsense")])
        .await;
    assert_eq!(page.status, 400);
    let page = browser.get(&format!("/dashboard/callbacks/{dead}")).await;
    assert!(
        page.says("wamid.X") && page.says("Items that could not be applied"),
        "{}",
        page.text
    );
    let page = browser.get("/dashboard/audit").await;
    for words in [
        "callback.read",
        "callback.replayed",
        "login:ada",
        "login.in",
    ] {
        assert!(page.says(words), "{words}");
    }
    let page = browser
        .get(&format!("/dashboard/audit?subject={dead}"))
        .await;
    assert!(
        page.says("callback.read") && !page.says("login.in"),
        "{}",
        page.text
    );
}

async fn a_sender_is_held_and_given_a_token_that_nobody_sees_again(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Admin).await;
    let path = format!("/dashboard/senders/{}", app.sender);
    let page = browser
        .submit(&path, &[("action", "hold"), ("reason", " ")])
        .await;
    assert!(page.says("Enter a reason"), "{}", page.text);
    let page = browser
        .submit(
            &path,
            &[("action", "hold"), ("reason", "moving the number")],
        )
        .await;
    assert!(page.says("Sender held: messages wait."), "{}", page.text);
    let page = browser.get("/dashboard").await;
    assert!(
        page.says("does not send: moving the number"),
        "{}",
        page.text
    );
    let page = browser.submit(&path, &[("action", "release")]).await;
    assert!(
        page.says("Sender resumed.") && page.says("It sends."),
        "{}",
        page.text
    );
    let token = "a-new-token-that-is-long-enough-to-be-masked";
    let form = [
        ("action", "add"),
        ("kind", "access_token"),
        ("value", token),
        ("expires", "2026-06-30"),
    ];
    let page = browser.submit(&path, &form).await;
    assert!(
        page.says("Credential saved. It is used from the next call on."),
        "{}",
        page.text
    );
    assert!(
        page.text.contains("a-new-to…ked") && !page.text.contains(token),
        "{}",
        page.text
    );
    assert!(page.says("2026-06-30 23:59:59"), "{}", page.text);
    let credential = page
        .text
        .split("name=\"credential\" value=\"")
        .nth(1)
        .unwrap();
    let credential = credential.split('"').next().unwrap().to_owned();
    for (action, done) in [
        ("deactivate", "Credential deactivated."),
        ("activate", "Credential activated."),
        ("deactivate", "Credential deactivated."),
        ("remove", "Credential deleted."),
    ] {
        let page = browser
            .submit(&path, &[("action", action), ("credential", &credential)])
            .await;
        assert!(page.says(done), "{action}: {}", page.text);
    }
    for (form, why) in [
        (
            vec![
                ("action", "add"),
                ("kind", "access_token"),
                ("value", "a b"),
            ],
            "value: ",
        ),
        (
            vec![
                ("action", "add"),
                ("kind", "access_token"),
                ("value", "abc"),
                ("expires", "soon"),
            ],
            "Expires: a day",
        ),
        (
            vec![("action", "add"), ("kind", "password"), ("value", "abc")],
            "Choose the kind",
        ),
    ] {
        let page = browser.submit(&path, &form).await;
        assert!(
            page.says("role=\"alert\"") && page.says(why),
            "{why}: {}",
            page.text
        );
    }
    assert_eq!(
        browser
            .post(&path, &[("action", "remove"), ("credential", &credential)])
            .await
            .status,
        404
    );
    let page = browser.get("/dashboard/audit").await;
    for words in [
        "sender.held",
        "reason: moving the number",
        "credential.added",
        "credential.removed",
    ] {
        assert!(page.says(words), "{words}: {}", page.text);
    }
    assert!(!page.text.contains(token));
}

/// The policy of the pages forbids it; a browser would leave it out silently.
async fn pages_hold_no_script_or_style_of_their_own(database: Database) {
    let app: TestApp = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Admin).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.callback(json!({ "statuses": [{ "id": "wamid.X" }] }))
        .await;
    let paths = [
        "/dashboard".to_owned(),
        "/dashboard/notifications?status=failed".to_owned(),
        format!("/dashboard/notifications/{id}"),
        "/dashboard/callbacks".to_owned(),
        format!("/dashboard/callbacks/{}", app.newest_callback().await),
        "/dashboard/senders".to_owned(),
        format!("/dashboard/senders/{}", app.sender),
        "/dashboard/audit".to_owned(),
        "/dashboard/login".to_owned(),
        "/dashboard/nothing".to_owned(),
    ];
    for path in paths {
        let page = browser.get(&path).await;
        assert!(
            page.text.starts_with("<!doctype html>"),
            "{path}: {}",
            page.text
        );
        for wrong in [
            "<style",
            " style=",
            "javascript:",
            "http://",
            "https://",
            " onclick",
            " onload",
        ] {
            assert!(!page.text.contains(wrong), "{path} has {wrong}");
        }
        assert_eq!(page.text.matches("<script").count(), 1, "{path}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
    }
    for (name, kind) in [
        ("dashboard.css", "text/css"),
        ("dashboard.js", "text/javascript"),
        ("herald.svg", "image/svg+xml"),
    ] {
        let mut stranger = Browser::new(&app);
        let file = stranger.get(&format!("/dashboard/assets/{name}")).await;
        assert_eq!(file.status, 200);
        assert!(
            file.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with(kind)
        );
        let known = app
            .http
            .get(format!("{}/dashboard/assets/{name}", app.base))
            .header("If-None-Match", &file.headers["etag"])
            .send()
            .await
            .unwrap();
        assert_eq!(known.status().as_u16(), 304);
    }
    assert_eq!(browser.get("/dashboard/assets/mod.rs").await.status, 404);
    assert_eq!(
        browser.get("/dashboard/assets/..%2Fmod.rs").await.status,
        404
    );
}
