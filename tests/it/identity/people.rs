//! Whoever an alias leads to.

use herald::engine::{delivery, people::identity};
use serde_json::json;

use super::{AT, app, later, text};
use crate::harness::{Database, fresh_blocker};

crate::tests![
    what_one_item_names_side_by_side_is_one_person,
    a_stop_by_the_number_and_the_id_holds_for_both,
    a_number_in_its_other_form_is_the_same_person,
    a_named_recipient_is_reached_where_they_are_when_it_leaves,
    a_number_stays_that_number_and_its_owner_decides,
    whoever_lost_their_number_is_waited_for,
    a_number_that_comes_back_to_somebody_is_theirs_again,
    a_user_id_stays_that_id_and_its_owner_decides,
    an_id_that_was_replaced_leads_to_the_one_of_today,
    a_stranger_at_a_number_that_was_corrected_is_somebody_else,
    an_id_that_only_the_text_of_a_change_names_is_followed,
    the_newest_profile_name_is_shown_below_names_that_were_given,
    whoever_has_no_number_is_found_by_what_they_call_themselves,
    a_card_that_answers_our_request_links_a_number_and_an_id,
    a_trunk_0_makes_nobody_else,
    a_new_id_at_a_known_number_is_open_until_something_decides,
    after_time_has_decided_what_was_refused_holds_for_both,
    a_reply_by_the_id_answers_what_went_to_the_number,
    what_answers_say_is_learned_together_and_again_after_a_failure,
];

const NUMBER: &str = "12025550111";
const TO: &str = "+12025550111";

async fn what_one_item_names_side_by_side_is_one_person(database: Database) {
    let app = app(&database).await;
    app.sent(TO, "hello").await;
    let known = app.contact("phone=%2B12025550111").await;
    app.says(&[("from_user_id", "US.21")], 10, "Is my order on its way?")
        .await;
    // The status of the next message names both.
    let id = app.sent(TO, "hello").await;
    app.delivered(
        &id,
        &[("recipient_id", NUMBER), ("recipient_user_id", "US.21")],
    )
    .await;
    let one = app.contact("user_id=US.21").await;
    assert_eq!(one["id"], known["id"]);
    assert_eq!(app.people().await, 1);
    // Free text may be sent to the number: the id wrote.
    let answer = app.text_to(TO).await;
    app.send().await;
    assert_eq!(app.status_of(&answer).await, "accepted");
}

async fn a_stop_by_the_number_and_the_id_holds_for_both(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER)], 1, "hello").await;
    app.says(&[("from_user_id", "US.80")], 2, "hello").await;
    assert_eq!(app.people().await, 2);
    app.says(&[("from", NUMBER), ("from_user_id", "US.80")], 3, "STOP")
        .await;
    for to in [TO, "US.80"] {
        let id = app.sent(to, "offer").await;
        assert_eq!(app.status_of(&id).await, "skipped", "{to}");
    }
    assert_eq!(app.people().await, 1);
}

