//! E-mail on the pages: mailboxes of contacts, suppressed addresses, and messages by their channel.

use herald::{domain::login::DashboardRole, store::address_suppression};
use serde_json::{Value, json};

use super::somebody;
use crate::harness::{
    Database, MailFate,
    email::{Stage, order, stage},
};

crate::tests![
    a_contact_has_a_mailbox_that_admins_change,
    suppressed_addresses_are_listed_found_and_lifted,
    a_message_that_fell_back_is_the_same_everywhere,
];

async fn contact(stage: &Stage, handle: &str) -> String {
    let path = format!("/api/v1/contacts?query={handle}");
    let (_, list) = stage.app.get(&path).await;
    let id = list["contacts"][0]["id"].as_str();
    id.unwrap_or_else(|| panic!("{handle}: {list}")).to_owned()
}

async fn a_contact_has_a_mailbox_that_admins_change(database: Database) {
    let stage = stage(&database).await;
    let mut operator = somebody(&stage.app, "ada", DashboardRole::Operator).await;
    let found = operator
        .get("/dashboard/contacts?text=chipo%40example")
        .await;
    assert!(found.says("<td>chipo@example.com</td>"), "{}", found.text);
    let path = format!("/dashboard/contacts/{}", contact(&stage, "asha").await);
    assert!(operator.get(&path).await.says("asha@example.com"));
    let moved = [("action", "save"), ("email", "asha@example.org")];
    assert_eq!(operator.post(&path, &moved).await.status, 403);
    let mut admin = somebody(&stage.app, "grace", DashboardRole::Admin).await;
    admin.get(&path).await;
    let page = admin.submit(&path, &moved).await;
    assert!(
        page.says("Contact saved.") && page.says("asha@example.org"),
        "{}",
        page.text
    );
    let wrong = [("action", "save"), ("email", "asha")];
    let page = admin.submit(&path, &wrong).await;
    assert!(page.says("an e-mail address has one @"), "{}", page.text);
    let mut viewer = somebody(&stage.app, "vera", DashboardRole::Viewer).await;
    for path in [path.as_str(), "/dashboard/contacts"] {
        let page = viewer.get(path).await;
        assert!(!page.says("asha@") && !page.says("chipo@"), "{}", page.text);
        assert!(page.says("@example."), "masked: {}", page.text);
    }
    // By a mailbox alone.
    let page = operator
        .submit(
            "/dashboard/contacts",
            &[("name", "Dora"), ("email", "dora@example.com")],
        )
        .await;
    assert!(
        page.says("Contact created.") && page.says("dora@example.com"),
        "{}",
        page.text
    );
    let nothing = operator
        .submit("/dashboard/contacts", &[("name", "Nobody")])
        .await;
    assert!(nothing.says("or an e-mail address"), "{}", nothing.text);
}

async fn suppressed_addresses_are_listed_found_and_lifted(database: Database) {
    let stage = stage(&database).await;
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.1.1 no such user")]);
    stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    let now = stage.app.now();
    stage
        .app
        .store
        .write(async |tx| {
            use address_suppression::AddressSuppressionReason::Unsubscribed;
            use herald::domain::channel::MessageChannel::Email;
            address_suppression::add(tx, Email, "chipo@example.com", Unsubscribed, None, now).await
        })
        .await
        .unwrap();
    let address = "/dashboard/contacts/suppressed";
    let mut operator = somebody(&stage.app, "ada", DashboardRole::Operator).await;
    let page = operator.get(address).await;
    for said in [
        "asha@example.com",
        "there is no such mailbox",
        "550 5.1.1 no such user",
        "chipo@example.com",
        "unsubscribed",
    ] {
        assert!(page.says(said), "{said}: {}", page.text);
    }
    let found = operator.get(&format!("{address}?text=CHIPO")).await;
    assert!(
        found.says("chipo@example.com") && !found.says("asha@"),
        "{}",
        found.text
    );
    assert!(
        operator
            .get(&format!("{address}?text=%25"))
            .await
            .says("begins with this")
    );
    let mut viewer = somebody(&stage.app, "vera", DashboardRole::Viewer).await;
    let page = viewer.get(address).await;
    assert!(
        page.says("@example.com") && !page.says("chipo@"),
        "{}",
        page.text
    );
    assert!(!page.says("550 5.1.1"), "{}", page.text);
    let lift = [("channel", "email"), ("address", "chipo@example.com")];
    assert_eq!(viewer.post(address, &lift).await.status, 403);
    assert_eq!(
        viewer.get(&format!("{address}?text=asha")).await.status,
        403
    );
    operator.get(address).await;
    let page = operator.submit(address, &lift).await;
    assert!(page.says("It gets messages again."), "{}", page.text);
    assert!(!page.says("chipo@example.com"), "{}", page.text);
    let page = operator.submit(address, &lift).await;
    assert!(page.says("not suppressed any more"), "{}", page.text);
    // On the page of its owner.
    let path = format!("/dashboard/contacts/{}", contact(&stage, "asha").await);
    let page = operator.get(&path).await;
    assert!(page.says("Gets no e-mail since"), "{}", page.text);
    let page = operator.submit(&path, &[("action", "lift")]).await;
    assert!(
        page.says("It gets messages again.") && !page.says("Gets no e-mail"),
        "{}",
        page.text
    );
    stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(stage.mail_out().await, 1);
}

