//! Contacts, staff and templates, as the pages show and change them.

use herald::domain::login::DashboardRole;
use serde_json::json;

use super::{ready, somebody};
use crate::harness::{Database, TestApp, crowd, group};

crate::tests![
    a_contact_is_added_found_and_changed,
    what_a_person_wants_is_kept_and_obeyed,
    viewers_see_nobody_s_name_or_number,
    staff_is_linked_and_put_into_groups_by_admins,
    people_staff_and_groups_are_deleted_by_admins,
    long_lists_of_people_come_in_pages,
    templates_are_shown_as_people_read_them,
    a_template_shows_what_meta_has_decided,
];

async fn a_contact_is_added_found_and_changed(database: Database) {
    let app = ready(&database).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    let wrong = [("name", "Asha"), ("phone", "12025550101")];
    let page = browser.submit("/dashboard/contacts", &wrong).await;
    assert!(page.says("phone: "), "{}", page.text);
    let good = [("name", "Asha <b>"), ("phone", "+12025550101")];
    let page = browser.submit("/dashboard/contacts", &good).await;
    assert!(page.says("Contact created."), "{}", page.text);
    assert!(
        page.says("<h1>Asha &#60;b&#62; <small>+12025550101</small></h1>"),
        "{}",
        page.text
    );
    assert!(page.says("This person has never written: only templates reach them."));
    let found = browser.get("/dashboard/contacts?text=asha").await;
    assert!(found.says("+12025550101"), "{}", found.text);
    assert!(
        browser
            .get("/dashboard/contacts?text=%25")
            .await
            .says("begins with this.")
    );
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    let address = format!("/dashboard/contacts/{}", person["id"].as_str().unwrap());
    // Somebody who is known is shown, and not renamed by their number.
    let again = [("name", "Somebody else"), ("phone", "+12025550101")];
    let page = browser.submit("/dashboard/contacts", &again).await;
    assert!(page.says("<h1>Asha"), "{}", page.text);
    let change = [
        ("action", "save"),
        ("name", "Asha"),
        ("language", "hi_IN"),
        ("time_zone", "Asia/Kolkata"),
        ("quiet_from", "21:00"),
        ("quiet_until", "07:00"),
    ];
    let page = browser.submit(&address, &change).await;
    for said in [
        "Contact saved.",
        "<dd>hi_IN</dd>",
        "<dd>21:00 to 07:00</dd>",
    ] {
        assert!(page.says(said), "{said}: {}", page.text);
    }
    for (wrong, said) in [
        (
            ("time_zone", "Moon"),
            "time zone: a zone is written Africa/Harare",
        ),
        (("language", "x"), "language: "),
        (
            ("quiet_from", "21:00"),
            "quiet hours are written 21:00 and 07:00",
        ),
    ] {
        let page = browser.submit(&address, &[("action", "save"), wrong]).await;
        assert!(page.says(said), "{said}: {}", page.text);
    }
    let emptied = [("action", "save"), ("quiet_from", ""), ("quiet_until", "")];
    let page = browser.submit(&address, &emptied).await;
    assert!(
        page.says("<dt>quiet hours</dt><dd>none</dd>"),
        "{}",
        page.text
    );
    // Where messages go is an admin's matter.
    let moved = [("action", "save"), ("phone", "+12025550102")];
    assert_eq!(browser.post(&address, &moved).await.status, 403);
    let mut admin = somebody(&app, "grace", DashboardRole::Admin).await;
    let page = admin.submit(&address, &moved).await;
    assert!(page.says("<small>+12025550102</small>"), "{}", page.text);
    let noted =
        "SELECT count(*) FROM audit WHERE actor = 'login:ada' AND action = 'contact.changed'";
    assert_eq!(app.number(noted).await, 3);
    assert_eq!(
        browser
            .get("/dashboard/contacts/00000000-0000-7000-8000-000000000000")
            .await
            .status,
        404
    );
}

const KINDS: &str = r#"
name = "kinds"
[[kind]]
name = "news"
description = "What is new"
[[kind]]
name = "safety"
required = true
[[template]]
name = "hello"
category = "utility"
body = "Hello."
[[route]]
name = "news"
event = "news.told"
to = "{{ data.phone }}"
template = "hello"
kind = "news"
"#;

