//! What transitions start, and what they count.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A follow-up whose time has come. Those that wait are in the records of notifications.
CREATE TABLE follow_up (
    id               {uuid} NOT NULL PRIMARY KEY,
    created_at       bigint NOT NULL,
    notification_id  {uuid} NOT NULL,
    generation       bigint NOT NULL,
    rule_id          {uuid} NOT NULL,
    rule_name        {text} NOT NULL,
    trigger_name     {text} NOT NULL,
    occurrence       {text} NOT NULL,
    -- The transitions that cancel it, as bits.
    unless_mask      bigint NOT NULL,
    state            {text} NOT NULL,
    due_at           bigint,
    -- How far it has come, if it is not at its end.
    cursor_at        {text},
    settled_at       bigint,
    reason           {text},
    UNIQUE (notification_id, generation, rule_name, trigger_name, occurrence)
) {hot};
CREATE INDEX follow_up_due ON follow_up (due_at) WHERE due_at IS NOT NULL;

-- When those are due that wait.
CREATE TABLE follow_up_timer (
    due_at           bigint NOT NULL,
    follow_up_id     {uuid} NOT NULL,
    notification_id  {uuid} NOT NULL,
    PRIMARY KEY (due_at, follow_up_id)
) {clustered};

-- What became of the messages of a period. Summed over `slot` when read: processes do not queue for
-- one row. `grain`: the length of the period in seconds. 900, 86400 (a day in UTC) and 604800 (seven
-- days) know everything; 1800 and 3600 know neither template nor event type, and are what charts are
-- drawn from.
CREATE TABLE cohort (
    grain       bigint NOT NULL,
    bucket      bigint NOT NULL,
    sender_id   {uuid} NOT NULL,
    channel     {text} NOT NULL,
    template    {text} NOT NULL,
    event_type  {text} NOT NULL,
    slot        bigint NOT NULL,
    product     {text} NOT NULL DEFAULT '',
    created_at  bigint NOT NULL,
    created     bigint NOT NULL,
    accepted    bigint NOT NULL,
    sent        bigint NOT NULL,
    delivered   bigint NOT NULL,
    read        bigint NOT NULL,
    played      bigint NOT NULL,
    replied     bigint NOT NULL,
    out         bigint NOT NULL,
    skipped     bigint NOT NULL,
    cancelled   bigint NOT NULL,
    stale       bigint NOT NULL,
    failed      bigint NOT NULL,
    PRIMARY KEY (grain, bucket, sender_id, channel, template, event_type, slot, product)
) {clustered} {hot};
-- A chart of one template, or of one kind of event.
CREATE INDEX cohort_template ON cohort (template, bucket) WHERE grain = 900;
CREATE INDEX cohort_event_type ON cohort (event_type, bucket) WHERE grain = 900;

-- The same for what has a code: failures, prices, and how long things took. There are no rows of the
-- grains that charts are drawn from.
CREATE TABLE counter (
    grain       bigint NOT NULL,
    bucket      bigint NOT NULL,
    sender_id   {uuid} NOT NULL,
    channel     {text} NOT NULL,
    template    {text} NOT NULL,
    event_type  {text} NOT NULL,
    fact        {text} NOT NULL,
    code        {text} NOT NULL,
    slot        bigint NOT NULL,
    product     {text} NOT NULL DEFAULT '',
    created_at  bigint NOT NULL,
    count       bigint NOT NULL,
    PRIMARY KEY (grain, bucket, sender_id, channel, template, event_type, fact, code, slot, product)
) {clustered} {hot};

";

const DOWN: &str = r"
DROP TABLE counter;
DROP TABLE cohort;
DROP TABLE follow_up_timer;
DROP TABLE follow_up;
";
