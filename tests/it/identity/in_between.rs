//! People decide who is one person between what comes, and messages leave between what comes.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AT,
    any_order::{Item, evidence, id, item, number, state},
    app, text,
};
use crate::harness::{Database, TestApp};

crate::tests![
    merges_and_splits_between_items_end_the_same_in_any_order,
    no_refusal_is_lost_or_inherited_whatever_comes_first,
];

/// Sequences that are tried, each in three orders.
const CASES: usize = 12;

/// One of three numbers and three ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Number(u8),
    Id(u8),
}

impl Name {
    fn query(self) -> String {
        match self {
            Self::Number(of) => format!("phone=%2B{}", number(of)),
            Self::Id(of) => format!("user_id={}", id(of)),
        }
    }

    fn alias(self) -> String {
        match self {
            Self::Number(of) => format!("+{}", number(of)),
            Self::Id(of) => id(of),
        }
    }

    /// Its contact, if it is known.
    async fn contact(self, app: &TestApp) -> Option<String> {
        let (code, contact) = app.get(&format!("/api/v1/contacts?{}", self.query())).await;
        (code == 200).then(|| contact["id"].as_str().unwrap().to_owned())
    }

    /// What its person has said.
    async fn said(self, app: &TestApp) -> Vec<Said> {
        match self.contact(app).await {
            Some(contact) => said(app, &contact).await,
            None => Vec::new(),
        }
    }
}

/// What somebody wants, or refuses: the scope, whether it is wanted, and since when.
type Said = (String, bool, i64);

async fn said(app: &TestApp, contact: &str) -> Vec<Said> {
    let contact = Uuid::parse_str(contact).unwrap();
    let rows = entity::suppression::Entity::find()
        .filter(entity::suppression::Column::ContactId.eq(contact))
        .all(app.store.reader())
        .await
        .unwrap();
    rows.into_iter()
        .map(|row| (row.scope, row.wanted, row.provider_at))
        .collect()
}

/// What was refused still is, unless the person has said something newer: until now another one
/// was meant, of whom it was not decided whether they are one.
async fn is_kept(app: &TestApp, name: Name, before: &[Said], after: &[Said]) -> bool {
    let contact = app.contact(&name.query()).await;
    let theirs: Vec<&str> = contact["aliases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alias| alias["value"].as_str().unwrap())
        .collect();
    let newer = entity::consent::Entity::find()
        .all(app.store.reader())
        .await
        .unwrap();
    let newer = |scope: &str, at: i64| {
        let of_these = |row: &&entity::consent::Model| {
            let is_theirs = [&row.user_id, &row.phone].map(|it| theirs.contains(&it.as_str()));
            row.wanted && row.provider_at > at && is_theirs.contains(&true)
        };
        newer.iter().filter(of_these).any(|row| row.scope == scope)
    };
    let refused = before.iter().filter(|(_, wanted, _)| !wanted);
    refused.into_iter().all(|(scope, _, at)| {
        after.iter().any(|(of, wanted, _)| of == scope && !wanted) || newer(scope, *at)
    })
}

/// What was refused still is.
fn is_refused(before: &[Said], after: &[Said]) -> bool {
    let refused = before.iter().filter(|(_, wanted, _)| !wanted);
    let stays = |scope: &String| after.iter().any(|(of, wanted, _)| of == scope && !wanted);
    refused.into_iter().all(|(scope, ..)| stays(scope))
}

/// What a person does about who is one person.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Merge(Name, Name),
    Split(Name),
}

impl Deed {
    /// Does it, where it can be done. What was refused before still is.
    async fn run(self, app: &TestApp) {
        match self {
            Self::Merge(one, other) => {
                let (Some(first), Some(second)) =
                    (one.contact(app).await, other.contact(app).await)
                else {
                    return;
                };
                if first == second {
                    return;
                }
                let before = [one.said(app).await, other.said(app).await].concat();
                let was = (evidence(app).await, state(app).await);
                let body = json!({ "contact": first, "other": second });
                let (code, answer) = app.admin("POST", "/api/v1/contacts/merge", &body).await;
                assert_eq!(code, 200, "{self:?}: {answer}");
                let after = one.said(app).await;
                assert!(
                    one.contact(app).await.is_some(),
                    "{self:?}: was {was:#?}\n{:#?}\n{}",
                    state(app).await,
                    evidence(app).await
                );
                assert!(
                    is_kept(app, one, &before, &after).await,
                    "{self:?}: {before:?}, then {after:?}, was {was:#?}\n{:#?}\n{}",
                    state(app).await,
                    evidence(app).await
                );
                assert_eq!(one.contact(app).await, other.contact(app).await, "{self:?}");
            }
            Self::Split(name) => {
                let Some(contact) = name.contact(app).await else {
                    return;
                };
                let before = name.said(app).await;
                let was = (evidence(app).await, state(app).await);
                let path = format!("/api/v1/contacts/{contact}/split");
                let body = json!({ "aliases": [name.alias()] });
                let (code, answer) = app.admin("POST", &path, &body).await;
                // It may be the only one, or have been its contact's until something newer came.
                if code == 422 {
                    return;
                }
                assert_eq!(code, 200, "{self:?}: {answer}\n{}", evidence(app).await);
                let own = name.contact(app).await.unwrap();
                assert_ne!(
                    own,
                    contact,
                    "{self:?}: {answer}, was {was:#?}\n{}",
                    evidence(app).await
                );
                assert_eq!(answer["id"], own);
                for side in [name.said(app).await, said(app, &contact).await] {
                    assert!(
                        is_refused(&before, &side),
                        "{self:?}: {before:?}, then {side:?}"
                    );
                }
            }
        }
    }
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        (0..3_u8).prop_map(Name::Number),
        (0..3_u8).prop_map(Name::Id),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (name(), name()).prop_map(|(one, other)| Deed::Merge(one, other)),
        name().prop_map(Deed::Split),
    ]
}

