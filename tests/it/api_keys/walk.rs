//! Every operation of the contract with two products' keys: of what belongs to the shop the
//! clinic is told what it would be told if it did not exist.

use std::collections::{BTreeMap, BTreeSet};

use herald::http::api::endpoints::all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, CLINIC_NUMBER, Two, ask, catalogue, id_of, key, sender, write};
use crate::harness::{APP_SECRET, Database, PHONE_NUMBER_ID, TestApp};

crate::tests![
    every_operation_answers_of_anothers_as_if_it_did_not_exist,
    every_operation_refuses_who_may_not,
];

/// Whom the shop alone knows, and whom nobody knows.
const THEIRS: &str = "+12025550111";
const NOBODYS: &str = "+12025550112";

/// What paths and bodies name.
struct Named {
    ids: BTreeMap<&'static str, String>,
}

impl Named {
    fn get(&self, what: &str) -> &str {
        &self.ids[what]
    }

    /// An address of the contract with what it names.
    fn path(&self, template: &str) -> String {
        let resource = template
            .trim_start_matches("/api/v1/")
            .split('/')
            .next()
            .unwrap();
        let of_path = match resource {
            "events" => "event",
            "notifications" => "notification",
            "messages" => "message",
            "contacts" => "contact",
            "keys" => "key",
            "senders" => "credential",
            "verifications" => "verification",
            _ => "none",
        };
        let name = if resource == "groups" {
            "group"
        } else {
            "user"
        };
        let mut path = template.replace("{sender}", self.get("sender"));
        if path.contains("{id}") {
            path = path.replace("{id}", self.get(of_path));
        }
        path.replace("{name}", &self.get(name).replace(' ', "%20"))
            .replace("{user}", self.get("user"))
    }

    /// An answer without what it was asked about.
    fn without(&self, (code, body): Answer) -> (u16, String) {
        let mut text = body.to_string();
        for (what, id) in &self.ids {
            text = text.replace(id, what);
        }
        (code, text)
    }
}

/// How an operation is walked.
enum Walk {
    /// Its address, or its body, names something of the shop's: the same as of something that
    /// never existed.
    Named(fn(&Named) -> Value),
    /// It lists or counts: the same as before the shop had anything.
    Listed(&'static [&'static str]),
    /// The same, by a body.
    Counted(&'static [&'static str]),
}

fn nothing(_: &Named) -> Value {
    Value::Null
}

fn empty(_: &Named) -> Value {
    json!({})
}

