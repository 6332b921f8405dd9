//! Counters: cohorts of notifications by their creation, in several grains.
//!
//! `cohort` has a column for each fact of a message's life; `counter` has a row for each
//! fact that has a code: failures, prices, and how long things took.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{Columns, Id, Type, execute, list, query, rows},
};
use crate::domain::{
    cohort::{Buckets, Grain, Piece, Reading, Span},
    notification::{OUT, STALE},
    time::Timestamp,
};

/// The fact of a price: its code is `category/type/country`.
pub const PRICED: &str = "priced";

/// The fact of a failure: it is counted by code, and without.
const FAILED: &str = "failed";

/// Facts of a message's life: columns of `cohort`.
const FACTS: [&str; 12] = [
    "created",
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "replied",
    OUT,
    "skipped",
    "cancelled",
    STALE,
    FAILED,
];

/// Which notifications are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    pub sender_id: Uuid,
    pub channel: String,
    pub template: String,
    pub event_type: String,
}

/// A row; ordered, so that processes lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    grain: Grain,
    bucket: Timestamp,
    class: Class,
}

/// Differences to be added: by quarter of an hour, of which all grains are made when they
/// are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<(Timestamp, Class), BTreeMap<(&'static str, String), i64>>);

impl Changes {
    /// Adds to the cohorts that a notification created then is in: facts with their codes.
    /// A fact that is not of a message's life is counted by its code alone.
    pub fn add(
        &mut self,
        created_at: Timestamp,
        class: Class,
        counted: impl IntoIterator<Item = (&'static str, String)>,
        difference: i64,
    ) {
        let quarter = Grain::Quarter.start(created_at);
        let counts = self.0.entry((quarter, class)).or_default();
        for fact in counted {
            *counts.entry(fact).or_default() += difference;
        }
    }

    /// The rows of every grain that differ.
    fn rows(&self) -> (Facts, Coded) {
        let (mut facts, mut coded) = (Facts::new(), Coded::new());
        for ((quarter, class), counts) in &self.0 {
            for ((fact, code), difference) in counts.iter().filter(|(_, it)| **it != 0) {
                for grain in Grain::ALL {
                    let key = Key::of(grain, *quarter, class);
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

type Facts = BTreeMap<Key, BTreeMap<&'static str, i64>>;

type Coded = BTreeMap<(Key, &'static str, String), i64>;

impl Key {
    fn of(grain: Grain, quarter: Timestamp, class: &Class) -> Self {
        Self {
            grain,
            bucket: grain.start(quarter),
            class: if grain.is_whole() {
                class.clone()
            } else {
                // For charts: a row for each sender and channel, no more.
                Class {
                    sender_id: class.sender_id,
                    channel: class.channel.clone(),
                    ..Class::default()
                }
            },
        }
    }
}

/// A row as the statement reads it.
#[derive(Serialize)]
struct Row<'a> {
    grain: i64,
    bucket: i64,
    sender: Id,
    channel: &'a str,
    template: &'a str,
    event: &'a str,
    #[serde(flatten)]
    counts: Counts<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Counts<'a> {
    Facts(BTreeMap<&'static str, i64>),
    Coded {
        fact: &'a str,
        code: &'a str,
        delta: i64,
    },
}

impl<'a> Row<'a> {
    fn of(key: &'a Key, counts: Counts<'a>) -> Self {
        Self {
            grain: key.grain.seconds(),
            bucket: key.bucket.micros(),
            sender: Id(key.class.sender_id),
            channel: &key.class.channel,
            template: &key.class.template,
            event: &key.class.event_type,
            counts,
        }
    }
}

/// What a row is found by.
const KEY: [(&str, Type); 6] = [
    ("grain", Type::Int),
    ("bucket", Type::Int),
    ("sender", Type::Uuid),
    ("channel", Type::Text),
    ("template", Type::Text),
    ("event", Type::Text),
];

/// Adds differences under this process's slot.
pub async fn add(
    tx: &DatabaseTransaction,
    changes: &Changes,
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
        (!different.is_empty()).then(|| Row::of(key, Counts::Facts(different)))
    });
    add_facts(tx, &facts.collect::<Vec<_>>(), slot, now).await?;
    let coded = coded
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|((key, fact, code), delta)| {
            let delta = *delta;
            Row::of(key, Counts::Coded { fact, code, delta })
        });
    add_coded(tx, &coded.collect::<Vec<_>>(), slot, now).await
}

async fn add_facts(
    tx: &DatabaseTransaction,
    different: &[Row<'_>],
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if different.is_empty() {
        return Ok(());
    }
    let columns = KEY.into_iter().chain(FACTS.map(|fact| (fact, Type::Int)));
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
            "INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, {names}) \
             SELECT r.grain, r.bucket, r.sender, r.channel, r.template, r.event, $2, $3, {differences} \
             FROM {given} WHERE true \
             ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, slot) DO UPDATE SET {sums}"
        ),
        [list(different)?, slot.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

async fn add_coded(
    tx: &DatabaseTransaction,
    different: &[Row<'_>],
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if different.is_empty() {
        return Ok(());
    }
    let columns = KEY.into_iter().chain([
        ("fact", Type::Text),
        ("code", Type::Text),
        ("delta", Type::Int),
    ]);
    let given = rows(tx.get_database_backend(), &columns.collect::<Vec<_>>());
    execute(
        tx,
        format!(
            "INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count) \
             SELECT r.grain, r.bucket, r.sender, r.channel, r.template, r.event, r.fact, r.code, $2, $3, r.delta \
             FROM {given} WHERE true \
             ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, fact, code, slot) \
             DO UPDATE SET count = counter.count + excluded.count"
        ),
        [list(different)?, slot.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Which notifications are meant; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub sender_id: Option<Uuid>,
    pub channel: Option<String>,
    pub template: Option<String>,
    pub event_type: Option<String>,
}

impl Filter {
    /// Whether the counters by hour can answer it.
    const fn knows_hours(&self) -> bool {
        self.template.is_none() && self.event_type.is_none()
    }

    /// Conditions after the first `used` parameters, and their values.
    fn conditions(&self, used: usize) -> (String, Vec<Value>) {
        let wanted: [(&str, Option<Value>); 4] = [
            ("sender_id", self.sender_id.map(Value::from)),
            ("channel", self.channel.clone().map(Value::from)),
            ("template", self.template.clone().map(Value::from)),
            ("event_type", self.event_type.clone().map(Value::from)),
        ];
        wanted
            .into_iter()
            .filter_map(|(column, value)| Some((column, value?)))
            .zip(used + 1..)
            .map(|((column, value), place)| (format!(" AND {column} = ${place}"), value))
            .unzip()
    }
}

/// What sums are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Sender,
    Channel,
    Template,
    EventType,
}

impl Dimension {
    /// Reads `sender`, `channel`, `template` and `event_type`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "sender" => Some(Self::Sender),
            "channel" => Some(Self::Channel),
            "template" => Some(Self::Template),
            "event_type" => Some(Self::EventType),
            _ => None,
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Sender => "sender_id",
            Self::Channel => "channel",
            Self::Template => "template",
            Self::EventType => "event_type",
        }
    }

    /// Reads the next column as what is told apart by.
    fn take(self, columns: &mut Columns<'_>) -> Result<String, StoreError> {
        match self {
            Self::Sender => Ok(columns.take::<Uuid>()?.to_string()),
            Self::Channel | Self::Template | Self::EventType => columns.take(),
        }
    }
}

/// A sum over the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Of what it is told apart by; the sender's id as text.
    pub group: String,
    pub fact: String,
    pub code: String,
    pub count: i64,
}

/// Sums of a time. What failed is told by code.
pub async fn sums(
    store: &Store,
    pieces: &[Piece],
    filter: &Filter,
    by: Dimension,
) -> Result<Vec<Sum>, StoreError> {
    let mut sums: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    let column = by.column();
    let (conditions, values) = filter.conditions(0);
    let lives = FACTS.map(summed).join(", ");
    for piece in pieces {
        // Written out, so that it is seen how much is read.
        let place = format!(
            "grain = {} AND bucket >= {} AND bucket < {}{conditions}",
            piece.grain.seconds(),
            piece.since.micros(),
            piece.until.micros()
        );
        let (facts, coded) = futures_util::try_join!(
            query(
                store.reader(),
                format!("SELECT {column}, {lives} FROM cohort WHERE {place} GROUP BY {column}"),
                values.clone(),
            ),
            query(
                store.reader(),
                format!(
                    "SELECT {column}, fact, code, CAST(sum(count) AS bigint) FROM counter \
                     WHERE {place} GROUP BY {column}, fact, code"
                ),
                values.clone(),
            )
        )?;
        for row in &facts {
            let mut columns = Columns::of(row);
            let group = by.take(&mut columns)?;
            for fact in FACTS {
                let count: i64 = columns.take()?;
                if fact != FAILED {
                    let key = (group.clone(), fact.to_owned(), String::new());
                    *sums.entry(key).or_default() += count;
                }
            }
        }
        for row in &coded {
            let mut columns = Columns::of(row);
            let key = (by.take(&mut columns)?, columns.take()?, columns.take()?);
            let count: i64 = columns.take()?;
            *sums.entry(key).or_default() += count;
        }
    }
    Ok(sums
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|((group, fact, code), count)| Sum {
            group,
            fact,
            code,
            count,
        })
        .collect())
}

fn summed(fact: &str) -> String {
    format!("CAST(sum({fact}) AS bigint)")
}

/// A fact's count in one cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub bucket: Timestamp,
    pub fact: &'static str,
    pub count: i64,
}

/// Facts of a message's life by the points of a span.
pub async fn series(
    store: &Store,
    span: Span,
    filter: &Filter,
    facts: &[&'static str],
) -> Result<Vec<Point>, StoreError> {
    let coarse: &[Grain] = if filter.knows_hours() {
        &[Grain::Day, Grain::Hour, Grain::Half]
    } else {
        &[Grain::Day]
    };
    let readings = span.readings(coarse).into_iter();
    let found = readings.map(|reading| points(store, span, filter, facts, reading));
    let points = futures_util::future::try_join_all(found).await?;
    Ok(points.into_iter().flatten().collect())
}

async fn points(
    store: &Store,
    span: Span,
    filter: &Filter,
    facts: &[&'static str],
    reading: Reading,
) -> Result<Vec<Point>, StoreError> {
    let (since, length) = (span.since.micros(), span.length_micros.max(1));
    let sums: Vec<String> = facts.iter().map(|fact| summed(fact)).collect();
    let sums = sums.join(", ");
    let grain = reading.grain.seconds();
    // Bounds are written out, so that it is seen how much is read, and that the index of a
    // template or of a kind of event fits.
    let (from, mut values) = match reading.buckets {
        Buckets::All {
            since,
            until,
            split,
        } => {
            let split = split.map_or_else(String::new, |split| {
                format!(" AND (bucket - {}) % {length} <> 0", split.micros())
            });
            let (since, until) = (since.micros(), until.micros());
            let from = format!(
                "cohort WHERE grain = {grain} AND bucket >= {since} AND bucket < {until}{split}"
            );
            (from, Vec::new())
        }
        Buckets::Each(buckets) => {
            let each = buckets.iter().map(|at| Each { at: at.micros() });
            let given = rows(store.reader().get_database_backend(), &[("at", Type::Int)]);
            let from =
                format!("{given} JOIN cohort ON grain = {grain} AND bucket = r.at WHERE true");
            (from, vec![list(&each.collect::<Vec<_>>())?])
        }
    };
    let (conditions, wanted) = filter.conditions(values.len());
    values.extend(wanted);
    let found = query(
        store.reader(),
        format!(
            "SELECT (bucket - {since}) / {length} AS place, {sums} FROM {from}{conditions} GROUP BY place"
        ),
        values,
    )
    .await?;
    let mut points = Vec::with_capacity(found.len() * facts.len());
    for row in &found {
        let mut columns = Columns::of(row);
        let place: i64 = columns.take()?;
        for fact in facts {
            points.push(Point {
                bucket: span.since.plus_micros(place.saturating_mul(length)),
                fact,
                count: columns.take()?,
            });
        }
    }
    Ok(points)
}

#[derive(Serialize)]
struct Each {
    at: i64,
}
