//! `bench query`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::Args;
use herald::{
    domain::{
        facts::DeliveryFact,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
    },
    state::Clock,
    store::callback::segment,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::json;

use crate::{
    Common,
    database::{self, number},
    load, print, progress, record,
    server::{self, Server},
};

/// How long pages and statistics take with few notifications and with many, side by side.
///
/// The data are loaded in bulk, once, and kept for the next run.
#[derive(Debug, Args)]
pub struct Query {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 100_000)]
    small: u64,
    /// Default: 5,000,000 on PostgreSQL, 1,000,000 on SQLite.
    #[arg(long)]
    large: Option<u64>,
    /// Requests of each page.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

/// Notifications are of this many days, the last of which is today.
const DAYS: u64 = 365;

/// People who get them.
const PEOPLE: u64 = 50_000;

/// What is loaded is kept under this version: another shape is loaded anew.
const SHAPE: &str = "4";

/// The counts of a callback with one item, as Herald stores them.
const ONE_ITEM: [u8; 3] = [1, 1, 0];

/// One database with its server.
struct Side {
    server: Server,
    cookie: String,
    key: String,
    /// A notification in the middle of history.
    notification: String,
    size: u64,
}

impl Query {
    pub async fn run(self) -> anyhow::Result<()> {
        let postgres = self.common.database.is_some();
        let large = self
            .large
            .unwrap_or(if postgres { 5_000_000 } else { 1_000_000 });
        let directory = self
            .common
            .directory
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join("herald-bench-query"));
        std::fs::create_dir_all(&directory)?;
        let sides = [
            self.side(&directory, self.small).await?,
            self.side(&directory, large).await?,
        ];
        let mut pages = BTreeMap::new();
        let names: Vec<&str> = paths(&sides[0]).into_iter().map(|(name, _)| name).collect();
        for (at, name) in names.iter().enumerate() {
            let mut taken: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
            for round in 0..self.requests + 20 {
                for (side, taken) in sides.iter().zip(&mut taken) {
                    let Some((_, path)) = paths(side).into_iter().nth(at) else {
                        continue;
                    };
                    let started = Instant::now();
                    side.get(&path).await?;
                    // The first ones warm up.
                    if round >= 20 {
                        taken.push(started.elapsed().as_secs_f64() * 1000.0);
                    }
                }
            }
            let [small, large] = taken.map(p99);
            progress(&format!("{name:<28} {small:>8.1} ms {large:>8.1} ms"));
            pages.insert(
                *name,
                json!({ "small_p99_ms": small, "large_p99_ms": large }),
            );
        }
        let result = json!({
            "small": sides[0].size,
            "large": sides[1].size,
            "requests": self.requests,
            "pages": pages,
        });
        print(&result, self.common.json);
        Ok(())
    }

    /// Opens or loads a database of this size, and starts its server.
    async fn side(&self, directory: &Path, size: u64) -> anyhow::Result<Side> {
        let (url, admin) = match &self.common.database {
            None => (
                format!(
                    "sqlite:{}",
                    directory.join(format!("query_{size}.sqlite")).display()
                ),
                None,
            ),
            Some(url) => {
                let (server, _) = url
                    .rsplit_once('/')
                    .context("--database has no database name")?;
                (format!("{server}/herald_bench_query_{size}"), Some(url))
            }
        };
        let folder = directory.join(size.to_string());
        std::fs::create_dir_all(&folder)?;
        if !is_loaded(&url).await {
            progress(&format!(
                "loading {size} notifications; they are kept for the next run"
            ));
            make_empty(&url, admin, directory, size).await?;
            server::command(&url, &folder, &["migrate", "up"])?;
            fill(&url, size).await?;
        }
        // What was kept may be of an older version.
        server::command(&url, &folder, &["migrate", "up"])?;
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD)?;
        let file = password.display().to_string();
        let name = format!("bench-{}", Clock::System.now().micros());
        server::command(
            &url,
            &folder,
            &["users", "add-admin", &name, "--password-file", &file],
        )?;
        let key = server::command(&url, &folder, &["keys", "create", &name, "--all"])?;
        let settings = [
            ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
            (
                "WHATSAPP_ACCESS_TOKEN",
                "bench-token-of-no-value".to_owned(),
            ),
            ("WHATSAPP_API_BASE", "http://127.0.0.1:9".to_owned()),
        ];
        let server = Server::start(&url, &folder, &[], &settings).await?;
        let body = format!("name={name}&password={PASSWORD}");
        let head = format!(
            "POST /dashboard/login HTTP/1.1\r\nHost: herald\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = server::raw(server.address, &head).await?;
        let cookie = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "))
            .and_then(|cookie| cookie.split(';').next())
            .context("the login gave no cookie")?
            .to_owned();
        let connection = database::open(&url).await?;
        let notification = id_of(&connection, size).await?;
        connection.close().await?;
        Ok(Side {
            server,
            cookie,
            key,
            notification,
            size,
        })
    }
}