/// Every operation there is. One that is missing here fails the test.
fn table() -> BTreeMap<(&'static str, &'static str), Walk> {
    use Walk::{Counted, Listed, Named};
    const ALL: &[&str] = &[
        r#"{ "all": true, "dry_run": true, "even_if_delivered": true }"#,
        r#"{ "filter": { "status": "queued" }, "dry_run": true }"#,
        r#"{ "filter": { "recipient": "+12025550111" }, "dry_run": true }"#,
        r#"{ "filter": { "label": "of=shop" }, "dry_run": true }"#,
    ];
    BTreeMap::from([
        (
            ("POST", "/api/v1/events"),
            Named(
                |it| json!({ "id": it.get("external"), "source": "shop", "type": "shop.order", "data": { "number": "stolen" } }),
            ),
        ),
        (
            ("GET", "/api/v1/events"),
            Listed(&["", "?errors=true", "?type=shop.order", "?limit=1"]),
        ),
        (("GET", "/api/v1/events/{id}"), Named(nothing)),
        (("POST", "/api/v1/events/{id}/replay"), Named(nothing)),
        (("GET", "/api/v1/event-types"), Listed(&[""])),
        (
            ("POST", "/api/v1/notifications"),
            Named(|it| {
                json!({ "to": [format!("contact:{}", it.get("contact")), format!("user:{}", it.get("user")), format!("group:{}", it.get("group"))],
                "about": format!("contact:{}", it.get("contact")), "template": it.get("template"),
                "sender": it.get("sender"), "message_kind": it.get("kind") })
            }),
        ),
        (
            ("GET", "/api/v1/notifications"),
            Listed(&[
                "",
                "?limit=1",
                "?status=queued",
                "?status=pending",
                "?template=shop_order",
                "?label=of=shop",
                "?reference=R-1",
                "?recipient=%2B12025550111",
                "?recipient=user:shop-boss",
                "?type=shop.order",
                "?since=2026-01-01T00:00:00Z",
            ]),
        ),
        (("GET", "/api/v1/notifications/{id}"), Named(nothing)),
        (("GET", "/api/v1/notifications/{id}/story"), Named(nothing)),
        (
            ("POST", "/api/v1/notifications/{id}/retry"),
            Named(|_| json!({ "even_if_delivered": true })),
        ),
        (
            ("POST", "/api/v1/notifications/{id}/cancel"),
            Named(nothing),
        ),
        (
            ("POST", "/api/v1/notifications/{id}/send-now"),
            Named(nothing),
        ),
        (("POST", "/api/v1/notifications/retry"), Counted(ALL)),
        (("POST", "/api/v1/notifications/cancel"), Counted(ALL)),
        (("POST", "/api/v1/notifications/send-now"), Counted(ALL)),
        (
            ("GET", "/api/v1/messages"),
            Listed(&[
                "",
                "?limit=1",
                "?phone=%2B12025550111",
                "?since=2026-01-01T00:00:00Z",
            ]),
        ),
        (("GET", "/api/v1/messages/{id}"), Named(nothing)),
        (("GET", "/api/v1/messages/{id}/media"), Named(nothing)),
        (("POST", "/api/v1/messages/{id}/read"), Named(nothing)),
        (
            ("GET", "/api/v1/contacts"),
            Listed(&[
                "",
                "?limit=1",
                "?query=Asha",
                "?query=%2B1202555",
                "?phone=%2B12025550111",
                "?user_id=US.13491208655302741918",
            ]),
        ),
        (
            ("POST", "/api/v1/contacts"),
            Named(|it| json!({ "phone": it.get("phone"), "name": "Patient" })),
        ),
        (("GET", "/api/v1/contacts/conflicts"), Listed(&[""])),
        (
            ("POST", "/api/v1/contacts/merge"),
            Named(|it| json!({ "contact": it.get("contact"), "other": it.get("contact") })),
        ),
        (("GET", "/api/v1/contacts/{id}/identity"), Named(nothing)),
        (
            ("POST", "/api/v1/contacts/{id}/split"),
            Named(|it| json!({ "aliases": [it.get("phone")] })),
        ),
        (("GET", "/api/v1/contacts/{id}"), Named(nothing)),
        (
            ("PATCH", "/api/v1/contacts/{id}"),
            Named(|_| json!({ "phone": "+12025550119", "name": "Taken" })),
        ),
        (("DELETE", "/api/v1/contacts/{id}"), Named(nothing)),
        (("GET", "/api/v1/contacts/{id}/preferences"), Named(nothing)),
        (
            ("PUT", "/api/v1/contacts/{id}/preferences"),
            Named(|_| json!({ "preferences": [{ "wanted": false }] })),
        ),
        (("GET", "/api/v1/message-kinds"), Listed(&[""])),
        (("GET", "/api/v1/suppressions"), Listed(&["", "?limit=1"])),
        (
            ("GET", "/api/v1/users"),
            Listed(&["", "?query=shop", "?limit=1"]),
        ),
        (("GET", "/api/v1/users/{name}"), Named(nothing)),
        (("PUT", "/api/v1/users/{name}"), Named(nothing)),
        (("DELETE", "/api/v1/users/{name}"), Named(nothing)),
        (
            ("PUT", "/api/v1/users/{name}/contact"),
            Named(|it| json!({ "contact": it.get("phone") })),
        ),
        (("GET", "/api/v1/groups"), Listed(&[""])),
        (("GET", "/api/v1/groups/{name}"), Named(nothing)),
        (("PUT", "/api/v1/groups/{name}"), Named(empty)),
        (("DELETE", "/api/v1/groups/{name}"), Named(nothing)),
        (("GET", "/api/v1/groups/{name}/members"), Named(nothing)),
        (
            ("PUT", "/api/v1/groups/{name}/members/{user}"),
            Named(nothing),
        ),
        (
            ("DELETE", "/api/v1/groups/{name}/members/{user}"),
            Named(nothing),
        ),
        (("GET", "/api/v1/notices"), Listed(&["", "?limit=1"])),
        (("GET", "/api/v1/templates"), Listed(&[""])),
        (("GET", "/api/v1/senders"), Listed(&[""])),
        (
            ("POST", "/api/v1/senders"),
            Named(|it| json!({ "name": it.get("sender"), "phone_number_id": "1" })),
        ),
        (("GET", "/api/v1/senders/{sender}"), Named(nothing)),
        (
            ("PATCH", "/api/v1/senders/{sender}"),
            Named(|_| json!({ "messages_per_second": 1 })),
        ),
        (("POST", "/api/v1/senders/{sender}/default"), Named(nothing)),
        (
            ("POST", "/api/v1/senders/{sender}/hold"),
            Named(|_| json!({ "reason": "taken" })),
        ),
        (("POST", "/api/v1/senders/{sender}/release"), Named(empty)),
        (
            ("POST", "/api/v1/senders/{sender}/credentials"),
            Named(|_| json!({ "kind": "app_secret", "value": "taken-0123456789" })),
        ),
        (
            ("DELETE", "/api/v1/senders/{sender}/credentials/{id}"),
            Named(nothing),
        ),
        (
            ("POST", "/api/v1/senders/{sender}/credentials/{id}/activate"),
            Named(nothing),
        ),
        (
            (
                "POST",
                "/api/v1/senders/{sender}/credentials/{id}/deactivate",
            ),
            Named(nothing),
        ),
        (
            ("GET", "/api/v1/stats"),
            Listed(&[
                "?hours=24",
                "?hours=24&by=sender&step=hour",
                "?hours=24&by=event_type",
                "?hours=24&template=shop_order",
                "?hours=24&event_type=shop.order",
                "?hours=24&sender=shop",
            ]),
        ),
        (
            ("POST", "/api/v1/verifications"),
            Named(|it| {
                json!({ "to": format!("contact:{}", it.get("contact")), "template": it.get("template"),
                "sender": it.get("sender") })
            }),
        ),
        (("GET", "/api/v1/verifications/{id}"), Named(nothing)),
        (("DELETE", "/api/v1/verifications/{id}"), Named(nothing)),
        (
            ("POST", "/api/v1/verifications/{id}/check"),
            Named(|_| json!({ "code": "123456" })),
        ),
        (("POST", "/api/v1/verifications/{id}/resend"), Named(empty)),
        (("GET", "/api/v1/suppressed-addresses"), Listed(&[""])),
        (
            ("DELETE", "/api/v1/suppressed-addresses/{channel}/{address}"),
            Named(nothing),
        ),
        (("GET", "/api/v1/audit"), Listed(&["", "?subject=shop"])),
        (
            ("PUT", "/api/v1/log"),
            Named(|_| json!({ "filter": "info" })),
        ),
        (("GET", "/api/v1/hold"), Listed(&[""])),
        (
            ("POST", "/api/v1/hold"),
            Named(|_| json!({ "reason": "looking" })),
        ),
        (
            ("POST", "/api/v1/hold/release"),
            Named(|_| json!({ "dry_run": true })),
        ),
        (("GET", "/api/v1/keys"), Listed(&[""])),
        (
            ("POST", "/api/v1/keys"),
            Named(|_| json!({ "product": "shop", "all": true })),
        ),
        (("DELETE", "/api/v1/keys/{id}"), Named(nothing)),
    ])
}

