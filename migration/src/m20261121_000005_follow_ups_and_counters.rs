//! What transitions start, and what they count.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE TABLE follow_up (
    id               {uuid} NOT NULL PRIMARY KEY,
    created_at       bigint NOT NULL,
    notification_id  {uuid} NOT NULL,
    generation       bigint NOT NULL,
    rule_id          {uuid} NOT NULL,
    rule_name        {text} NOT NULL,
    trigger_name     {text} NOT NULL,
    occurrence       {text} NOT NULL,
    unless_mask      bigint NOT NULL,
    state            {text} NOT NULL,
    due_at           bigint,
    settled_at       bigint,
    reason           {text},
    UNIQUE (notification_id, generation, rule_name, trigger_name, occurrence)
) {hot};
CREATE INDEX follow_up_due ON follow_up (due_at) WHERE due_at IS NOT NULL;

-- Summed over `slot` when read: processes do not queue for one row.
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

";

const DOWN: &str = r"
DROP TABLE counter; DROP TABLE follow_up;
";