const PASSWORD: &str = "correct-horse-battery";

/// What is asked for, by name.
fn paths(side: &Side) -> Vec<(&'static str, String)> {
    let notification = &side.notification;
    let person = side.size / 2 % PEOPLE;
    [
        ("overview", "/dashboard".to_owned()),
        ("notifications", "/dashboard/notifications".to_owned()),
        (
            "notifications_failed",
            "/dashboard/notifications?status=failed,expired,gave_up".to_owned(),
        ),
        (
            "notifications_failed_of_a_template",
            "/dashboard/notifications?status=failed&template=template_3&since=7d".to_owned(),
        ),
        (
            "notifications_pending",
            "/dashboard/notifications?status=pending".to_owned(),
        ),
        (
            "notifications_skipped",
            "/dashboard/notifications?status=not_sent".to_owned(),
        ),
        (
            "notifications_of_a_person",
            format!("/dashboard/notifications?recipient=%2B1202{person:07}"),
        ),
        (
            "notifications_by_reference",
            format!("/dashboard/notifications?reference=A-{}", side.size / 2),
        ),
        (
            "notifications_of_a_week",
            "/dashboard/notifications?since=7d&status=read".to_owned(),
        ),
        (
            "notification",
            format!("/dashboard/notifications/{notification}"),
        ),
        ("callbacks", "/dashboard/callbacks".to_owned()),
        (
            "callbacks_of_a_message",
            format!("/dashboard/callbacks?q=wamid.QUERY{:012}", side.size / 2),
        ),
        (
            "callbacks_of_a_person",
            format!("/dashboard/callbacks?q=%2B1202{person:07}"),
        ),
        ("senders", "/dashboard/senders".to_owned()),
        ("audit", "/dashboard/audit".to_owned()),
        ("stats_day", "/api/v1/stats".to_owned()),
        (
            "stats_month_by_day_in_a_zone",
            "/api/v1/stats?hours=720&step=day&zone=Europe/Berlin".to_owned(),
        ),
        (
            "stats_month_by_day_in_a_half_zone",
            "/api/v1/stats?hours=720&step=day&zone=Asia/Kolkata".to_owned(),
        ),
        (
            "stats_year_by_day_in_a_half_zone",
            "/api/v1/stats?hours=8760&step=day&zone=Asia/Kolkata".to_owned(),
        ),
        (
            "stats_fortnight_by_hour",
            "/api/v1/stats?hours=336&step=hour".to_owned(),
        ),
        (
            "stats_month_of_a_template_in_a_zone",
            "/api/v1/stats?hours=720&step=day&zone=Asia/Kolkata&template=template_3".to_owned(),
        ),
        (
            "stats_year_by_day",
            "/api/v1/stats?hours=8760&step=day".to_owned(),
        ),
        (
            "stats_month_of_a_template",
            "/api/v1/stats?hours=720&step=day&template=template_3".to_owned(),
        ),
        (
            "stats_week_by_event_type",
            "/api/v1/stats?hours=168&by=event_type".to_owned(),
        ),
        (
            "story",
            format!("/api/v1/notifications/{notification}/story"),
        ),
        (
            "api_notifications_failed",
            "/api/v1/notifications?status=failed".to_owned(),
        ),
    ]
    .into()
}

impl Side {
    async fn get(&self, path: &str) -> anyhow::Result<()> {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: herald\r\nConnection: close\r\nCookie: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.cookie, self.key
        );
        let (status, body) = server::request(self.server.address, &text).await?;
        ensure!(status == 200, "{path} was answered {status}: {body}");
        Ok(())
    }
}

/// The 99th percentile, to a tenth.
fn p99(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    let at = (taken.len() * 99).div_ceil(100).saturating_sub(1);
    taken
        .get(at)
        .map_or(0.0, |value| (value * 10.0).round() / 10.0)
}

async fn is_loaded(url: &str) -> bool {
    let Ok(connection) = database::open(url).await else {
        return false;
    };
    let marked =
        format!("SELECT count(*) FROM setting WHERE name = 'bench_query' AND value = '{SHAPE}'");
    let loaded = number(&connection, &marked)
        .await
        .is_ok_and(|count| count == 1);
    drop(connection.close().await);
    loaded
}

