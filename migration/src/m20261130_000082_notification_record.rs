//! A notification's row holds its attempts with their facts, its planned follow-ups and the newest
//! lines of its timeline: the only row that a status changes.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

ALTER TABLE notification ADD COLUMN record {bytes};

DROP TABLE attempt;
CREATE TABLE attempt (
    id                   {uuid} NOT NULL PRIMARY KEY,
    notification_id      {uuid} NOT NULL,
    sender_id            {uuid} NOT NULL,
    number               bigint NOT NULL,
    outcome              {text},
    answered_at          bigint,
    http_status          bigint,
    provider_message_id  {text},
    request              {text},
    answer               {text}
);
CREATE INDEX attempt_notification ON attempt (notification_id);
CREATE UNIQUE INDEX attempt_provider_message ON attempt (provider_message_id, sender_id) WHERE provider_message_id IS NOT NULL;

-- When the follow-ups are due that wait in the records of notifications.
CREATE TABLE follow_up_timer (
    due_at           bigint NOT NULL,
    follow_up_id     {uuid} NOT NULL,
    notification_id  {uuid} NOT NULL,
    PRIMARY KEY (due_at, follow_up_id)
) {clustered};

";

const DOWN: &str = r"
DROP TABLE follow_up_timer;
ALTER TABLE notification DROP COLUMN record;
";
