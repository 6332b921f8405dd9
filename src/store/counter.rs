//! Counters: cohorts of notifications by their creation, in three grains.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{Columns, Id, Type, execute, list, query, rows},
};
use crate::domain::{
    cohort::{Grain, Piece},
    time::Timestamp,
};

/// The fact of a price: its code is `category/type/country`.
pub const PRICED: &str = "priced";

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    pub sender_id: Uuid,
    pub channel: String,
    pub template: String,
    pub event_type: String,
    pub fact: &'static str,
    pub code: String,
}

/// A row; ordered, so that processes lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    grain: Grain,
    bucket: Timestamp,
    counted: Counted,
}

/// Differences to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<Key, i64>);

impl Changes {
    /// Adds to the cohorts that a notification created then is in.
    pub fn add(&mut self, created_at: Timestamp, counted: &Counted, difference: i64) {
        for grain in Grain::ALL {
            let counted = match grain {
                // For charts: a row for each sender and fact, no more.
                Grain::Hour => Counted {
                    template: String::new(),
                    event_type: String::new(),
                    code: String::new(),
                    ..counted.clone()
                },
                Grain::Quarter | Grain::Day => counted.clone(),
            };
            let key = Key {
                grain,
                bucket: grain.start(created_at),
                counted,
            };
            *self.0.entry(key).or_default() += difference;
        }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    grain: i64,
    bucket: i64,
    sender: Id,
    channel: &'a str,
    template: &'a str,
    event: &'a str,
    fact: &'a str,
    code: &'a str,
    delta: i64,
}

/// Adds differences under this process's slot.
pub async fn add(
    tx: &DatabaseTransaction,
    changes: &Changes,
    slot: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let different: Vec<Row<'_>> = changes
        .0
        .iter()
        .filter(|(_, delta)| **delta != 0)
        .map(|(key, delta)| Row {
            grain: key.grain.seconds(),
            bucket: key.bucket.micros(),
            sender: Id(key.counted.sender_id),
            channel: &key.counted.channel,
            template: &key.counted.template,
            event: &key.counted.event_type,
            fact: key.counted.fact,
            code: &key.counted.code,
            delta: *delta,
        })
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("grain", Type::Int),
            ("bucket", Type::Int),
            ("sender", Type::Uuid),
            ("channel", Type::Text),
            ("template", Type::Text),
            ("event", Type::Text),
            ("fact", Type::Text),
            ("code", Type::Text),
            ("delta", Type::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count) \
             SELECT r.grain, r.bucket, r.sender, r.channel, r.template, r.event, r.fact, r.code, $2, $3, r.delta \
             FROM {given} WHERE true \
             ON CONFLICT (grain, bucket, sender_id, channel, template, event_type, fact, code, slot) \
             DO UPDATE SET count = counter.count + excluded.count"
        ),
        [list(&different)?, slot.into(), now.micros().into()],
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
    const fn is_coarse(&self) -> bool {
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

/// Sums of a time.
pub async fn sums(
    store: &Store,
    pieces: &[Piece],
    filter: &Filter,
    by: Dimension,
) -> Result<Vec<Sum>, StoreError> {
    let mut sums: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    let column = by.column();
    for piece in pieces {
        // Written out, so that it is seen how much is read.
        let (conditions, values) = filter.conditions(0);
        let (grain, since, until) = (
            piece.grain.seconds(),
            piece.since.micros(),
            piece.until.micros(),
        );
        let found = query(
            store.reader(),
            format!(
                "SELECT {column}, fact, code, CAST(sum(count) AS bigint) FROM counter \
                 WHERE grain = {grain} AND bucket >= {since} AND bucket < {until}{conditions} GROUP BY {column}, fact, code"
            ),
            values,
        )
        .await?;
        for row in &found {
            let mut columns = Columns::of(row);
            let group = match by {
                Dimension::Sender => columns.take::<Uuid>()?.to_string(),
                Dimension::Channel | Dimension::Template | Dimension::EventType => {
                    columns.take()?
                }
            };
            let (fact, code) = (columns.take()?, columns.take()?);
            let count: i64 = columns.take()?;
            *sums.entry((group, fact, code)).or_default() += count;
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

/// A fact's count in one cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub bucket: Timestamp,
    pub fact: String,
    pub count: i64,
}

/// Cohorts of one length beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub since: Timestamp,
    pub until: Timestamp,
    pub length_micros: i64,
}

/// Facts by cohort of a span: of the finest grain that is needed, or of quarters where
/// hours do not know enough.
pub async fn series(
    store: &Store,
    span: Span,
    filter: &Filter,
    finest: Grain,
) -> Result<Vec<Point>, StoreError> {
    let grain = match finest {
        Grain::Hour if !filter.is_coarse() => Grain::Quarter,
        known => known,
    };
    // Written out, so that it is seen how much is read, and that the index of a template or
    // of a kind of event fits.
    let (conditions, values) = filter.conditions(0);
    let (since, until) = (span.since.micros(), span.until.micros());
    let length = span.length_micros.max(1);
    let found = query(
        store.reader(),
        format!(
            "SELECT (bucket - {since}) / {length} AS place, fact, CAST(sum(count) AS bigint) FROM counter \
             WHERE grain = {} AND bucket >= {since} AND bucket < {until}{conditions} GROUP BY place, fact",
            grain.seconds()
        ),
        values,
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let place: i64 = columns.take()?;
            Ok(Point {
                bucket: span.since.plus_micros(place.saturating_mul(length)),
                fact: columns.take()?,
                count: columns.take()?,
            })
        })
        .collect()
}