async fn what_a_person_wants_is_kept_and_obeyed(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(KINDS).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    browser
        .submit("/dashboard/contacts", &[("phone", "+12025550101")])
        .await;
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    let address = format!("/dashboard/contacts/{}", person["id"].as_str().unwrap());
    let page = browser.get(&address).await;
    assert!(page.says("<option value=\"news\">"), "{}", page.text);
    assert!(
        !page.says("<option value=\"safety\">"),
        "what is required is not offered"
    );
    let no_news = [
        ("action", "prefer"),
        ("kind", "news"),
        ("channel", "whatsapp"),
        ("wanted", "no"),
    ];
    let page = browser.submit(&address, &no_news).await;
    assert!(
        page.says("<strong>does not want</strong> news by whatsapp"),
        "{}",
        page.text
    );
    let data = json!({ "phone": "+12025550101" });
    app.event("1", "news.told", data.clone()).await;
    assert_eq!(app.send().await, 0);
    // A second preference leaves the first; a kind that cannot be turned off is refused.
    let more = [
        ("action", "prefer"),
        ("kind", ""),
        ("channel", "sms"),
        ("wanted", "no"),
    ];
    browser.submit(&address, &more).await;
    let forced = [
        ("action", "prefer"),
        ("kind", "safety"),
        ("channel", ""),
        ("wanted", "no"),
    ];
    let page = browser.submit(&address, &forced).await;
    assert!(page.says("cannot be turned off"), "{}", page.text);
    assert_eq!(app.number("SELECT count(*) FROM preference").await, 2);
    // A kind that no catalogue has any more stands in nothing's way, and can be forgotten.
    app.sql("UPDATE preference SET message_kind = 'gone' WHERE message_kind = ''")
        .await;
    let again = [
        ("action", "prefer"),
        ("kind", "news"),
        ("channel", "whatsapp"),
        ("wanted", "no"),
    ];
    let page = browser.submit(&address, &again).await;
    assert!(page.says("Preference saved"), "{}", page.text);
    let old = [("action", "forget"), ("kind", "gone"), ("channel", "sms")];
    assert!(
        browser
            .submit(&address, &old)
            .await
            .says("Preference deleted.")
    );
    let gone = [
        ("action", "forget"),
        ("kind", "news"),
        ("channel", "whatsapp"),
    ];
    let page = browser.submit(&address, &gone).await;
    assert!(!page.says("does not want</strong> news"), "{}", page.text);
    app.event("2", "news.told", data).await;
    assert_eq!(app.send().await, 1);
}

async fn viewers_see_nobody_s_name_or_number(database: Database) {
    let app = ready(&database).await;
    let names = vec!["asha".to_owned()];
    app.apply_catalogue(&format!("name = \"one\"\n{}", crowd(&names)))
        .await;
    app.sql("UPDATE contact SET name = 'Asha Rao'").await;
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025551000").await;
    let id = person["id"].as_str().unwrap();
    let mut browser = somebody(&app, "vic", DashboardRole::Viewer).await;
    for address in [
        "/dashboard/contacts".to_owned(),
        format!("/dashboard/contacts/{id}"),
        "/dashboard/staff".to_owned(),
    ] {
        let page = browser.get(&address).await;
        assert_eq!(page.status, 200, "{address}");
        assert!(
            !page.text.contains("2025551000") && !page.text.contains("Asha Rao"),
            "{}",
            page.text
        );
        assert!(!page.text.contains("contact:asha"), "{}", page.text);
        assert!(
            page.text.contains("+12*******00"),
            "{address}: {}",
            page.text
        );
    }
    assert_eq!(
        browser.get("/dashboard/contacts?text=asha").await.status,
        403
    );
    let change = [("action", "save"), ("name", "Eve")];
    assert_eq!(
        browser
            .post(&format!("/dashboard/contacts/{id}"), &change)
            .await
            .status,
        403
    );
    assert_eq!(
        browser
            .post("/dashboard/contacts", &[("phone", "+12025550111")])
            .await
            .status,
        403
    );
    assert_eq!(
        browser
            .post("/dashboard/staff", &[("action", "ensure"), ("group", "X")])
            .await
            .status,
        403
    );
}