/// The operations of the contract: method and address.
async fn contract(app: &TestApp) -> BTreeSet<(String, String)> {
    let (_, text) = app.text("/api/v1/openapi.json").await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut all = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            all.insert((method.to_uppercase(), path.clone()));
        }
    }
    assert!(all.len() > 50);
    all
}

/// What lists and counts answer the clinic.
async fn listed(app: &TestApp, key: &str) -> BTreeMap<String, Answer> {
    let mut all = BTreeMap::new();
    for ((method, path), walk) in table() {
        let (queries, bodies) = match walk {
            Walk::Listed(queries) => (queries, &["null"][..]),
            Walk::Counted(bodies) => (&[""][..], bodies),
            Walk::Named(_) => continue,
        };
        for query in queries {
            for body in bodies {
                let body_read = serde_json::from_str(body).unwrap();
                let asked = format!("{method} {path}{query} {body}");
                let answer = ask(app, key, method, &format!("{path}{query}"), &body_read).await;
                all.insert(asked, answer);
            }
        }
    }
    all
}

/// A clinic that has a little of everything.
async fn clinic(database: &Database) -> Two {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&catalogue("clinic", "+12025550190"))
        .await;
    let clinic_sender = sender(&app, "clinic", CLINIC_NUMBER).await;
    let clinic = key(
        &app,
        json!({ "product": "clinic", "source": "clinic", "senders": ["clinic"], "catalogue": "clinic" }),
    )
    .await;
    let two = Two {
        clinic_sender: clinic_sender.parse().unwrap(),
        shop: String::new(),
        clinic,
        app,
    };
    two.order(&two.clinic, "clinic", "1", "+12025550110").await;
    two.order(&two.clinic, "clinic", "2", "group:clinic-staff")
        .await;
    let secret = "secret-of-clinic-0123456789";
    write(
        &two.app,
        CLINIC_NUMBER,
        secret,
        "12025550110",
        "wamid.clinic",
        json!({}),
    )
    .await;
    two
}