async fn a_number_in_its_other_form_is_the_same_person(database: Database) {
    let app = app(&database).await;
    for (place, (short, long)) in [
        ("551155500131", "5511955500131"),
        ("525555500132", "5215555500132"),
        ("541155500133", "5491155500133"),
    ]
    .into_iter()
    .enumerate()
    {
        app.says(&[("from", short)], 10, "hello first").await;
        let answer = json!({
            "contacts": [{ "input": format!("+{long}"), "wa_id": short }],
            "messages": [{ "id": format!("wamid.LONG{place}") }],
        })
        .to_string();
        app.meta.will_answer(&[(200, &answer)]);
        app.sent(&format!("+{long}"), "hello").await;
        app.says(&[("from", short)], 20, "STOP").await;
        let id = app.sent(&format!("+{long}"), "offer").await;
        assert_eq!(app.status_of(&id).await, "skipped", "{long}");
        let (one, other) = (
            app.contact(&format!("phone=%2B{short}")).await,
            app.contact(&format!("phone=%2B{long}")).await,
        );
        assert_eq!(one["id"], other["id"]);
    }
    // Any other number in an answer is nobody's.
    app.meta.will_answer(&[(200, r#"{"contacts":[{"input":"+12025550111","wa_id":"12025550999"}],"messages":[{"id":"wamid.O"}]}"#)]);
    app.sent(TO, "hello").await;
    assert_eq!(
        app.get("/api/v1/contacts?phone=%2B12025550999").await.0,
        404
    );
}

async fn a_named_recipient_is_reached_where_they_are_when_it_leaves(database: Database) {
    let app = app(&database).await;
    let (_, mover) = app
        .admin(
            "POST",
            "/api/v1/contacts",
            &json!({ "handle": "mover", "phone": TO, "name": "M" }),
        )
        .await;
    let path = format!("/api/v1/contacts/{}", mover["id"].as_str().unwrap());
    let body = json!({ "to": "contact:mover", "template": "hello", "send_at": later(&app) });
    let named = app.queued(&body).await;
    let body = json!({ "to": TO, "template": "hello", "send_at": later(&app) });
    let numbered = app.queued(&body).await;
    let (code, _) = app
        .admin("PATCH", &path, &json!({ "phone": "+12025550112" }))
        .await;
    assert_eq!(code, 200);
    app.pass(3600);
    app.settle().await;
    assert_eq!(app.address_of(&named).await, "+12025550112");
    assert_eq!(app.address_of(&numbered).await, TO);
    let kinds = app
        .texts("SELECT kind FROM timeline WHERE kind IN ('address_changed', 'number_changed_hands') ORDER BY kind")
        .await;
    assert_eq!(kinds, ["address_changed", "number_changed_hands"]);
}

async fn a_number_stays_that_number_and_its_owner_decides(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER)], 1, "hello").await;
    let body = json!({ "to": TO, "template": "offer", "send_at": later(&app) });
    let waiting = app.queued(&body).await;
    app.moved(NUMBER, "12025550112", 2).await;
    app.says(&[("from", NUMBER)], 3, "STOP").await;
    app.pass(3600);
    app.settle().await;
    assert_eq!(app.status_of(&waiting).await, "skipped");
}

async fn whoever_lost_their_number_is_waited_for(database: Database) {
    let app = app(&database).await;
    let body = json!({ "handle": "mover", "phone": TO });
    let (_, mover) = app.admin("POST", "/api/v1/contacts", &body).await;
    app.says(&[("from", NUMBER)], 1, "hello").await;
    let other = [("from", "12025550119"), ("from_user_id", "US.5")];
    app.says(&other, 2, "hello").await;
    let body = json!({ "to": "contact:mover", "template": "hello", "send_at": later(&app) });
    let waiting = app.queued(&body).await;
    // Somebody else has got the number.
    app.moved("12025550119", NUMBER, 20).await;
    app.pass(600);
    app.settle().await;
    let found = app.notification(&waiting).await;
    assert_eq!(found["status"], "held", "{found}");
    let reason = found["reason"].as_str().unwrap();
    assert!(reason.contains("has no number any more"), "{reason}");
    assert_eq!(app.meta.calls(), 0);
    let path = format!("/api/v1/contacts/{}", mover["id"].as_str().unwrap());
    let (code, changed) = app
        .admin("PATCH", &path, &json!({ "phone": "+12025550113" }))
        .await;
    assert_eq!(code, 200, "{changed}");
    app.settle().await;
    assert_eq!(app.status_of(&waiting).await, "accepted");
    assert_eq!(app.address_of(&waiting).await, "+12025550113");
}

async fn a_number_that_comes_back_to_somebody_is_theirs_again(database: Database) {
    let app = app(&database).await;
    let body = json!({ "handle": "mover", "phone": TO });
    let (code, _) = app.admin("POST", "/api/v1/contacts", &body).await;
    assert_eq!(code, 201);
    app.says(&[("from", NUMBER)], 1, "hello").await;
    app.moved(NUMBER, "12025550112", 20).await;
    // Meanwhile it was somebody else's.
    app.says(&[("from", NUMBER), ("from_user_id", "US.9")], 30, "hello")
        .await;
    app.moved("12025550112", NUMBER, 40).await;
    let id = app.sent("contact:mover", "hello").await;
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.address_of(&id).await, TO);
    let contact = app.contact("phone=%2B12025550111").await;
    assert_eq!(contact["handle"], "mover", "{contact}");
}

