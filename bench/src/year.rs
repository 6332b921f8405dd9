//! `bench year`

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::Path,
    time::Instant,
};

use clap::Args;
use herald::{
    app,
    config::{Config, SecretStrictness},
    domain::{
        facts::DeliveryFact,
        follow_up::{OVERTAKEN, PlannedFollowUp, PlannedFollowUpState},
        notification::VersionedValue,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
        transition::NotificationTransition,
    },
    engine::runtime::retention::RetentionCleaner,
    store::callback::segment,
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::json;

use crate::{Common, database::Fresh, load, print, progress, record};

/// A year of messages in SQLite, with what is old deleted every day, and how large the file gets.
///
/// The rows of a day are written in bulk, as large as real ones; deleting is Herald's own.
#[derive(Debug, Args)]
pub struct Year {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 365)]
    days: i64,
    /// Messages a day.
    #[arg(long, default_value_t = 10_000)]
    messages: i64,
}

/// 2026-01-01T00:00:00Z
const START_SECONDS: i64 = 1_767_225_600;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Callbacks of a message: sent, delivered, read.
const CALLBACKS: i64 = 3;

impl Year {
    pub async fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.common.database.is_none(),
            "the year is simulated in SQLite"
        );
        let started = Instant::now();
        let fresh = Fresh::make(&self.common, "year").await?;
        let values: HashMap<String, String> =
            [("DATABASE_URL".to_owned(), fresh.url.clone())].into();
        let config = Config::read(&values, SecretStrictness::Production)
            .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let engine = app::command_engine(&config, app::command_store(&config).await?).await?;
        let connection = fresh.connect().await?;
        // A bulk load needs no durability; what is measured is size.
        connection
            .execute_unprepared("PRAGMA synchronous = OFF")
            .await?;
        let mut peak = 0_u64;
        let mut deleted = 0_u64;
        let (mut writes, mut over_25_ms, mut over_50_ms) = (0_u64, 0_u64, 0_u64);
        let mut longest_ms: BTreeMap<&str, u128> = BTreeMap::new();
        let mut cleaner = RetentionCleaner::default();
        for day in 0..self.days {
            self.write_day(&connection, day).await?;
            sync(&fresh.directory)?;
            let now = Timestamp::from_unix_seconds(START_SECONDS + (day + 1) * DAY_SECONDS);
            loop {
                let gone = cleaner.turn(&engine, now).await?;
                for (what, lasted) in std::mem::take(&mut cleaner.lasted) {
                    writes += 1;
                    over_25_ms += u64::from(lasted.as_millis() >= 25);
                    over_50_ms += u64::from(lasted.as_millis() >= 50);
                    let longest = longest_ms.entry(what).or_insert(0);
                    *longest = lasted.as_millis().max(*longest);
                }
                if gone == 0 {
                    break;
                }
                deleted += gone;
            }
            connection
                .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
                .await?;
            let size = megabytes(&fresh.directory)?;
            peak = peak.max(size);
            if day % 30 == 29 {
                progress(&format!("day {}: {size} MB", day + 1));
            }
        }
        let result = json!({
            "days": self.days,
            "messages_per_day": self.messages,
            "megabytes_at_the_end": megabytes(&fresh.directory)?,
            "megabytes_at_most": peak,
            "rows_deleted": deleted,
            "writes": writes,
            "writes_over_25_ms": over_25_ms,
            "writes_over_50_ms": over_50_ms,
            "longest_write_ms": longest_ms,
            "seconds": started.elapsed().as_secs(),
        });
        connection.close().await?;
        drop(engine);
        fresh.drop().await?;
        print(&result, self.common.json);
        Ok(())
    }

    /// Writes the rows of one day, spread over it.
    async fn write_day(&self, connection: &DatabaseConnection, day: i64) -> anyhow::Result<()> {
        let start = (START_SECONDS + day * DAY_SECONDS) * 1000;
        let step = DAY_SECONDS * 1000 / self.messages.max(1);
        // An id of version 7: the millisecond, then which of the day and what it is.
        let id = |what: char, number: &str| {
            format!(
                "unhex(printf('%012x', {start} + i * {step}) || '7{what}' || printf('%02x', {number}) || '8' || printf('%015x', i))"
            )
        };
        let micros = format!("(({start} + i * {step}) * 1000)");
        let each = format!(
            "WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {})",
            self.messages - 1
        );
        let several = |count: i64| {
            format!(
                "{each}, k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {})",
                count - 1
            )
        };
        let (notification, attempt, event) = (id('1', "0"), id('2', "0"), id('3', "0"));
        // Callbacks come one at a time, so that each is a segment. Half of the digest is another one
        // each time, and all of it is where the key leads.
        let segment = format!("(({start} + i * {step}) * 65536 + 28672 + n)");
        let key = format!(
            "((({start} + i * {step}) * 48271 + n * 69621) % 2147483647 << 32 | (({start} + i * {step}) % 2147483647))"
        );
        let body = load::body(1, "delivered");
        let encoded = segment::encode([(&[0; 32], None, Some(body.as_bytes()))]);
        let (size, data) = (encoded.size_bytes, hex::encode(&encoded.data));
        // Before its digest a head has the version and the size, and after it a zero.
        let heads = hex::encode(&encoded.heads);
        let before = heads.get(..heads.len() - 66).unwrap_or_default();
        let heads = format!(
            "unhex('{before}' || printf('%016x', {key}) || '{}' || '00')",
            "0".repeat(48)
        );
        let answer = format!("'{}'", "a".repeat(160));
        let request = format!("'{}'", "r".repeat(420));
        let counted = "WITH RECURSIVE q(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM q WHERE i < 95), k(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < 9)";
        let record = record_sql(&attempt)?;
        let statements = [
            format!(
                "{each} INSERT INTO event (id, created_at, source, external_id, event_type, data, digest, state, routes) \
                SELECT {event}, {micros}, 'crm', 'order-{day}-' || i, 'crm.order.created', '{}', randomblob(32), 'expanded', '{}' FROM s",
                "d".repeat(220),
                "o".repeat(90)
            ),
            format!(
                "{each} INSERT INTO notification (id, created_at, updated_at, event_id, route, event_type, depth, channel, contact_id, recipient, address, kind, template, language, category, params, body, reference, labels, priority, generation, status, engine_state, triggered, replied, insists, attempt_count, expires_at, record) \
                SELECT {notification}, {micros}, {micros}, {event}, 'order', 'crm.order.created', 0, 'whatsapp', randomblob(16), '+12025550101', '+12025550101', 'template', 'order_confirmation', 'en', 'utility', '{}', '{}', 'A-{day}-' || i, '{{}}', 2, 1, 'read', 'settled', 31, 0, 0, 1, {micros}, {record} FROM s",
                "p".repeat(160),
                "t".repeat(180)
            ),
            format!(
                "{each} INSERT INTO attempt (id, notification_id, sender_id, number, outcome, answered_at, http_status, provider_message_id, request, answer) \
                SELECT {attempt}, {notification}, randomblob(16), 1, 'accepted', {micros}, 200, 'wamid.HBgLMTIwMjU1NTAxMDEVAgARGBI{day}x' || i || 'AA', {request}, {answer} FROM s"
            ),
            format!(
                "{} INSERT INTO inbox_segment (id, endpoint, urgent, bodies, size_bytes, heads, data) \
                SELECT {segment}, 'meta', false, 1, {size}, {heads}, x'{data}' FROM s, k",
                several(CALLBACKS)
            ),
            format!(
                "{} INSERT INTO inbox_applied (segment, processed_at, counts) SELECT {segment}, {micros}, x'010100' FROM s, k",
                several(CALLBACKS)
            ),
            format!(
                "{} INSERT INTO inbox_digest (digest_key, segment) SELECT {key}, {segment} FROM s, k WHERE true ON CONFLICT DO NOTHING",
                several(CALLBACKS)
            ),
            format!(
                "{each} INSERT INTO inbound_message (id, created_at, callback_id, endpoint_id, contact_id, provider_message_id, kind, text, sent_at, item) \
                SELECT {}, {micros}, randomblob(16), '106540352242922', randomblob(16), 'wamid.in{day}x' || i, 'text', 'Thanks', {micros}, '{}' FROM s WHERE i % 10 = 0",
                id('7', "0"),
                "m".repeat(300)
            ),
            // Ten templates in each quarter of an hour, with a code each.
            format!(
                "{counted} INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, \
                created, accepted, sent, delivered, read, played, replied, out, skipped, cancelled, stale, failed) \
                SELECT 900, ({start} + i * 900000) * 1000, zeroblob(16), 'whatsapp', 'template_' || n, 'order.created', 1, 0, 10, 9, 9, 8, 7, 0, 1, 9, 0, 0, 0, 1 FROM q, k"
            ),
            format!(
                "{counted} INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count) \
                SELECT 900, ({start} + i * 900000) * 1000, zeroblob(16), 'whatsapp', 'template_' || n, 'order.created', 'failed', '131026', 1, 0, 1 FROM q, k"
            ),
        ];
        for statement in statements {
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// How SQL writes the record of a message that was read, with a reminder that was not needed.
fn record_sql(attempt: &str) -> anyhow::Result<String> {
    let at = Timestamp::from_unix_seconds(START_SECONDS);
    let facts = [
        DeliveryFact::Sent,
        DeliveryFact::Delivered,
        DeliveryFact::Read,
    ];
    let mut read = record::sent(at, record::placeholder(2), &facts);
    if let Some(attempt) = read.attempts.first_mut() {
        attempt.pricing = Some(VersionedValue {
            at,
            digest: "0123456789abcdef".to_owned(),
            value: serde_json::json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": "utility" }),
        });
    }
    read.follow_ups.push(PlannedFollowUp {
        id: record::placeholder(3),
        created_at: at,
        generation: 1,
        rule_id: record::placeholder(4),
        rule_name: "unread-after-a-day".to_owned(),
        trigger: NotificationTransition::Delivered,
        occurrence: String::new(),
        unless: [
            NotificationTransition::Read,
            NotificationTransition::Replied,
        ]
        .into_iter()
        .collect(),
        state: PlannedFollowUpState::Cancelled,
        due_at: None,
        settled_at: Some(at),
        reason: Some(OVERTAKEN.to_owned()),
    });
    for (place, fact) in facts.into_iter().enumerate() {
        read.timeline.add(TimelineEntry {
            provider_at: Some(at),
            attempt_id: Some(record::placeholder(1)),
            callback_id: Some(record::placeholder(u8::try_from(10 + place)?)),
            ..TimelineEntry::new(at, fact.into(), None)
        });
    }
    let cancelled = r#"{"rule":"unread-after-a-day"}"#.to_owned();
    read.timeline.add(TimelineEntry::new(
        at,
        TimelineEntryKind::RuleCancelled,
        Some(cancelled),
    ));
    let random = "randomblob(16)";
    let mut filled = vec![(record::placeholder(1), attempt)];
    for number in [2, 3, 4, 10, 11, 12] {
        filled.push((record::placeholder(number), random));
    }
    record::sql(false, &read, at, &filled)
}

/// What was loaded in bulk is on the disk before anything is measured: the first
/// commit would wait for it.
fn sync(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

/// The database with its log, in megabytes.
fn megabytes(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes / 1_000_000)
}
