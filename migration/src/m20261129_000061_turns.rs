//! What waits for its turn with one person, or for a template, is out of the way of the rest.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"
-- When the next of the messages that wait for their turn with this person may leave.
ALTER TABLE conversation ADD COLUMN turn_at bigint;
CREATE INDEX conversation_turn ON conversation (sender_id, turn_at) WHERE turn_at IS NOT NULL;

-- It says what a message waits for, and nothing once it waits no more.
UPDATE notification SET held_for = NULL WHERE held_for IS NOT NULL AND engine_state <> 'held';
UPDATE notification SET held_for = 'sender' WHERE held_for IS NULL AND engine_state = 'held';

DROP INDEX notification_held;
CREATE INDEX notification_held ON notification (coalesce(sender_id, {nil}), priority, id)
    WHERE engine_state = 'held' AND held_for IN ('sender', 'hold');
CREATE INDEX notification_template_wait ON notification (sender_id, template, coalesce(language, ''), priority, id)
    WHERE held_for = 'template';
CREATE INDEX notification_person_wait ON notification (contact_id, held_for, sender_id, priority, id)
    WHERE held_for IN ('turn', 'address');
";

const DOWN: &str = r"
UPDATE notification SET held_for = NULL, due_at = updated_at WHERE held_for = 'turn';
DROP INDEX notification_person_wait;
DROP INDEX notification_template_wait;
DROP INDEX notification_held;
CREATE INDEX notification_held ON notification (coalesce(sender_id, {nil}), priority, id) WHERE engine_state = 'held';
DROP INDEX conversation_turn;
ALTER TABLE conversation DROP COLUMN turn_at;
";