async fn a_user_id_stays_that_id_and_its_owner_decides(database: Database) {
    let app = app(&database).await;
    let body = json!({ "handle": "customer", "phone": TO });
    let (_, customer) = app.admin("POST", "/api/v1/contacts", &body).await;
    let path = format!("/api/v1/contacts/{}", customer["id"].as_str().unwrap());
    let id = app.sent("contact:customer", "hello").await;
    let recipient = [("recipient_id", NUMBER), ("recipient_user_id", "US.133")];
    app.delivered(&id, &recipient).await;
    let body = json!({ "to": "US.133", "template": "hello", "send_at": later(&app) });
    let waiting = app.queued(&body).await;
    // The number was wrong, and so was whose the id is.
    let corrected = json!({ "phone": "+12025550112" });
    let (code, _) = app.admin("PATCH", &path, &corrected).await;
    assert_eq!(code, 200);
    app.pass(600);
    app.settle().await;
    assert_eq!(app.address_of(&waiting).await, "US.133");
    assert_eq!(app.status_of(&waiting).await, "accepted");
    let owner = app.stored(&waiting).await.contact_id.unwrap();
    assert_ne!(customer["id"], owner.to_string());
}

async fn an_id_that_was_replaced_leads_to_the_one_of_today(database: Database) {
    let app = app(&database).await;
    app.says(&[("from_user_id", "US.1")], 1, "hello").await;
    let body = json!({ "to": "US.1", "template": "hello", "send_at": later(&app) });
    let waiting = app.queued(&body).await;
    let change = json!({ "id": "wamid.R", "timestamp": (AT + 5).to_string(), "type": "system", "system": {
        "type": "user_changed_user_id", "previous_user_id": "US.1", "user_id": "US.2", "body": "changed" } });
    app.callback(json!({ "messages": [change] })).await;
    app.pass(600);
    app.settle().await;
    assert_eq!(app.address_of(&waiting).await, "US.2");
    assert_eq!(app.status_of(&waiting).await, "accepted");
}

async fn a_stranger_at_a_number_that_was_corrected_is_somebody_else(database: Database) {
    let app = app(&database).await;
    let body = json!({ "handle": "customer", "phone": TO });
    let (_, customer) = app.admin("POST", "/api/v1/contacts", &body).await;
    let path = format!("/api/v1/contacts/{}", customer["id"].as_str().unwrap());
    let id = app.sent("contact:customer", "hello").await;
    app.delivered(
        &id,
        &[("recipient_id", NUMBER), ("recipient_user_id", "US.133")],
    )
    .await;
    let (code, _) = app
        .admin("PATCH", &path, &json!({ "phone": "+12025550112" }))
        .await;
    assert_eq!(code, 200);
    app.pass(10);
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.133")], "STOP")
        .await;
    let id = app.sent("contact:customer", "offer").await;
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.address_of(&id).await, "+12025550112");
    let id = app.sent(TO, "offer").await;
    assert_eq!(app.status_of(&id).await, "skipped");
    let stranger = app.contact("user_id=US.133").await;
    assert_ne!(stranger["id"], customer["id"]);
}

async fn an_id_that_only_the_text_of_a_change_names_is_followed(database: Database) {
    let app = app(&database).await;
    app.says(&[("from_user_id", "US.221")], 1, "STOP").await;
    let change = json!({ "id": "wamid.B2", "timestamp": (AT + 5).to_string(), "type": "system", "system": {
        "body": "User Bo changed from US.221 to US.222", "user_id": "US.222", "type": "user_changed_user_id" } });
    app.callback(json!({ "messages": [change] })).await;
    let id = app.sent("US.222", "offer").await;
    assert_eq!(app.status_of(&id).await, "skipped");
}

