//! Events and rules that reach many, worked through a chunk at a time.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

-- How far a follow-up has come that is not at its end.
ALTER TABLE follow_up ADD COLUMN cursor_at {text};

-- Who has a message of an event, or of a rule, already is asked for each chunk of its people.
CREATE INDEX notification_of_event ON notification (event_id, contact_id) WHERE event_id IS NOT NULL;
CREATE INDEX notification_of_follow_up ON notification (follow_up_id, contact_id) WHERE follow_up_id IS NOT NULL;
DROP INDEX notification_event;

-- Which groups a user is in, and which users a contact is.
CREATE INDEX group_member_user ON group_member (user_id);
CREATE INDEX user_account_contact ON user_account (contact_id) WHERE contact_id IS NOT NULL;

";

const DOWN: &str = r"
DROP INDEX user_account_contact;
DROP INDEX group_member_user;
CREATE INDEX notification_event ON notification (event_id) WHERE event_id IS NOT NULL;
DROP INDEX notification_of_follow_up;
DROP INDEX notification_of_event;
ALTER TABLE follow_up DROP COLUMN cursor_at;
";
