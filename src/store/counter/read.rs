//! Reads counters: sums of a period, and facts by point in time.

use std::collections::BTreeMap;

use sea_orm::{QueryResult, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{FACTS, FAILED};
use crate::{
    domain::{
        access::AccessBounds,
        cohort::{
            ChartPointSpan, CounterBucketRange, CounterBucketSelection, CounterPeriod,
            CounterPeriodLength,
        },
        time::Timestamp,
    },
    store::{
        Store, StoreError,
        bounds::of_counters,
        dialect::{SqlListFieldType, column, list, query, rows},
    },
};

/// Which notifications are counted, within the caller's bounds; absent fields do not matter.
#[derive(Clone, Debug)]
pub struct CounterFilter {
    pub bounds: AccessBounds,
    pub sender_id: Option<Uuid>,
    pub channel: Option<String>,
    pub template: Option<String>,
    pub event_type: Option<String>,
}

impl CounterFilter {
    /// Everything that a caller may see.
    pub fn of(bounds: &AccessBounds) -> Self {
        Self {
            bounds: bounds.clone(),
            sender_id: None,
            channel: None,
            template: None,
            event_type: None,
        }
    }

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
        let (mut conditions, mut values): (String, Vec<Value>) = wanted
            .into_iter()
            .filter_map(|(column, value)| Some((column, value?)))
            .zip(used + 1..)
            .map(|((column, value), place)| (format!(" AND t.{column} = ${place}"), value))
            .unzip();
        let own = of_counters(&self.bounds).piece("t", used + values.len());
        conditions += &own.sql;
        values.extend(own.values);
        (conditions, values)
    }
}

/// The dimension that groups sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterDimension {
    Sender,
    Channel,
    Template,
    EventType,
}

impl CounterDimension {
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

    /// What makes a row of its own.
    fn read(self, row: &QueryResult) -> Result<String, StoreError> {
        match self {
            Self::Sender => Ok(column::<Uuid>(row, self.column())?.to_string()),
            Self::Channel | Self::Template | Self::EventType => column(row, self.column()),
        }
    }
}

/// A sum over the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSum {
    /// The group; a sender's id as text.
    pub group: String,
    pub fact: String,
    pub code: String,
    pub count: i64,
}

/// Sums of a period. Failures are grouped by code.
pub async fn sums(
    store: &Store,
    pieces: &[CounterPeriod],
    filter: &CounterFilter,
    by: CounterDimension,
) -> Result<Vec<CounterSum>, StoreError> {
    let mut sums: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    let group_column = by.column();
    let (conditions, values) = filter.conditions(0);
    let lives = FACTS.map(summed).join(", ");
    for piece in pieces {
        // Written out, so that it is seen how much is read.
        let place = format!(
            "t.grain = {} AND t.bucket >= {} AND t.bucket < {}{conditions}",
            piece.grain.seconds(),
            piece.since.micros(),
            piece.until.micros()
        );
        let (facts, coded) = futures_util::try_join!(
            query(
                store.reader(),
                format!(
                    "SELECT {group_column}, {lives} FROM cohort t WHERE {place} GROUP BY {group_column}"
                ),
                values.clone(),
            ),
            query(
                store.reader(),
                format!(
                    "SELECT {group_column}, fact, code, CAST(sum(count) AS bigint) AS total FROM counter t \
                     WHERE {place} GROUP BY {group_column}, fact, code"
                ),
                values.clone(),
            )
        )?;
        for row in &facts {
            let group = by.read(row)?;
            for fact in FACTS {
                let count: i64 = column(row, fact)?;
                if fact != FAILED {
                    let key = (group.clone(), fact.to_owned(), String::new());
                    *sums.entry(key).or_default() += count;
                }
            }
        }
        for row in &coded {
            let key = (by.read(row)?, column(row, "fact")?, column(row, "code")?);
            let count: i64 = column(row, "total")?;
            *sums.entry(key).or_default() += count;
        }
    }
    Ok(sums
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|((group, fact, code), count)| CounterSum {
            group,
            fact,
            code,
            count,
        })
        .collect())
}

fn summed(fact: &str) -> String {
    format!("CAST(sum({fact}) AS bigint) AS {fact}")
}

/// A fact's count in one cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortFactCount {
    pub bucket: Timestamp,
    pub fact: &'static str,
    pub count: i64,
}

/// Facts of a message's life by the points of a span.
pub async fn series(
    store: &Store,
    span: ChartPointSpan,
    filter: &CounterFilter,
    facts: &[&'static str],
) -> Result<Vec<CohortFactCount>, StoreError> {
    let coarse: &[CounterPeriodLength] = if filter.knows_hours() {
        &[
            CounterPeriodLength::Day,
            CounterPeriodLength::Hour,
            CounterPeriodLength::Half,
        ]
    } else {
        &[CounterPeriodLength::Day]
    };
    let readings = span.readings(coarse).into_iter();
    let found = readings.map(|reading| points(store, span, filter, facts, reading));
    let points = futures_util::future::try_join_all(found).await?;
    Ok(points.into_iter().flatten().collect())
}

async fn points(
    store: &Store,
    span: ChartPointSpan,
    filter: &CounterFilter,
    facts: &[&'static str],
    reading: CounterBucketSelection,
) -> Result<Vec<CohortFactCount>, StoreError> {
    let (since, length) = (span.since.micros(), span.length_micros.max(1));
    let sums: Vec<String> = facts.iter().map(|fact| summed(fact)).collect();
    let sums = sums.join(", ");
    let grain = reading.grain.seconds();
    // Bounds are written out, so that it is seen how much is read, and that the index of a
    // template or of a kind of event fits.
    let (from, mut values) = match reading.buckets {
        CounterBucketRange::All {
            since,
            until,
            split,
        } => {
            let split = split.map_or_else(String::new, |split| {
                format!(" AND (bucket - {}) % {length} <> 0", split.micros())
            });
            let (since, until) = (since.micros(), until.micros());
            let from = format!(
                "cohort t WHERE t.grain = {grain} AND t.bucket >= {since} AND t.bucket < {until}{split}"
            );
            (from, Vec::new())
        }
        CounterBucketRange::Each(buckets) => {
            let each = buckets
                .iter()
                .map(|at| CounterBucketRow { at: at.micros() });
            let given = rows(store.backend(), &[("at", SqlListFieldType::Int)]);
            let from = format!(
                "{given} JOIN cohort t ON t.grain = {grain} AND t.bucket = r.at WHERE true"
            );
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
        let place: i64 = column(row, "place")?;
        for fact in facts {
            points.push(CohortFactCount {
                bucket: span.since.plus_micros(place.saturating_mul(length)),
                fact,
                count: column(row, fact)?,
            });
        }
    }
    Ok(points)
}

#[derive(Serialize)]
struct CounterBucketRow {
    at: i64,
}