async fn the_newest_profile_name_is_shown_below_names_that_were_given(database: Database) {
    let app = app(&database).await;
    let id = app.sent(TO, "hello").await;
    let profile =
        json!([{ "profile": { "name": "Pablo M." }, "wa_id": NUMBER, "user_id": "US.25" }]);
    app.delivered_with(
        &id,
        profile,
        &[("recipient_id", NUMBER), ("recipient_user_id", "US.25")],
    )
    .await;
    assert_eq!(app.contact("user_id=US.25").await["name"], "Pablo M.");
    for (at, name, shown) in [
        (10, "Pablo", "Pablo"),
        (5, "P.", "Pablo"),
        (20, "Pablo Morales", "Pablo Morales"),
    ] {
        let contacts = json!([{ "profile": { "name": name }, "wa_id": NUMBER }]);
        let message = text(&[("from", NUMBER)], AT + at + 10_000_000, "hello");
        app.callback(json!({ "contacts": contacts, "messages": [message] }))
            .await;
        assert_eq!(app.contact("user_id=US.25").await["name"], shown, "{at}");
    }
    let (code, _) = app
        .post(
            "/api/v1/contacts",
            &json!({ "phone": TO, "name": "Mr. Morales" }),
        )
        .await;
    assert_eq!(code, 201);
    assert_eq!(app.contact("user_id=US.25").await["name"], "Mr. Morales");
}

async fn whoever_has_no_number_is_found_by_what_they_call_themselves(database: Database) {
    let app = app(&database).await;
    let contacts =
        json!([{ "profile": { "name": "Maria U", "username": "@mariau" }, "user_id": "CO.1092" }]);
    let message = text(&[("from_user_id", "CO.1092")], AT, "hello");
    app.callback(json!({ "contacts": contacts, "messages": [message] }))
        .await;
    for query in ["mariau", "@mariau", "CO.1092", "maria"] {
        let (code, found) = app.get(&format!("/api/v1/contacts?query={query}")).await;
        assert_eq!(code, 200);
        assert_eq!(
            found["contacts"].as_array().unwrap().len(),
            1,
            "{query}: {found}"
        );
    }
    let found = app.contact("user_id=CO.1092").await;
    assert_eq!(
        (&found["name"], &found["username"]),
        (&json!("Maria U"), &json!("mariau"))
    );
}

async fn a_card_that_answers_our_request_links_a_number_and_an_id(database: Database) {
    let app = app(&database).await;
    app.says(&[("from_user_id", "US.7")], 1, "STOP").await;
    for (at, origin, is_one) in [(2, "other", false), (3, "contact_request", true)] {
        let mut card = text(&[("from_user_id", "US.7")], AT + at, "");
        card["type"] = json!("contacts");
        card["contacts"] = json!([{ "name": { "formatted_name": "Asha" }, "origin": origin,
            "phones": [{ "phone": "+1 202-555-0111", "wa_id": NUMBER, "type": "CELL" }] }]);
        app.callback(json!({ "messages": [card] })).await;
        let id = app.sent(TO, "offer").await;
        assert_eq!(app.status_of(&id).await == "skipped", is_one, "{origin}");
    }
}

async fn a_trunk_0_makes_nobody_else(database: Database) {
    let app = app(&database).await;
    for (written, number) in [
        ("+4401614960002", "+441614960002"),
        ("+4402079460001", "+442079460001"),
    ] {
        let first = app.sent(written, "hello").await;
        assert_eq!(app.address_of(&first).await, number);
        let second = app.sent(number, "hello").await;
        let (one, other) = (app.stored(&first).await, app.stored(&second).await);
        assert_eq!(one.contact_id, other.contact_id, "{written}");
    }
    let body = json!({ "to": "+9991234567", "template": "hello" });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 422, "{problem}");
    assert!(
        problem.to_string().contains("no country has this code"),
        "{problem}"
    );
}

