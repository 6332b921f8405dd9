//! A row for each cohort with a column for each fact, so that a long chart is few rows.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    let read = FACTS.map(|fact| {
        format!("CAST(sum(CASE WHEN fact = '{fact}' THEN count ELSE 0 END) AS bigint)")
    });
    let sums = FACTS.map(|fact| format!("CAST(sum({fact}) AS bigint)"));
    let columns = FACTS.map(|fact| format!("    {fact} bigint NOT NULL,"));
    UP.replace("{columns}", &columns.join("\n"))
        .replace("{facts}", &FACTS.join(", "))
        .replace("{known}", &quoted().join(", "))
        .replace("{read}", &read.join(", "))
        .replace("{sums}", &sums.join(", "))
}

pub(crate) fn down(_: Dialect) -> String {
    // What failed is still counted by code, but not by hour.
    let back = FACTS.map(|fact| {
        let grain = if fact == "failed" {
            "grain = 3600 AND "
        } else {
            ""
        };
        BACK.replace("{fact}", fact).replace("{grain}", grain)
    });
    DOWN.replace("{back}", &back.join(""))
        .replace("{known}", &quoted().join(", "))
}

const FACTS: [&str; 12] = [
    "created",
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "replied",
    "out",
    "skipped",
    "cancelled",
    "stale",
    "failed",
];

fn quoted() -> [String; 12] {
    FACTS.map(|fact| format!("'{fact}'"))
}

const UP: &str = r"

-- Summed over `slot` when read: processes do not queue for one row. `grain`: the length
-- of the cohort in seconds. 900, 86400 (a day in UTC) and 604800 (seven days) know
-- everything; 1800 and 3600 know neither template nor event type, and are what charts
-- are drawn from.
CREATE TABLE cohort (
    grain      bigint NOT NULL,
    bucket     bigint NOT NULL,
    sender_id  {uuid} NOT NULL,
    channel    {text} NOT NULL,
    template   {text} NOT NULL,
    event_type {text} NOT NULL,
    slot       bigint NOT NULL,
    created_at bigint NOT NULL,
{columns}
    PRIMARY KEY (grain, bucket, sender_id, channel, template, event_type, slot)
) {clustered} {hot};

INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, {facts})
SELECT grain, bucket, sender_id, channel, template, event_type, slot, min(created_at), {read}
FROM counter WHERE fact IN ({known})
GROUP BY grain, bucket, sender_id, channel, template, event_type, slot;

INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, {facts})
SELECT 1800, bucket - bucket % 1800000000, sender_id, channel, '', '', slot, min(created_at), {sums}
FROM cohort WHERE grain = 900 GROUP BY bucket - bucket % 1800000000, sender_id, channel, slot;

INSERT INTO cohort (grain, bucket, sender_id, channel, template, event_type, slot, created_at, {facts})
SELECT 604800, bucket - bucket % 604800000000, sender_id, channel, template, event_type, slot, min(created_at), {sums}
FROM cohort WHERE grain = 86400
GROUP BY bucket - bucket % 604800000000, sender_id, channel, template, event_type, slot;

INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT 604800, bucket - bucket % 604800000000, sender_id, channel, template, event_type, fact, code, slot, min(created_at), CAST(sum(count) AS bigint)
FROM counter WHERE grain = 86400 AND (fact = 'failed' OR fact NOT IN ({known}))
GROUP BY bucket - bucket % 604800000000, sender_id, channel, template, event_type, fact, code, slot;

-- A chart of one template, or of one kind of event.
DROP INDEX counter_template;
DROP INDEX counter_event_type;
CREATE INDEX cohort_template ON cohort (template, bucket) WHERE grain = 900;
CREATE INDEX cohort_event_type ON cohort (event_type, bucket) WHERE grain = 900;

-- What is left has a code: failures, prices, and how long things took.
DELETE FROM counter WHERE grain = 3600 OR (fact <> 'failed' AND fact IN ({known}));

";

const DOWN: &str = r"

DELETE FROM counter WHERE grain = 604800;

{back}
INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT 3600, bucket - bucket % 3600000000, sender_id, channel, '', '', fact, '', slot, min(created_at), CAST(sum(count) AS bigint)
FROM counter WHERE grain = 900 AND fact NOT IN ({known})
GROUP BY bucket - bucket % 3600000000, sender_id, channel, fact, slot;

CREATE INDEX counter_template ON counter (template, bucket) WHERE grain = 900;
CREATE INDEX counter_event_type ON counter (event_type, bucket) WHERE grain = 900;

DROP TABLE cohort;

";

const BACK: &str = r"
INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT grain, bucket, sender_id, channel, template, event_type, '{fact}', '', slot, created_at, {fact}
FROM cohort WHERE grain NOT IN (1800, 604800) AND {grain}{fact} <> 0;
";
