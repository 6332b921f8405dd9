//! Any order, repetition and batching of the same items ends in the same persons, opt-outs and
//! windows.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AT, app, text};
use crate::harness::{Database, TestApp};

crate::tests![any_order_and_batching_of_items_ends_the_same];

/// Sequences that are tried, each in three orders.
const CASES: usize = 20;

/// One item about some of three numbers and three ids.
#[derive(Clone, Debug)]
pub enum Item {
    Text {
        number: Option<u8>,
        id: Option<u8>,
        at: i64,
        body: &'static str,
    },
    Moved {
        from: u8,
        to: u8,
        at: i64,
    },
    Replaced {
        old: u8,
        new: u8,
        at: i64,
    },
}

pub fn number(number: u8) -> String {
    format!("1202555011{number}")
}

pub fn id(id: u8) -> String {
    format!("US.10{id}")
}

impl Item {
    /// The same so many seconds later.
    pub fn after(&self, seconds: i64) -> Self {
        let mut later = self.clone();
        let (Self::Text { at, .. } | Self::Moved { at, .. } | Self::Replaced { at, .. }) =
            &mut later;
        *at += seconds;
        later
    }

    pub fn message(&self) -> Value {
        match self {
            Self::Text {
                number: of,
                id: user,
                at,
                body,
            } => {
                let (of, user) = (of.map(number), user.map(id));
                let mut from = Vec::new();
                from.extend(of.as_deref().map(|of| ("from", of)));
                from.extend(user.as_deref().map(|user| ("from_user_id", user)));
                text(&from, AT + at, body)
            }
            Self::Moved { from, to, at } => json!({
                "id": format!("wamid.m{from}{to}{at}"), "from": number(*from), "timestamp": (AT + at).to_string(), "type": "system",
                "system": { "type": "user_changed_number", "wa_id": number(*to), "body": "changed" },
            }),
            Self::Replaced { old, new, at } => json!({
                "id": format!("wamid.r{old}{new}{at}"), "timestamp": (AT + at).to_string(), "type": "system",
                "system": { "type": "user_changed_user_id", "previous_user_id": id(*old), "user_id": id(*new), "body": "changed" },
            }),
        }
    }
}

pub fn item() -> impl Strategy<Value = Item> {
    let names = prop_oneof![
        (0..3_u8).prop_map(|number| (Some(number), None)),
        (0..3_u8).prop_map(|id| (None, Some(id))),
        (0..3_u8, 0..3_u8).prop_map(|(number, id)| (Some(number), Some(id))),
    ];
    let bodies = prop_oneof![Just("hello"), Just("STOP"), Just("START")];
    prop_oneof![
        6 => (names, 0..40_i64, bodies).prop_map(|((number, id), at, body)| Item::Text { number, id, at, body }),
        1 => (0..3_u8, 0..3_u8, 0..40_i64).prop_map(|(from, to, at)| Item::Moved { from, to, at }),
        1 => (0..3_u8, 0..3_u8, 0..40_i64).prop_map(|(old, new, at)| Item::Replaced { old, new, at }),
    ]
}

/// Who has which aliases, what they refuse, until when their window is open, and what is open
/// between whom: without ids, in order.
pub async fn state(app: &TestApp) -> Vec<String> {
    let reader = app.store.reader();
    let mut persons: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for row in entity::contact_alias::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        let end = row
            .superseded_at
            .map_or_else(String::new, |at| format!(" until {}", at - AT * 1_000_000));
        persons
            .entry(row.contact_id)
            .or_default()
            .push(format!("{}{end}", row.value));
    }
    for row in entity::suppression::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        let said = format!(
            "{} {} at {}",
            row.scope,
            row.wanted,
            row.provider_at - AT * 1_000_000
        );
        persons.entry(row.contact_id).or_default().push(said);
    }
    for row in entity::conversation::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        if let Some(until) = row.window_until {
            let window = format!("window {}", until - AT * 1_000_000);
            persons.entry(row.contact_id).or_default().push(window);
        }
    }
    for row in entity::inbound_message::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        // A change of nothing into itself is of nobody.
        let Some(contact) = row.contact_id else {
            continue;
        };
        let wrote = format!("wrote {}", row.provider_message_id);
        persons.entry(contact).or_default().push(wrote);
    }
    for row in entity::contact_conflict::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        for contact in [row.contact_id, row.other_id] {
            let open = format!("{} {}", row.state, row.value);
            persons.entry(contact).or_default().push(open);
        }
    }
    let mut all: Vec<String> = persons
        .into_values()
        .map(|mut lines| {
            lines.sort();
            lines.join(", ")
        })
        .collect();
    all.sort();
    all
}

async fn any_order_and_batching_of_items_ends_the_same(database: Database) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[20; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = prop::collection::vec(item(), 1..30);
    for case in 0..CASES {
        let items = strategy.new_tree(&mut runner).unwrap().current();
        let mut expected: Option<Vec<String>> = None;
        for order in 0..3 {
            let app = app(&database).await;
            // All of it is in the past.
            app.pass(1000);
            let shuffled = Just(items.clone()).prop_shuffle();
            let mut messages: Vec<Value> = match order {
                0 => items.iter().map(Item::message).collect(),
                _ => shuffled
                    .new_tree(&mut runner)
                    .unwrap()
                    .current()
                    .iter()
                    .map(Item::message)
                    .collect(),
            };
            if order == 2 {
                // Once more, in other callbacks.
                messages.extend(messages.clone());
            }
            let size = [30, 1, 4][order];
            for batch in messages.chunks(size) {
                app.callback(json!({ "messages": batch, "order": order }))
                    .await;
            }
            let found = state(&app).await;
            match &expected {
                None => expected = Some(found),
                Some(expected) if found == *expected => {}
                Some(expected) => panic!(
                    "case {case} in order {order}: {items:?}\n{expected:#?}\n{found:#?}\n{}",
                    evidence(&app).await
                ),
            }
        }
    }
}

/// What is known, for whoever reads a failure.
pub async fn evidence(app: &TestApp) -> String {
    let reader = app.store.reader();
    let mut lines = Vec::new();
    for row in entity::identity_evidence::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        let at = |at: i64| (at - AT * 1_000_000) / 1_000_000;
        lines.push(format!(
            "{} {} {} {}..{}",
            row.kind,
            row.one,
            row.other,
            at(row.first_at),
            at(row.last_at)
        ));
    }
    lines.sort();
    for row in entity::identity_decision::Entity::find()
        .all(reader)
        .await
        .unwrap()
    {
        lines.push(format!("decided {row:?}"));
    }
    for row in entity::contact::Entity::find().all(reader).await.unwrap() {
        let at = row.anchor_at.map(|at| (at - AT * 1_000_000) / 1_000_000);
        lines.push(format!(
            "contact {} anchor {:?} at {at:?} merged into {:?}",
            row.id, row.anchor, row.merged_into
        ));
    }
    lines.join("\n")
}