async fn a_new_id_at_a_known_number_is_open_until_something_decides(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER), ("from_user_id", "US.1")], 1, "STOP")
        .await;
    app.says(&[("from", NUMBER), ("from_user_id", "US.2")], 5, "hello")
        .await;
    assert_eq!(app.people().await, 2);
    let (_, open) = app.get("/api/v1/contacts/conflicts").await;
    assert_eq!(open[0]["state"], "question", "{open}");
    assert_eq!(open[0]["value"], TO);
    // What the one has refused holds for both; codes go on.
    for to in [TO, "US.1", "US.2"] {
        for template in ["offer", "hello"] {
            let id = app.sent(to, template).await;
            assert_eq!(app.status_of(&id).await, "skipped", "{to} {template}");
        }
    }
    let body = json!({ "to": TO, "template": "code", "params": { "code": "123456" } });
    let id = app.queued(&body).await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted");
    // The first one is seen again: they are two, and the number is the second one's, who has
    // refused nothing.
    app.says(&[("from_user_id", "US.1")], 9, "it is me").await;
    let (_, open) = app.get("/api/v1/contacts/conflicts").await;
    assert_eq!(open, json!([]));
    for (to, is_spared) in [(TO, false), ("US.2", false), ("US.1", true)] {
        let id = app.sent(to, "offer").await;
        assert_eq!(app.status_of(&id).await == "skipped", is_spared, "{to}");
    }
    assert_eq!(
        app.contact("phone=%2B12025550111").await["id"],
        app.contact("user_id=US.2").await["id"]
    );
}

async fn after_time_has_decided_what_was_refused_holds_for_both(database: Database) {
    let app = app(&database).await;
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.1")], "STOP")
        .await;
    app.pass(5);
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.2")], "hello")
        .await;
    app.pass(30 * 86_400);
    assert!(
        herald::engine::people::identity::decide_due(&app.engine, app.now())
            .await
            .unwrap()
            > 0
    );
    assert_eq!(
        herald::engine::people::identity::decide_due(&app.engine, app.now())
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        app.contact("phone=%2B12025550111").await["id"],
        app.contact("user_id=US.2").await["id"]
    );
    for to in [TO, "US.1", "US.2"] {
        let id = app.sent(to, "offer").await;
        assert_eq!(app.status_of(&id).await, "skipped", "{to}");
    }
    app.says_now(&[("from_user_id", "US.2")], "START").await;
    let id = app.sent(TO, "offer").await;
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn a_reply_by_the_id_answers_what_went_to_the_number(database: Database) {
    let app = app(&database).await;
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.1")], "hello")
        .await;
    let id = app.sent(TO, "hello").await;
    app.pass(10);
    app.says_now(&[("from_user_id", "US.1")], "I am coming")
        .await;
    assert!(app.stored(&id).await.replied);
}

async fn what_answers_say_is_learned_together_and_again_after_a_failure(database: Database) {
    let app = app(&database).await;
    let answer = json!({
        "contacts": [{ "input": TO, "wa_id": NUMBER, "user_id": "US.77" }],
        "messages": [{ "id": "wamid.ANSWER" }],
    })
    .to_string();
    app.meta.will_answer(&[(200, &answer)]);
    app.queued(&json!({ "to": TO, "template": "hello" })).await;
    let slots = delivery::ProviderCallSlots::each(1);
    let mut claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    let answered = delivery::call(&app.meta, claim.jobs.remove(0)).await;
    delivery::settle(&app.engine, app.sender, &[answered], 500, app.now())
        .await
        .unwrap();
    let known = "SELECT count(*) FROM contact_alias WHERE value = 'US.77'";
    // One is not worth a transaction yet.
    assert_eq!(
        identity::learn_due(&app.engine, app.now()).await.unwrap(),
        0
    );
    assert_eq!(app.number(known).await, 0);
    // A clock that was put back makes it due, and so does half a second.
    for late in [-1, 1] {
        let later = app.now().plus_seconds(late);
        let blocker = fresh_blocker(&app.database_url).await;
        let failed = blocker
            .while_blocked(&app.engine, identity::learn_due(&app.engine, later))
            .await;
        blocker.release().await;
        assert!(failed.is_err(), "{failed:?}");
        app.reconnect().await;
        assert_eq!(app.number(known).await, 0, "it is kept");
    }
    let later = app.now().plus_seconds(1);
    assert_eq!(identity::learn_due(&app.engine, later).await.unwrap(), 1);
    assert_eq!(app.number(known).await, 1);
    assert_eq!(identity::learn_due(&app.engine, later).await.unwrap(), 0);
}