async fn staff_is_linked_and_put_into_groups_by_admins(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut browser = somebody(&app, "grace", DashboardRole::Admin).await;
    let make = [
        ("action", "ensure"),
        ("group", "Sales / Team"),
        ("description", "New orders"),
    ];
    let page = browser.submit("/dashboard/staff", &make).await;
    assert!(page.says("Group created"), "{}", page.text);
    assert!(
        browser
            .submit("/dashboard/staff", &make)
            .await
            .says("A group of this name exists already.")
    );
    let nobody = [
        ("action", "connect"),
        ("user", "asha"),
        ("contact", "contact:nobody"),
    ];
    assert!(
        browser
            .submit("/dashboard/staff", &nobody)
            .await
            .says("contact: no contact has this name in catalogues")
    );
    let link = [
        ("action", "connect"),
        ("user", "asha"),
        ("contact", "+12025550101"),
    ];
    let page = browser.submit("/dashboard/staff", &link).await;
    assert!(page.says("+12025550101</a>"), "{}", page.text);
    let add = [
        ("action", "add"),
        ("group", "Sales / Team"),
        ("user", "asha"),
    ];
    let page = browser.submit("/dashboard/staff", &add).await;
    assert!(
        page.says("<h1>Sales / Team <small>1 member</small></h1>"),
        "{}",
        page.text
    );
    assert!(
        page.says("Member added.") && page.says("New orders"),
        "{}",
        page.text
    );
    let list = browser.get("/dashboard/staff").await;
    assert!(
        list.says("/dashboard/staff/groups/Sales%20%2F%20Team\">Sales / Team</a>"),
        "{}",
        list.text
    );
    let off = [("action", "disconnect"), ("user", "asha")];
    let page = browser.submit("/dashboard/staff", &off).await;
    assert!(page.says("not linked</span>"), "{}", page.text);
    let out = [
        ("action", "remove"),
        ("group", "Sales / Team"),
        ("user", "asha"),
    ];
    assert!(
        browser
            .submit("/dashboard/staff", &out)
            .await
            .says("messages for this group reach no one")
    );
    assert_eq!(
        browser.get("/dashboard/staff/groups/Nobody").await.status,
        404
    );
    let mut operator = somebody(&app, "ada", DashboardRole::Operator).await;
    assert_eq!(operator.post("/dashboard/staff", &link).await.status, 403);
    assert!(!operator.get("/dashboard/staff").await.says("Link a user"));
}

async fn people_staff_and_groups_are_deleted_by_admins(database: Database) {
    let app = ready(&database).await;
    let mut admin = somebody(&app, "grace", DashboardRole::Admin).await;
    let user_id = [("phone", "US.13491208655302741918"), ("name", "Mina")];
    let page = admin.submit("/dashboard/contacts", &user_id).await;
    assert!(page.says("Contact created."), "{}", page.text);
    app.order("A-1", "+12025550111").await;
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550111").await;
    let address = format!("/dashboard/contacts/{}", person["id"].as_str().unwrap());
    let mut operator = somebody(&app, "ada", DashboardRole::Operator).await;
    let delete = [("action", "delete"), ("sure", "yes")];
    assert!(!operator.get(&address).await.says("value=\"delete\""));
    assert_eq!(operator.post(&address, &delete).await.status, 403);
    let unsure = [("action", "delete")];
    let page = admin.submit(&address, &unsure).await;
    assert!(page.says("Tick the box first"), "{}", page.text);
    let page = admin.submit(&address, &delete).await;
    assert!(
        page.says("one waiting message cancelled") && !page.says("+12025550111"),
        "{}",
        page.text
    );
    assert_eq!(admin.get(&address).await.status, 404);

    for (form, said) in [
        ([("action", "user"), ("user", "asha")], "User created"),
        (
            [("action", "user"), ("user", "asha")],
            "A user of this name exists already.",
        ),
        ([("action", "ensure"), ("group", "Night")], "Group created"),
        (
            [("action", "delete-user"), ("user", "asha")],
            "User deleted",
        ),
        (
            [("action", "delete-user"), ("user", "asha")],
            "there is no user of this name",
        ),
        (
            [("action", "delete-group"), ("group", "Night")],
            "Group deleted",
        ),
    ] {
        assert_eq!(operator.post("/dashboard/staff", &form).await.status, 403);
        let page = admin.submit("/dashboard/staff", &form).await;
        assert!(page.says(said), "{said}: {}", page.text);
    }
}