async fn merges_and_splits_between_items_end_the_same_in_any_order(database: Database) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[21; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let some = || prop::collection::vec(item(), 1..8);
    let strategy = (some(), deed(), some(), deed(), some());
    for case in 0..CASES {
        let (first, one, second, other, third) = strategy.new_tree(&mut runner).unwrap().current();
        let phases = [(first, Some(one)), (second, Some(other)), (third, None)];
        let mut expected: Option<Vec<Vec<String>>> = None;
        for order in 0..3 {
            let app = app(&database).await;
            app.pass(1000);
            let mut found = Vec::new();
            for (place, (items, deed)) in phases.iter().enumerate() {
                // Some of it was on its way for long, some is new.
                let later = |item: &Item, number: usize| {
                    let late = if number.is_multiple_of(2) {
                        0
                    } else {
                        1000 * i64::try_from(place).unwrap()
                    };
                    item.after(late)
                };
                let items: Vec<Value> = items
                    .iter()
                    .enumerate()
                    .map(|(number, it)| later(it, number).message())
                    .collect();
                let mut messages = items;
                if order > 0 {
                    messages = Just(messages)
                        .prop_shuffle()
                        .new_tree(&mut runner)
                        .unwrap()
                        .current();
                }
                if order == 2 {
                    messages.extend(messages.clone());
                }
                for batch in messages.chunks([30, 1, 3][order]) {
                    app.callback(json!({ "messages": batch, "order": order }))
                        .await;
                }
                found.push(state(&app).await);
                if let Some(deed) = deed {
                    deed.run(&app).await;
                    found.push(state(&app).await);
                }
                app.pass(1000);
            }
            match &expected {
                None => expected = Some(found),
                Some(expected) if found == *expected => {}
                Some(expected) => panic!(
                    "case {case} in order {order}: {phases:?}\n{expected:#?}\n{found:#?}\n{}",
                    evidence(&app).await
                ),
            }
        }
    }
}

/// What makes it known whose a number is that somebody new writes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is the same person, under another id.
    Id,
    /// The person who had it has another number.
    Number,
}

const NUMBER: &str = "12025550111";
const THEIR_NEXT: &str = "12025550112";
const BEFORE: &str = "US.1";
const AFTER: &str = "US.2";

/// The three items, in the order in which they happened: STOP, the change, the first message of
/// the new id.
fn items(change: Change) -> [Value; 3] {
    let stop = text(
        &[("from", NUMBER), ("from_user_id", BEFORE)],
        AT + 10,
        "STOP",
    );
    let changed = match change {
        Change::Id => {
            json!({ "id": "wamid.C", "from": NUMBER, "timestamp": (AT + 20).to_string(), "type": "system",
            "system": { "type": "user_changed_user_id", "previous_user_id": BEFORE, "user_id": AFTER, "body": "changed" } })
        }
        Change::Number => {
            json!({ "id": "wamid.C", "from": NUMBER, "timestamp": (AT + 20).to_string(), "type": "system",
            "system": { "type": "user_changed_number", "wa_id": THEIR_NEXT, "body": "changed" } })
        }
    };
    let first = text(
        &[("from", NUMBER), ("from_user_id", AFTER)],
        AT + 30,
        "hello",
    );
    [stop, changed, first]
}

/// Who must not, and who may get a message, once these of the items are known.
fn expected(change: Change, known: &[usize]) -> (Vec<&'static str>, Vec<&'static str>) {
    let has = |item: usize| known.contains(&item);
    if !has(0) {
        return (Vec::new(), Vec::new());
    }
    match (change, has(1), has(2)) {
        // Undecided, or nobody new has come: it holds for all that it may be about.
        (_, false, true) | (Change::Id, true, _) => (vec![NUMBER, BEFORE, AFTER], Vec::new()),
        (_, false, false) => (vec![NUMBER, BEFORE], Vec::new()),
        (Change::Number, true, true) => (vec![THEIR_NEXT, BEFORE], vec![NUMBER, AFTER]),
        (Change::Number, true, false) => (vec![THEIR_NEXT, BEFORE], vec![NUMBER]),
    }
}

async fn no_refusal_is_lost_or_inherited_whatever_comes_first(database: Database) {
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for change in [Change::Id, Change::Number] {
        for order in orders {
            let app = app(&database).await;
            app.pass(1000);
            let items = items(change);
            for (place, item) in order.iter().enumerate() {
                app.callback(json!({ "messages": [items[*item]] })).await;
                let (refused, allowed) = expected(change, &order[..=place]);
                let who = refused.iter().map(|to| (*to, true));
                for (to, is_refused) in who.chain(allowed.iter().map(|to| (*to, false))) {
                    let address = if to.starts_with("US.") {
                        to.to_owned()
                    } else {
                        format!("+{to}")
                    };
                    for template in ["offer", "hello"] {
                        let sent = app.sent(&address, template).await;
                        let status = app.status_of(&sent).await;
                        assert_eq!(
                            status == "skipped",
                            is_refused,
                            "{change:?} in order {order:?}, {template} to {to} after {place}: {status}"
                        );
                    }
                }
                // A message that leaves between two of them teaches nothing that is not so.
                app.sent(&format!("+{NUMBER}"), "hello").await;
            }
        }
    }
}