/// Gives the shop a little of everything, and names it.
async fn shop(two: &mut Two) -> Named {
    let app = &two.app;
    app.apply_catalogue(&catalogue("shop", "+12025550191"))
        .await;
    let (code, _) = app
        .admin(
            "PATCH",
            &format!("/api/v1/senders/{}", app.sender),
            &json!({ "name": "shop" }),
        )
        .await;
    assert_eq!(code, 200);
    let wanted =
        json!({ "product": "shop", "source": "shop", "senders": ["shop"], "catalogue": "shop" });
    let (_, made) = app.admin("POST", "/api/v1/keys", &wanted).await;
    let key_id = id_of(&made);
    made["key"].as_str().unwrap().clone_into(&mut two.shop);
    let (app, shop) = (&two.app, two.shop.as_str());
    let said = json!({ "phone": THEIRS, "name": "Asha", "user_id": "US.13491208655302741918" });
    let (_, contact) = ask(app, shop, "POST", "/api/v1/contacts", &said).await;
    let event = two.order(shop, "shop", "real", THEIRS).await;
    two.order(shop, "shop", "staff", "group:shop-staff").await;
    let code = json!({ "to": THEIRS, "template": "shop_code", "params": { "code": "123456" }, "priority": "otp",
        "labels": { "of": "shop" }, "reference": "R-1" });
    let (status, answer) = ask(app, shop, "POST", "/api/v1/notifications", &code).await;
    assert_eq!(status, 202, "{answer}");
    let wanted = json!({ "to": THEIRS, "template": "shop_code" });
    let (status, verification) = ask(app, shop, "POST", "/api/v1/verifications", &wanted).await;
    assert_eq!(status, 201, "{verification}");
    let image = json!({ "type": "image", "image": { "id": "1", "mime_type": "image/jpeg" } });
    write(
        app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        "12025550111",
        "wamid.shop",
        image,
    )
    .await;
    let opt_out = json!({ "text": { "body": "STOP" } });
    write(
        app,
        PHONE_NUMBER_ID,
        APP_SECRET,
        "12025550118",
        "wamid.stop",
        opt_out,
    )
    .await;
    let (_, list) = ask(
        app,
        shop,
        "GET",
        "/api/v1/messages?phone=%2B12025550111",
        &Value::Null,
    )
    .await;
    let credential = app
        .admin(
            "GET",
            &format!("/api/v1/senders/{}", app.sender),
            &Value::Null,
        )
        .await
        .1["credentials"][0]["id"]
        .as_str()
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let ids = [
        ("event", id_of(&event)),
        ("notification", id_of(&answer["notifications"][0])),
        ("message", id_of(&list["messages"][0])),
        ("verification", id_of(&verification)),
        ("contact", id_of(&contact)),
        ("key", key_id),
        ("sender", app.sender.to_string()),
        ("credential", credential),
        ("user", "shop-boss".to_owned()),
        ("group", "shop-staff".to_owned()),
        ("template", "shop_order".to_owned()),
        ("kind", "shop-news".to_owned()),
        ("external", "real".to_owned()),
        ("phone", THEIRS.to_owned()),
    ];
    Named {
        ids: ids.into_iter().collect(),
    }
}