async fn make_empty(
    url: &str,
    admin: Option<&String>,
    directory: &Path,
    size: u64,
) -> anyhow::Result<()> {
    if let Some(admin) = admin {
        let name = url.rsplit('/').next().unwrap_or_default();
        let connection = database::open(admin).await?;
        connection
            .execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        connection
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await?;
        connection.close().await?;
        return Ok(());
    }
    for ending in [
        "sqlite",
        "sqlite-wal",
        "sqlite-shm",
        "sqlite.lock",
        "sqlite.inbox",
        "sqlite.inbox-wal",
        "sqlite.inbox-shm",
    ] {
        let file: PathBuf = directory.join(format!("query_{size}.{ending}"));
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// SQL that the two databases write differently.
struct Words {
    postgres: bool,
    size: u64,
    /// Microseconds of the last notification, and between two.
    last: i64,
    step: i64,
}

impl Words {
    fn series(&self, count: u64, name: &str) -> String {
        let last = count.saturating_sub(1);
        if self.postgres {
            format!("generate_series(0::bigint, {last}::bigint) AS s_{name}({name})")
        } else {
            format!(
                "(WITH RECURSIVE r({name}) AS (SELECT 0 UNION ALL SELECT {name} + 1 FROM r WHERE {name} < {last}) SELECT {name} FROM r) AS s_{name}"
            )
        }
    }

    /// When notification `i` was created, in microseconds.
    fn at(&self) -> String {
        format!("({} - ({} - i) * {})", self.last, self.size - 1, self.step)
    }

    /// An id of version 7 of that moment; `kind` is one hex digit.
    fn id(&self, kind: char, more: &str) -> String {
        let millis = format!("{} / 1000", self.at());
        if self.postgres {
            format!(
                "(lpad(to_hex(({millis})::bigint), 12, '0') || '7{kind}' || lpad(to_hex(({more})::bigint), 2, '0') || '8' || lpad(to_hex(i), 15, '0'))::uuid"
            )
        } else {
            format!(
                "unhex(printf('%012x', {millis}) || '7{kind}' || printf('%02x', {more}) || '8' || printf('%015x', i))"
            )
        }
    }

    /// The segment with the callback of notification `i`.
    fn segment(&self) -> String {
        format!("({} / 1000 * 65536 + 29696)", self.at())
    }

    /// The one callback of that segment.
    fn callback(&self) -> String {
        let millis = format!("{} / 1000", self.at());
        if self.postgres {
            format!("(lpad(to_hex(({millis})::bigint), 12, '0') || '74008000000000000000')::uuid")
        } else {
            format!("unhex(printf('%012x', {millis}) || '74008000000000000000')")
        }
    }

    fn bytes(&self, bytes: &[u8]) -> String {
        let bytes = hex::encode(bytes);
        if self.postgres {
            format!("decode('{bytes}', 'hex')")
        } else {
            format!("x'{bytes}'")
        }
    }

    /// Stores a callback for each notification.
    fn insert_segments(&self, all: &str) -> String {
        let body = load::body(1, "delivered");
        let encoded = segment::encode([(&[0; 32], None, Some(body.as_bytes()))]);
        format!(
            "INSERT INTO inbox_segment (id, endpoint, urgent, bodies, size_bytes, heads, data) \
             SELECT {}, 'meta', false, 1, {}, {}, {} FROM {all}",
            self.segment(),
            encoded.size_bytes,
            self.bytes(&encoded.heads),
            self.bytes(&encoded.data),
        )
    }

    fn person(&self, i: &str) -> String {
        let number = format!("({i} % {PEOPLE})");
        if self.postgres {
            format!("('00000000-0000-7000-9000-' || lpad(to_hex({number}), 12, '0'))::uuid")
        } else {
            format!("unhex('00000000000070009000' || printf('%012x', {number}))")
        }
    }

    fn phone(&self, i: &str) -> String {
        let number = format!("({i} % {PEOPLE})");
        if self.postgres {
            format!("'+1202' || lpad({number}::text, 7, '0')")
        } else {
            format!("'+1202' || printf('%07d', {number})")
        }
    }

    fn wamid(&self) -> &'static str {
        if self.postgres {
            "'wamid.QUERY' || lpad(i::text, 12, '0')"
        } else {
            "'wamid.QUERY' || printf('%012d', i)"
        }
    }

    const fn sender(&self) -> &'static str {
        if self.postgres {
            "'00000000-0000-7000-a000-000000000001'::uuid"
        } else {
            "unhex('0000000000007000a000000000000001')"
        }
    }
}

