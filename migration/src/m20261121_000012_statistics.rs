//! Counters by event type and in coarser grains, so that a long time is few rows.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

ALTER TABLE counter RENAME TO counter_of_quarters;

-- Summed over `slot` when read: processes do not queue for one row. `grain`: the length
-- of the cohort in seconds. 900 and 86400 (a day in UTC) know everything; 3600 knows
-- neither template nor event type nor code, and is what charts are drawn from.
CREATE TABLE counter (
    grain      bigint NOT NULL,
    bucket     bigint NOT NULL,
    sender_id  {uuid} NOT NULL,
    channel    {text} NOT NULL,
    template   {text} NOT NULL,
    event_type {text} NOT NULL,
    fact       {text} NOT NULL,
    code       {text} NOT NULL,
    slot       bigint NOT NULL,
    created_at bigint NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (grain, bucket, sender_id, channel, template, event_type, fact, code, slot)
) {clustered} {hot};

-- A chart of one template, or of one kind of event.
CREATE INDEX counter_template ON counter (template, bucket) WHERE grain = 900;
CREATE INDEX counter_event_type ON counter (event_type, bucket) WHERE grain = 900;

INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT 900, bucket, sender_id, channel, template, '', fact, code, slot, created_at, count FROM counter_of_quarters;

INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT 3600, bucket - bucket % 3600000000, sender_id, channel, '', '', fact, '', slot, min(created_at), CAST(sum(count) AS bigint)
FROM counter_of_quarters GROUP BY bucket - bucket % 3600000000, sender_id, channel, fact, slot;

INSERT INTO counter (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, created_at, count)
SELECT 86400, bucket - bucket % 86400000000, sender_id, channel, template, '', fact, code, slot, min(created_at), CAST(sum(count) AS bigint)
FROM counter_of_quarters GROUP BY bucket - bucket % 86400000000, sender_id, channel, template, fact, code, slot;

DROP TABLE counter_of_quarters;

";

const DOWN: &str = r"

ALTER TABLE counter RENAME TO counter_of_grains;

CREATE TABLE counter (
    bucket     bigint NOT NULL,
    sender_id  {uuid} NOT NULL,
    channel    {text} NOT NULL,
    template   {text} NOT NULL,
    fact       {text} NOT NULL,
    code       {text} NOT NULL,
    slot       bigint NOT NULL,
    created_at bigint NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (bucket, sender_id, channel, template, fact, code, slot)
) {clustered} {hot};

INSERT INTO counter (bucket, sender_id, channel, template, fact, code, slot, created_at, count)
SELECT bucket, sender_id, channel, template, fact, code, slot, min(created_at), CAST(sum(count) AS bigint)
FROM counter_of_grains WHERE grain = 900 GROUP BY bucket, sender_id, channel, template, fact, code, slot;

DROP TABLE counter_of_grains;
";