/// Names of the same form that nothing has.
fn nobodys() -> Named {
    let words = [
        ("user", "nobody-0"),
        ("group", "nobody-group"),
        ("template", "no_template"),
        ("kind", "no-kind"),
        ("external", "never-posted"),
        ("phone", NOBODYS),
    ];
    let ids = [
        "event",
        "notification",
        "message",
        "verification",
        "contact",
        "key",
        "sender",
        "credential",
    ];
    Named {
        ids: ids
            .into_iter()
            .map(|what| (what, Uuid::new_v4().to_string()))
            .chain(words.map(|(what, word)| (what, word.to_owned())))
            .collect(),
    }
}

/// Everything that the shop sees, and what administers it.
async fn whole(two: &Two, theirs: &Named) -> BTreeMap<String, Answer> {
    let mut all = listed(&two.app, &two.shop).await;
    for ((method, path), walk) in table() {
        if method == "GET" && matches!(walk, Walk::Named(_)) && !path.ends_with("/media") {
            let path = theirs.path(path);
            let answer = ask(&two.app, &two.shop, method, &path, &Value::Null).await;
            assert_eq!(answer.0, 200, "{path}: {}", answer.1);
            all.insert(path, answer);
        }
    }
    for table in [
        "sender",
        "credential",
        "user_account",
        "user_group",
        "group_member",
        "suppression",
    ] {
        let rows = two
            .app
            .number(&format!("SELECT count(*) FROM {table}"))
            .await;
        all.insert(table.to_owned(), (0, json!(rows)));
    }
    let senders = two.app.admin("GET", "/api/v1/senders", &Value::Null).await;
    all.insert("senders".to_owned(), senders);
    all
}

