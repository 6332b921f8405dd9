//! Collects counter changes in memory and adds them in one statement for each table.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{FACTS, FAILED, NotificationCounterGroup};
use crate::{
    domain::{cohort::CounterPeriodLength, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{HexUuid, SqlListFieldType, execute, list, rows},
    },
};

/// A row; ordered, so that processes lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CounterKey {
    grain: CounterPeriodLength,
    bucket: Timestamp,
    class: NotificationCounterGroup,
}

/// Differences to be added: by quarter of an hour, of which all grains are made when they
/// are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CounterChanges(BTreeMap<(Timestamp, NotificationCounterGroup), CounterDeltasByCode>);

/// By fact and code.
type CounterDeltasByCode = BTreeMap<(&'static str, String), i64>;

impl CounterChanges {
    /// Adds to the cohorts that a notification created then is in: facts with their codes.
    /// A fact that is not of a message's life is counted by its code alone.
    pub fn add(
        &mut self,
        created_at: Timestamp,
        class: NotificationCounterGroup,
        counted: impl IntoIterator<Item = ((&'static str, String), i64)>,
    ) {
        let quarter = CounterPeriodLength::Quarter.start(created_at);
        let counts = self.0.entry((quarter, class)).or_default();
        for (fact, difference) in counted {
            *counts.entry(fact).or_default() += difference;
        }
    }

    /// The rows of every grain that differ.
    fn rows(&self) -> (CounterFactDeltas, CounterCodeDeltas) {
        let (mut facts, mut coded) = (CounterFactDeltas::new(), CounterCodeDeltas::new());
        for ((quarter, class), counts) in &self.0 {
            for ((fact, code), difference) in counts.iter().filter(|(_, it)| **it != 0) {
                for grain in CounterPeriodLength::ALL {
                    let key = CounterKey::of(grain, *quarter, class);
                    let lives = FACTS.contains(fact);
                    if grain.is_whole() && (!lives || *fact == FAILED) {
                        let coded_key = (key.clone(), *fact, code.clone());
                        *coded.entry(coded_key).or_default() += difference;
                    }
                    if lives {
                        *facts.entry(key).or_default().entry(*fact).or_default() += difference;
                    }
                }
            }
        }
        (facts, coded)
    }
}

type CounterFactDeltas = BTreeMap<CounterKey, BTreeMap<&'static str, i64>>;

type CounterCodeDeltas = BTreeMap<(CounterKey, &'static str, String), i64>;

impl CounterKey {
    fn of(
        grain: CounterPeriodLength,
        quarter: Timestamp,
        class: &NotificationCounterGroup,
    ) -> Self {
        Self {
            grain,
            bucket: grain.start(quarter),
            class: if grain.is_whole() {
                class.clone()
            } else {
                // For charts: a row for each sender, channel and product, no more.
                NotificationCounterGroup {
                    sender_id: class.sender_id,
                    channel: class.channel.clone(),
                    product: class.product.clone(),
                    ..NotificationCounterGroup::default()
                }
            },
        }
    }
}

/// A row as the statement reads it.
#[derive(Serialize)]
struct CounterRow<'a> {
    grain: i64,
    bucket: i64,
    sender: HexUuid,
    channel: &'a str,
    template: &'a str,
    event: &'a str,
    product: &'a str,
    #[serde(flatten)]
    counts: CounterRowDeltas<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CounterRowDeltas<'a> {
    Facts(BTreeMap<&'static str, i64>),
    Coded {
        fact: &'a str,
        code: &'a str,
        delta: i64,
    },
}

impl<'a> CounterRow<'a> {
    fn of(key: &'a CounterKey, counts: CounterRowDeltas<'a>) -> Self {
        Self {
            grain: key.grain.seconds(),
            bucket: key.bucket.micros(),
            sender: HexUuid(key.class.sender_id),
            channel: &key.class.channel,
            template: &key.class.template,
            event: &key.class.event_type,
            product: &key.class.product,
            counts,
        }
    }
}

/// The key of a row.
const KEY: [(&str, SqlListFieldType); 7] = [
    ("grain", SqlListFieldType::Int),
    ("bucket", SqlListFieldType::Int),
    ("sender", SqlListFieldType::Uuid),
    ("channel", SqlListFieldType::Text),
    ("template", SqlListFieldType::Text),
    ("event", SqlListFieldType::Text),
    ("product", SqlListFieldType::Text),
];

/// Adds differences under this process's slot.
pub async fn add(
    tx: &DatabaseTransaction,
    changes: &CounterChanges,
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (facts, coded) = changes.rows();
    let facts = facts.iter().filter_map(|(key, counts)| {
        let different: BTreeMap<_, _> = counts
            .iter()
            .filter(|(_, delta)| **delta != 0)
            .map(|(fact, delta)| (*fact, *delta))
            .collect();
        (!different.is_empty()).then(|| CounterRow::of(key, CounterRowDeltas::Facts(different)))
    });
    add_facts(tx, &facts.collect::<Vec<_>>(), slot, now).await?;
    let coded = coded
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|((key, fact, code), delta)| {
            let delta = *delta;
            CounterRow::of(key, CounterRowDeltas::Coded { fact, code, delta })
        });
    add_coded(tx, &coded.collect::<Vec<_>>(), slot, now).await
}

async fn add_facts(
    tx: &DatabaseTransaction,
    different: &[CounterRow<'_>],
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if different.is_empty() {
        return Ok(());
    }
    let columns = KEY
        .into_iter()
        .chain(FACTS.map(|fact| (fact, SqlListFieldType::Int)));
    let given = rows(tx.get_database_backend(), &columns.collect::<Vec<_>>());
    let each = |write: fn(&str) -> String| FACTS.map(write).join(", ");
    let (names, differences, sums) = (
        FACTS.join(", "),
        each(|fact| format!("coalesce(r.{fact}, 0)")),
        each(|fact| format!("{fact} = cohort.{fact} + excluded.{fact}")),
    );
    execute(
        tx,
        format!(
            "INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, product, slot, created_at, {names}) \
             SELECT r.grain, r.bucket, r.sender, r.channel, r.template, r.event, r.product, $2, $3, {differences} \
             FROM {given} WHERE true \
             ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, slot, product) DO UPDATE SET {sums}"
        ),
        [list(different)?, slot.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

async fn add_coded(
    tx: &DatabaseTransaction,
    different: &[CounterRow<'_>],
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if different.is_empty() {
        return Ok(());
    }
    let columns = KEY.into_iter().chain([
        ("fact", SqlListFieldType::Text),
        ("code", SqlListFieldType::Text),
        ("delta", SqlListFieldType::Int),
    ]);
    let given = rows(tx.get_database_backend(), &columns.collect::<Vec<_>>());
    execute(
        tx,
        format!(
            "INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, product, fact, code, slot, created_at, count) \
             SELECT r.grain, r.bucket, r.sender, r.channel, r.template, r.event, r.product, r.fact, r.code, $2, $3, r.delta \
             FROM {given} WHERE true \
             ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, product) \
             DO UPDATE SET count = counter.count + excluded.count"
        ),
        [list(different)?, slot.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}
