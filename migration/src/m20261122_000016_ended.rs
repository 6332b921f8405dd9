//! What failed and what was not sent, found without an index that every status changes.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- A condition on `status` in an index makes PostgreSQL write every index anew whenever a
-- status changes; this column changes once, at the end, and for few.
DROP INDEX notification_not_sent;
DROP INDEX notification_failed;
ALTER TABLE notification ADD COLUMN ended {text} GENERATED ALWAYS AS (
    CASE WHEN status IN ('failed', 'expired', 'gave_up') THEN 'failed'
         WHEN status IN ('skipped', 'cancelled') THEN 'not_sent' END
) {computed};
CREATE INDEX notification_ended ON notification (ended, id) WHERE ended IS NOT NULL;

-- What has failed is not open.
UPDATE notification SET open_status = NULL WHERE open_status IN ('failed', 'expired', 'gave_up');

";

const DOWN: &str = r"
UPDATE notification SET open_status = status WHERE ended = 'failed';
DROP INDEX notification_ended;
ALTER TABLE notification DROP COLUMN ended;
CREATE INDEX notification_failed ON notification (id) WHERE status IN ('failed', 'expired', 'gave_up');
CREATE INDEX notification_not_sent ON notification (id) WHERE status IN ('skipped', 'cancelled');
";