async fn every_operation_answers_of_anothers_as_if_it_did_not_exist(database: Database) {
    let mut two = clinic(&database).await;
    let before = listed(&two.app, &two.clinic).await;
    let theirs = shop(&mut two).await;
    // What lists and counts says nothing of the shop.
    for (asked, answer) in listed(&two.app, &two.clinic).await {
        assert_eq!(before[&asked], answer, "{asked}");
    }
    let whole_before = whole(&two, &theirs).await;
    let nobodys = nobodys();
    let table = table();
    let mut contract = contract(&two.app).await;
    // Last: who gives a number may name its contact from then on.
    let (gives, others): (Vec<_>, Vec<_>) = table
        .iter()
        .partition(|((method, path), _)| (*method, *path) == ("POST", "/api/v1/contacts"));
    for ((method, path), walk) in others.into_iter().chain(gives) {
        assert!(
            contract.remove(&((*method).to_owned(), (*path).to_owned())),
            "{method} {path} is not in the contract"
        );
        let Walk::Named(body) = walk else { continue };
        let mut answers = Vec::new();
        for named in [&theirs, &nobodys] {
            let path = named.path(path);
            let answer = ask(&two.app, &two.clinic, method, &path, &body(named)).await;
            assert_ne!(answer.0, 401);
            let mut shown = named.without(answer);
            // What is made anew has ids of its own.
            if *path == *"/api/v1/contacts" && shown.0 == 201 {
                let made: Value = serde_json::from_str(&shown.1).unwrap();
                shown.1 = shown.1.replace(made["id"].as_str().unwrap(), "made");
            }
            answers.push(shown);
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        let is_told = answers[0].0 < 300;
        assert!(
            !is_told || *path == "/api/v1/contacts",
            "{method} {path}: {}",
            answers[0].1
        );
    }
    assert!(contract.is_empty(), "not walked: {contract:?}");
    // Something that is done to all is done to the clinic's alone.
    for action in ["send-now", "cancel", "retry"] {
        let path = format!("/api/v1/notifications/{action}");
        let (code, done) = ask(
            &two.app,
            &two.clinic,
            "POST",
            &path,
            &json!({ "all": true }),
        )
        .await;
        assert_eq!((code, &done["matched"]), (200, &json!(2)), "{done}");
    }
    let whole_after = whole(&two, &theirs).await;
    for (asked, answer) in whole_before {
        assert_eq!(whole_after[&asked], answer, "{asked}");
    }
}

async fn every_operation_refuses_who_may_not(database: Database) {
    let mut two = clinic(&database).await;
    let theirs = shop(&mut two).await;
    let reader = key(
        &two.app,
        json!({ "product": "shop", "source": "shop", "senders": ["shop"], "catalogue": "shop",
            "scopes": ["events:read", "notifications:read", "messages:read", "contacts:read", "staff:read", "catalogue:read",
                "senders:read", "account:read", "statistics:read", "verifications:read"] }),
    )
    .await;
    let writer = key(
        &two.app,
        json!({ "product": "shop", "source": "shop", "senders": ["shop"], "catalogue": "shop", "scopes": ["messages:write"] }),
    )
    .await;
    let other_sender = key(
        &two.app,
        json!({ "product": "shop", "source": "shop", "senders": ["clinic"], "catalogue": "shop" }),
    )
    .await;
    let expired = key(
        &two.app,
        json!({ "product": "shop", "source": "shop", "expires_at": "2026-01-01T00:10:00Z" }),
    )
    .await;
    let whole_before = whole(&two, &theirs).await;
    two.app.pass(600);
    for endpoint in all() {
        let (method, path) = (endpoint.method.as_str(), &endpoint.path);
        let concrete = theirs.path(path);
        let asked = format!("{method} {concrete}");
        let answer = async |key: &str| ask(&two.app, key, method, &concrete, &Value::Null).await;
        let code = async |key: &str| answer(key).await.0;
        assert_eq!(code(&expired).await, 401, "{asked}");
        assert_eq!(code("herald_nothing").await, 401, "{asked}");
        let may_write = path == "/api/v1/messages/{id}/read";
        let for_admins = ["/api/v1/audit", "/api/v1/hold", "/api/v1/keys"].contains(&path.as_str());
        if method != "GET" || for_admins {
            assert_eq!(code(&reader).await, 403, "{asked}");
        } else if !path.ends_with("/media") {
            assert_eq!(code(&reader).await, 200, "{asked}");
        }
        if !may_write {
            // The scope tells that this endpoint answers, and no other of a path like it.
            let (code, problem) = answer(&writer).await;
            let detail = format!("the key needs the scope {}", endpoint.scope.name());
            assert_eq!((code, &problem["detail"]), (403, &json!(detail)), "{asked}");
        }
        if method == "GET"
            && (path.contains("notifications/{id}") || path.contains("messages/{id}"))
        {
            assert_eq!(code(&other_sender).await, 404, "{asked}");
        }
    }
    two.app.pass(-600);
    for (asked, answer) in whole(&two, &theirs).await {
        assert_eq!(whole_before[&asked], answer, "{asked}");
    }
}
