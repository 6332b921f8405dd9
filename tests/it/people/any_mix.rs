//! Issue: any set of groups, users, contacts and aliases yields each person at most once, and a
//! reason for each one left out.

use std::{collections::BTreeSet, fmt::Write};

use proptest::{
    prelude::*,
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![any_mix_of_recipients_reaches_each_person_once];

const CASES: usize = 50;

/// Contacts: one half has a number, every other one is known to WhatsApp by an id.
const PEOPLE: usize = 8;

const fn has_number(person: usize) -> bool {
    person < PEOPLE / 2
}

const fn has_user_id(person: usize) -> bool {
    person.is_multiple_of(2)
}

/// Staff of one case: whom each user is linked to, who is in each group; and who is told.
#[derive(Clone, Debug)]
struct Case {
    links: Vec<Option<usize>>,
    groups: Vec<BTreeSet<usize>>,
    /// Of all entries that there are.
    to: Vec<Index>,
    by_event: Vec<Index>,
}

fn case() -> impl Strategy<Value = Case> {
    let links = proptest::collection::vec(proptest::option::weighted(0.8, 0..PEOPLE), 1..10);
    links
        .prop_flat_map(|links| {
            let members = proptest::collection::btree_set(0..links.len(), 0..=links.len());
            let groups = proptest::collection::vec(members, 1..4);
            let to = || proptest::collection::vec(any::<Index>(), 1..7);
            (Just(links), groups, to(), to())
        })
        .prop_map(|(links, groups, to, by_event)| Case {
            links,
            groups,
            to,
            by_event,
        })
}

fn number(person: usize) -> String {
    format!("+1202555010{person}")
}

fn user_id(person: usize) -> String {
    format!("US.{}", 1_111_111 * (person + 1))
}

impl Case {
    /// Its users and groups, named so that no two cases share any.
    fn catalogue(&self, case: usize) -> String {
        let mut text = format!(
            "name = \"crowd\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello to all of you.\"\n\
             [[route]]\nname = \"all\"\nevent = \"crowd.all\"\ntemplate = \"hello\"\nto = [{}]\n",
            (0..6)
                .map(|place| format!("\"{{{{ data.to[{place}] }}}}\""))
                .collect::<Vec<_>>()
                .join(", ")
        );
        for (user, link) in self.links.iter().enumerate() {
            writeln!(text, "[[user]]\nname = \"u{case}-{user}\"").unwrap();
            if let Some(person) = link {
                writeln!(text, "contact = \"c{person}\"").unwrap();
            }
        }
        for person in 0..PEOPLE {
            writeln!(text, "[[contact]]\nname = \"c{person}\"").unwrap();
            if has_number(person) {
                writeln!(text, "phone = \"{}\"", number(person)).unwrap();
            }
        }
        for (group, members) in self.groups.iter().enumerate() {
            let members: Vec<String> = members
                .iter()
                .map(|user| format!("u{case}-{user}"))
                .collect();
            writeln!(
                text,
                "[[group]]\nname = \"g{case}-{group}\"\nmembers = {}",
                json!(members)
            )
            .unwrap();
        }
        text
    }

    /// Every entry that a `to` can have, and whom it means: people by place, users without a
    /// contact by name.
    fn entries(&self, case: usize) -> Vec<(String, BTreeSet<String>)> {
        let of_user = |user: usize| match self.links[user] {
            Some(person) => format!("person {person}"),
            None => format!("unlinked {user}"),
        };
        let mut all = Vec::new();
        for (group, members) in self.groups.iter().enumerate() {
            let means = members.iter().map(|user| of_user(*user)).collect();
            all.push((format!("group:g{case}-{group}"), means));
        }
        for user in 0..self.links.len() {
            all.push((
                format!("user:u{case}-{user}"),
                BTreeSet::from([of_user(user)]),
            ));
        }
        for person in 0..PEOPLE {
            let means = BTreeSet::from([format!("person {person}")]);
            all.push((format!("contact:c{person}"), means.clone()));
            if has_number(person) {
                all.push((number(person), means.clone()));
            }
            if has_user_id(person) {
                all.push((user_id(person), means));
            }
        }
        // Whom nobody knows.
        for stranger in ["+12025550191", "US.9191919"] {
            all.push((stranger.to_owned(), BTreeSet::from([stranger.to_owned()])));
        }
        all
    }
}

/// Whether a message can reach them.
fn is_reachable(who: &str) -> bool {
    match who.split_once(' ') {
        Some(("person", person)) => {
            let person = person.parse().unwrap();
            has_number(person) || has_user_id(person)
        }
        Some(_) => false,
        None => true,
    }
}

async fn any_mix_of_recipients_reaches_each_person_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for round in 0..CASES {
        let case = case().new_tree(&mut runner).unwrap().current();
        app.apply_catalogue(&case.catalogue(round)).await;
        if round == 0 {
            know_their_ids(&app).await;
        }
        let entries = case.entries(round);
        let chosen = |of: &[Index]| -> (Vec<String>, BTreeSet<String>) {
            let chosen: Vec<_> = of.iter().map(|index| index.get(&entries)).collect();
            let to = chosen.iter().map(|(entry, _)| entry.clone()).collect();
            (
                to,
                chosen.iter().flat_map(|(_, means)| means.clone()).collect(),
            )
        };
        let (to, expected) = chosen(&case.to);
        let reference = format!("round-{round}");
        let request = json!({ "to": to, "template": "hello", "reference": reference });
        let (code, answer) = app.post("/api/v1/notifications", &request).await;
        if expected.is_empty() {
            assert_eq!(code, 422, "{case:?}: {answer}");
            let rule = &answer["errors"][0]["rule"];
            assert_eq!(rule, "these groups are empty", "{case:?}");
        } else {
            assert_eq!(code, 202, "{case:?}: {answer}");
            let query = format!("/api/v1/notifications?reference={reference}&limit=50");
            each_once(&app.get(&query).await.1, &expected, &to);
        }
        // The same by an event, in chunks and with a cursor.
        let (mut to, expected) = chosen(&case.by_event);
        to.resize(6, to[0].clone());
        let answer = app
            .event(&reference, "crowd.all", json!({ "to": to }))
            .await;
        let route = &answer["routes"][0];
        assert_eq!(route["notifications"], expected.len(), "{case:?}: {answer}");
        let event = answer["id"].as_str().unwrap();
        let (_, made) = app.get(&format!("/api/v1/events/{event}")).await;
        let mut all = Vec::new();
        for id in made["notifications"].as_array().unwrap() {
            all.push(app.notification(id.as_str().unwrap()).await);
        }
        each_once(&json!({ "notifications": all }), &expected, &to);
        if expected.is_empty() {
            let reason = route["reason"].as_str().unwrap();
            assert!(reason.starts_with("it reached no one"), "{reason}");
        }
    }
}

