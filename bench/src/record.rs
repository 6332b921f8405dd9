//! Records of notifications: read back, and made in bulk by SQL.

use anyhow::{Context, ensure};
use herald::{
    domain::{
        facts::{DeliveryFact, DeliveryFacts},
        notification::{AttemptMessageId, AttemptState},
        outcome::AttemptOutcome,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
    },
    store::notification::NotificationRecord,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;

/// A notification's record, and whose it is.
pub struct Recorded {
    pub notification: Uuid,
    pub record: NotificationRecord,
    pub lines: Vec<TimelineEntry>,
}

/// All records that there are.
pub async fn all(connection: &DatabaseConnection) -> anyhow::Result<Vec<Recorded>> {
    let statement = Statement::from_string(
        connection.get_database_backend(),
        "SELECT id, created_at, record FROM notification WHERE record IS NOT NULL",
    );
    let mut all = Vec::new();
    for row in connection.query_all_raw(statement).await? {
        let notification: Uuid = row.try_get_by_index(0)?;
        let created_at = Timestamp::from_micros(row.try_get_by_index(1)?);
        let bytes: Vec<u8> = row.try_get_by_index(2)?;
        let record = NotificationRecord::read(&bytes, created_at)
            .with_context(|| format!("the record of {notification}"))?;
        all.push(Recorded {
            notification,
            lines: record.lines(created_at)?,
            record,
        });
    }
    Ok(all)
}

/// The attempts of all notifications.
pub async fn attempts(
    connection: &DatabaseConnection,
) -> anyhow::Result<Vec<(Uuid, AttemptState)>> {
    let mut attempts = Vec::new();
    for recorded in all(connection).await? {
        let of = recorded.record.attempts;
        attempts.extend(
            of.into_iter()
                .map(|attempt| (recorded.notification, attempt)),
        );
    }
    Ok(attempts)
}

/// Puts the one sender that there is into all records, in the place of this one.
pub async fn set_sender(connection: &DatabaseConnection, before: Uuid) -> anyhow::Result<()> {
    let before = before.simple();
    let replaced = if connection.get_database_backend() == DbBackend::Postgres {
        format!(
            "overlay(record PLACING (SELECT uuid_send(id) FROM sender) FROM position('\\x{before}'::bytea IN record) FOR 16) \
             WHERE position('\\x{before}'::bytea IN record) > 0"
        )
    } else {
        format!(
            "CAST(substr(record, 1, instr(record, x'{before}') - 1) || (SELECT id FROM sender) \
             || substr(record, instr(record, x'{before}') + 16) AS BLOB) WHERE instr(record, x'{before}') > 0"
        )
    };
    let sql = format!("UPDATE notification SET record = {replaced}");
    connection.execute_unprepared(&sql).await?;
    Ok(())
}

/// Stands for an id that SQL fills in.
pub const fn placeholder(number: u8) -> Uuid {
    Uuid::from_u128(0x7ace_0000_7ace_0000_7ace_0000_7ace_0000 | number as u128)
}

/// A message that was queued, sent at once and accepted, with these facts after it.
pub fn sent(created_at: Timestamp, sender: Uuid, reported: &[DeliveryFact]) -> NotificationRecord {
    let mut facts = DeliveryFacts::default();
    facts.add(DeliveryFact::Accepted, created_at);
    for fact in reported {
        facts.add(*fact, created_at);
    }
    let attempt = placeholder(1);
    let mut record = NotificationRecord {
        attempts: vec![AttemptState {
            id: attempt,
            number: 1,
            generation: 1,
            created_at,
            lease_token: Uuid::nil(),
            sender_id: sender,
            outcome: Some(AttemptOutcome::Accepted),
            message_id: AttemptMessageId::Stored,
            facts,
            failure: None,
            pricing: None,
        }],
        ..NotificationRecord::default()
    };
    let queued = r#"{"reason":null,"route":"order","rule":null}"#.to_owned();
    let kind = TimelineEntryKind::Queued;
    record
        .timeline
        .add(TimelineEntry::new(created_at, kind, Some(queued)));
    record.timeline.add(TimelineEntry {
        attempt_id: Some(attempt),
        ..TimelineEntry::new(created_at, TimelineEntryKind::Accepted, None)
    });
    record
}

/// How SQL writes a record in which each placeholder is the UUID of an expression.
pub fn sql(
    postgres: bool,
    record: &NotificationRecord,
    created_at: Timestamp,
    filled: &[(Uuid, &str)],
) -> anyhow::Result<String> {
    let written = hex::encode(record.written(created_at)?);
    let literal = |hex: &str| {
        if postgres {
            format!("'\\x{hex}'::bytea")
        } else {
            format!("x'{hex}'")
        }
    };
    let mut parts = vec![written];
    for (wanted, expression) in filled {
        let wanted = hex::encode(wanted.as_bytes());
        let expression = if postgres {
            format!("uuid_send({expression})")
        } else {
            (*expression).to_owned()
        };
        let mut split = Vec::new();
        for part in parts {
            if part.contains('(') {
                split.push(part);
                continue;
            }
            for (position, piece) in part.split(wanted.as_str()).enumerate() {
                if position > 0 {
                    split.push(expression.clone());
                }
                split.push(piece.to_owned());
            }
        }
        ensure!(split.len() > 1, "the record has no {wanted}");
        parts = split;
    }
    let pieces: Vec<String> = parts
        .iter()
        .map(|part| {
            if part.contains('(') {
                part.clone()
            } else {
                literal(part)
            }
        })
        .collect();
    Ok(if postgres {
        format!("({})", pieces.join(" || "))
    } else {
        format!("CAST({} AS BLOB)", pieces.join(" || "))
    })
}