async fn id_of(connection: &DatabaseConnection, size: u64) -> anyhow::Result<String> {
    let postgres = connection.get_database_backend() == DbBackend::Postgres;
    let id = if postgres {
        "id::text"
    } else {
        "lower(hex(id))"
    };
    let sql = format!(
        "SELECT {id} FROM notification WHERE reference = 'A-{}'",
        size / 2
    );
    let statement = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
    let row = connection
        .query_one_raw(statement)
        .await?
        .context("nothing was loaded")?;
    Ok(uuid::Uuid::parse_str(&row.try_get_by_index::<String>(0)?)?.to_string())
}

/// How SQL writes the record of a message that was delivered.
fn record_sql(words: &Words) -> anyhow::Result<String> {
    let at = Timestamp::from_micros(words.last);
    let mut delivered = record::sent(at, SENDER, &[DeliveryFact::Delivered]);
    delivered.timeline.add(TimelineEntry {
        provider_at: Some(at),
        attempt_id: Some(record::placeholder(1)),
        callback_id: Some(record::placeholder(2)),
        ..TimelineEntry::new(at, TimelineEntryKind::Delivered, None)
    });
    let filled = [
        (record::placeholder(1), words.id('2', "0")),
        (record::placeholder(2), words.callback()),
    ];
    let filled: Vec<(uuid::Uuid, &str)> = filled.iter().map(|(id, sql)| (*id, &**sql)).collect();
    record::sql(words.postgres, &delivered, at, &filled)
}

/// The sender of what is loaded.
const SENDER: uuid::Uuid = uuid::uuid!("00000000-0000-7000-a000-000000000001");