/// People whom WhatsApp calls by an id.
async fn know_their_ids(app: &TestApp) {
    for person in (0..PEOPLE).filter(|person| has_user_id(*person)) {
        let (_, found) = app.get(&format!("/api/v1/contacts?query=c{person}")).await;
        let id = found["contacts"][0]["id"].as_str().unwrap();
        let body = json!({ "user_id": user_id(person) });
        let path = format!("/api/v1/contacts/{id}");
        let (code, answer) = app.admin("PATCH", &path, &body).await;
        assert_eq!(code, 200, "{answer}");
    }
}

/// Everybody has one message, and who cannot be reached a reason.
fn each_once(list: &Value, expected: &BTreeSet<String>, to: &[String]) {
    let made = list["notifications"].as_array().unwrap();
    assert_eq!(made.len(), expected.len(), "{to:?} {expected:?}: {list}");
    let skipped: Vec<&Value> = made.iter().filter(|it| it["status"] == "skipped").collect();
    let unreachable = expected.iter().filter(|who| !is_reachable(who)).count();
    assert_eq!(skipped.len(), unreachable, "{to:?}: {list}");
    let has_reason = |it: &&Value| it["reason"].as_str().is_some_and(|it| !it.is_empty());
    assert!(skipped.iter().all(has_reason), "{to:?}");
}