async fn a_message_that_fell_back_is_the_same_everywhere(database: Database) {
    let stage = stage(&database).await;
    let app = &stage.app;
    let id = stage
        .ask(&order("contact:asha", &["whatsapp", "email"]))
        .await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.follow_up().await;
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    let mail = stage.stand_in(&id).await.unwrap();
    // Lists.
    for (channel, expected) in [("email", &mail), ("whatsapp", &id)] {
        let (_, list) = app
            .get(&format!("/api/v1/notifications?channel={channel}"))
            .await;
        let rows = list["notifications"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{list}");
        assert_eq!(
            (&rows[0]["id"], &rows[0]["channel"]),
            (&json!(expected), &json!(channel))
        );
    }
    let (code, problem) = app.get("/api/v1/notifications?channel=fax").await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("channel"))
    );
    let body = json!({ "filter": { "channel": "email" }, "dry_run": true });
    let (_, dry) = app.post("/api/v1/notifications/retry", &body).await;
    assert_eq!(dry["matched"], 1, "{dry}");
    let folder = tempfile::tempdir().unwrap();
    let words = ["retry", "--channel", "email", "--dry-run"];
    let said = crate::cli::text(&crate::cli::herald(
        &app.database_url,
        folder.path(),
        &words,
    ));
    assert!(said.contains("1 matched"), "{said}");
    // Statistics.
    let (_, stats) = app.get("/api/v1/stats?by=channel").await;
    assert_eq!(stats["by_channel"]["email"]["accepted"], 1, "{stats}");
    assert_eq!(stats["by_channel"]["whatsapp"]["failed"], 1, "{stats}");
    let (_, stats) = app.get("/api/v1/stats?channel=email").await;
    assert_eq!(
        (&stats["total"], &stats["accepted"]),
        (&json!(1), &json!(1))
    );
    // The stories name each other's channel.
    let story = async |id: &str| -> Value {
        app.get(&format!("/api/v1/notifications/{id}/story"))
            .await
            .1
    };
    let (first, second) = (story(&id).await, story(&mail).await);
    assert_eq!(
        (&first["channel"], &second["channel"]),
        (&json!("whatsapp"), &json!("email"))
    );
    let lines = first["lines"].to_string();
    assert!(
        lines.contains("It had not arrived: the next channel is email."),
        "{lines}"
    );
    let origin = second["origin"]["text"].as_str().unwrap();
    assert_eq!(
        origin,
        format!("The notification {id} had not arrived by its channel: this one goes by email.")
    );
    // A refusal by a mail server is one, although no HTTP was spoken.
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.1.1 no such user")]);
    let refused = stage.ask(&order("contact:chipo", &["email"])).await;
    stage.mail_out().await;
    let attempts = story(&refused).await["attempts"].to_string();
    assert!(attempts.contains("The provider refused it."), "{attempts}");
    // Pages.
    let mut viewer = somebody(app, "vera", DashboardRole::Viewer).await;
    let page = viewer.get("/dashboard/notifications?channel=email").await;
    assert!(
        page.says("<td>email</td>") && !page.says("<td>whatsapp</td>"),
        "{}",
        page.text
    );
    assert!(
        page.says("<option value=\"email\" selected>"),
        "{}",
        page.text
    );
    let page = viewer
        .get(&format!("/dashboard/notifications/{mail}"))
        .await;
    assert!(page.says("<dt>channel</dt><dd>email</dd>"), "{}", page.text);
}