/// Loads notifications with their attempts, stories, callbacks, people and counters: 2 of
/// 100 failed, 1 was skipped, the newest 200 wait.
async fn fill(url: &str, size: u64) -> anyhow::Result<()> {
    let connection = database::open(url).await?;
    let postgres = connection.get_database_backend() == DbBackend::Postgres;
    let now = Clock::System.now().micros();
    let year = i64::try_from(DAYS * 24 * 60 * 60)? * 1_000_000;
    let words = Words {
        postgres,
        size,
        last: now,
        step: year / i64::try_from(size)?,
    };
    if postgres {
        connection
            .execute_unprepared("SET synchronous_commit = off")
            .await?;
        connection
            .execute_unprepared("SET maintenance_work_mem = '512MB'")
            .await?;
    } else {
        connection
            .execute_unprepared("PRAGMA synchronous = OFF")
            .await?;
        connection
            .execute_unprepared("PRAGMA cache_size = -400000")
            .await?;
    }
    let failed = "(i % 100 < 2)";
    let skipped = "(i % 100 = 50)";
    let waits = format!("(i >= {})", size.saturating_sub(200));
    let status = format!(
        "CASE WHEN {waits} THEN 'queued' WHEN {failed} THEN 'failed' WHEN {skipped} THEN 'skipped' WHEN i % 3 = 0 THEN 'delivered' ELSE 'read' END"
    );
    let failure = r#"{"code":131026,"class":"recipient_gone","title":"Message undeliverable","meaning":"The message cannot be delivered.","remedy":"Use another channel.","details":null,"raw":null}"#;
    let (at, notification, attempt) = (words.at(), words.id('1', "0"), words.id('2', "0"));
    let (person, phone, wamid, sender) = (
        words.person("i"),
        words.phone("i"),
        words.wamid(),
        words.sender(),
    );
    let (all, people) = (words.series(size, "i"), words.series(PEOPLE.min(size), "i"));
    let record = record_sql(&words)?;
    let body = "Dear customer, your order is on its way and will be with you by tomorrow evening.";
    let (yes, no) = if postgres {
        ("true", "false")
    } else {
        ("1", "0")
    };
    let nothing = if postgres { "NULL::bigint" } else { "NULL" };
    let mut statements = vec![
        format!(
            "INSERT INTO sender (id, created_at, updated_at, kind, name, endpoint_id, is_default, state, pace_per_second, pace_next_at, failures_in_row) \
                 VALUES ({sender}, {now}, {now}, 'meta', 'bench', '106540352242922', {yes}, 'active', 80, 0, 0)"
        ),
        format!(
            "INSERT INTO contact (id, created_at, name) SELECT {person}, {now}, 'Person ' || i FROM {people}"
        ),
        format!(
            "INSERT INTO contact_alias (created_at, contact_id, kind, value) SELECT {now}, {person}, 'phone', {phone} FROM {people}"
        ),
        format!(
            "INSERT INTO notification (id, created_at, updated_at, event_type, depth, sender_id, channel, contact_id, recipient, address, kind, template, language, category, params, body, reference, labels, priority, generation, status, open_status, engine_state, reason, failure, triggered, replied, attempt_count, due_at, record) \
                 SELECT {notification}, {at}, {at}, 'shop.order_' || (i % 5), 0, {sender}, 'whatsapp', {person}, {phone}, {phone}, 'template', 'template_' || (i % 10), 'en', 'utility', '{{\"name\":\"Asha\"}}', '{body}', 'A-' || i, '{{}}', 2, 1, \
                 {status}, CASE WHEN {waits} THEN 'queued' END, CASE WHEN {waits} THEN 'queued' ELSE 'settled' END, CASE WHEN {skipped} THEN 'the recipient has no phone number' END, \
                 CASE WHEN {failed} AND NOT {waits} THEN '{failure}' END, 31, {no}, 1, CASE WHEN {waits} THEN {now} + 86400000000 ELSE {nothing} END, {record} FROM {all}"
        ),
        format!(
            "INSERT INTO attempt (id, notification_id, sender_id, number, outcome, answered_at, http_status, provider_message_id, request, answer) \
                 SELECT {attempt}, {notification}, {sender}, 1, 'accepted', {at}, 200, {wamid}, '{{\"type\":\"template\"}}', '{{\"messages\":[]}}' FROM {all}"
        ),
        words.insert_segments(&all),
        format!(
            "INSERT INTO inbox_applied (segment, processed_at, counts) SELECT {}, {at}, {} FROM {all}",
            words.segment(),
            words.bytes(&ONE_ITEM)
        ),
    ];
    // Counters of a year in their grains: ten templates of five kinds of event, two
    // processes, failures by three codes, prices and times.
    for (grain, count) in [
        (900_u64, DAYS * 96),
        (1_800, DAYS * 48),
        (3_600, DAYS * 24),
        (86_400, DAYS),
        (604_800, DAYS / 7 + 1),
    ] {
        let length = i64::try_from(grain)? * 1_000_000;
        let first = now - now % length - length * i64::try_from(count - 1)?;
        let whole = ![1_800, 3_600].contains(&grain);
        let (template, event, kinds) = if whole {
            (
                "'template_' || (n / 2 % 10)",
                "'shop.order_' || (n / 2 % 5)",
                20,
            )
        } else {
            ("''", "''", 2)
        };
        let buckets = words.series(count, "i");
        let place = format!("{grain}, {first} + i * {length}, {sender}, 'whatsapp'");
        statements.push(format!(
            "INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, \
             created, accepted, sent, delivered, read, played, replied, out, skipped, cancelled, stale, failed) \
             SELECT {place}, {template}, {event}, n % 2, {now}, 9, 8, 8, 7, 5, 0, 1, 8, 0, 0, 0, 1 FROM {buckets}, {}",
            words.series(kinds, "n")
        ));
        let mut coded = |fact: &str, template: &str, event: &str, code: &str, kinds: u64| {
            statements.push(format!(
                "INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count) \
                 SELECT {place}, {template}, {event}, '{fact}', {code}, n % 2, {now}, 3 FROM {buckets}, {}",
                words.series(kinds, "n")
            ));
        };
        if whole {
            let code = "CASE n % 3 WHEN 0 THEN '131026' WHEN 1 THEN '131049' ELSE '131047' END";
            coded("failed", template, event, code, 20);
            coded("priced", template, event, "'utility/regular/US'", 20);
            coded("took_sent", "''", "''", "CAST(n / 2 AS text)", 24);
            coded("took_delivered", "''", "''", "CAST(n / 2 AS text)", 24);
            coded("took_read", "''", "''", "CAST(n / 2 AS text)", 24);
        }
    }
    for statement in statements {
        let started = Instant::now();
        connection
            .execute_unprepared(&statement)
            .await
            .with_context(|| statement.chars().take(80).collect::<String>())?;
        progress(&format!(
            "  {:>4} s  {}",
            started.elapsed().as_secs(),
            statement.split(" (").next().unwrap_or_default()
        ));
    }
    let marked = format!(
        "INSERT INTO setting (name, created_at, value) VALUES ('bench_query', {now}, '{SHAPE}')"
    );
    if postgres {
        connection.execute_unprepared("VACUUM ANALYZE").await?;
        connection.execute_unprepared(&marked).await?;
        connection.execute_unprepared("CHECKPOINT").await?;
    } else {
        connection.execute_unprepared(&marked).await?;
        connection.execute_unprepared("PRAGMA optimize").await?;
        connection
            .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
            .await?;
    }
    connection.close().await?;
    Ok(())
}