async fn long_lists_of_people_come_in_pages(database: Database) {
    let app = TestApp::spawn(&database).await;
    let names: Vec<String> = (100..220)
        .map(|number| format!("person {number}"))
        .collect();
    let catalogue = format!(
        "name = \"crowd\"\n{}{}",
        crowd(&names),
        group("All", &names)
    );
    app.apply_catalogue(&catalogue).await;
    let mut browser = somebody(&app, "ada", DashboardRole::Operator).await;
    for (first, each) in [
        ("/dashboard/contacts", "<td><a href=\"/dashboard/contacts/"),
        ("/dashboard/staff", "<tr><th scope=\"row\">person "),
        (
            "/dashboard/staff/groups/All",
            "<tr><th scope=\"row\">person ",
        ),
    ] {
        let mut address = first.to_owned();
        let mut seen = Vec::new();
        loop {
            let page = browser.get(&address).await;
            assert_eq!(page.status, 200, "{address}");
            seen.push(page.text.matches(each).count());
            let Some((_, rest)) = page.text.split_once("rel=\"next\" href=\"") else {
                break;
            };
            address = rest.split_once('"').unwrap().0.replace("&amp;", "&");
        }
        assert_eq!(seen, [50, 50, 20], "{first}");
    }
}

const SHOWN: &str = r#"
name = "shown"
[[template]]
name = "invoice"
category = "utility"
language = "en"
body = "Dear *{{ name }}*, _{{ total | money(\"INR\") }}_ is due."
footer = "Herald Power"
[template.header]
type = "text"
text = "Invoice {{ number }}"
[[template.button]]
type = "url"
text = "Pay"
url = "https://example.org/pay/{{ number }}"
[[template.parameter]]
name = "name"
example = "Asha"
[[template.parameter]]
name = "total"
kind = "number"
example = "125000"
[[template.parameter]]
name = "number"
example = "A-17"
sensitive = true
[[route]]
name = "invoices"
event = "shown.invoiced"
to = "{{ data.phone }}"
template = "invoice"
params = { name = "x", total = "1", number = "2" }
"#;

async fn templates_are_shown_as_people_read_them(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(SHOWN).await;
    let mut browser = somebody(&app, "vic", DashboardRole::Viewer).await;
    let list = browser.get("/dashboard/templates").await;
    assert!(
        list.says(
            "<a href=\"/dashboard/templates/invoice\">invoice</a></td><td>en</td><td>utility</td>"
        ),
        "{}",
        list.text
    );
    assert!(list.says("never reported"));
    let page = browser.get("/dashboard/templates/invoice").await;
    for said in [
        "<p class=\"head\">Invoice A-17</p>",
        "Dear <span class=\"bold \">Asha</span>, <span class=\"italic \">₹125,000</span> is due.",
        "<p class=\"foot\">Herald Power</p>",
        "<span class=\"tap\">Pay</span>",
        "number <small>text, secret</small>",
        "<li>route <span class=\"mono\">invoices</span></li>",
    ] {
        assert!(page.says(said), "{said}: {}", page.text);
    }
    let other = browser
        .get("/dashboard/templates/invoice?p.name=%3Cb%3E&p.total=7.5")
        .await;
    assert!(
        other.says("&#60;b&#62;</span>, <span class=\"italic \">₹7.50</span>"),
        "{}",
        other.text
    );
    let wrong = browser
        .get("/dashboard/templates/invoice?p.total=many")
        .await;
    assert!(
        wrong.says("role=\"alert\">") && wrong.says("total"),
        "{}",
        wrong.text
    );
    assert_eq!(
        browser.get("/dashboard/templates/nothing").await.status,
        404
    );
}

async fn a_template_shows_what_meta_has_decided(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(SHOWN).await;
    let decided = |name: &str, event: &str, reason: &str| {
        json!({ "event": event, "message_template_id": 123, "message_template_name": name,
            "message_template_language": "en", "reason": reason })
    };
    for value in [
        decided("invoice", "REJECTED", "INVALID_FORMAT"),
        decided("made_by_hand", "APPROVED", "NONE"),
    ] {
        let at = Some(app.now().unix_seconds());
        crate::meta_callbacks::told(&app, "message_template_status_update", at, value).await;
    }
    let mut browser = somebody(&app, "vic", DashboardRole::Viewer).await;
    let page = browser.get("/dashboard/templates/invoice").await;
    assert!(
        page.says("<span class=\"badge bad\">rejected</span>"),
        "{}",
        page.text
    );
    assert!(page.says("INVALID_FORMAT"), "{}", page.text);
    let list = browser.get("/dashboard/templates").await;
    assert!(
        list.says("At Meta, but in no catalogue")
            && list.says("<th scope=\"row\">made_by_hand</th>"),
        "{}",
        list.text
    );
}
