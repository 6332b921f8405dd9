//! Ids of voice calls in a name space of their own; and how people write the number of a sender, by
//! which a provider names it in news of an account.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"
UPDATE inbound_message SET provider_message_id = 'call:' || provider_message_id WHERE kind = 'call';
ALTER TABLE sender ADD COLUMN display_number {text};
";

// A voicemail may have the id of its call: one of the two goes.
const DOWN: &str = r"
DELETE FROM inbound_message WHERE provider_message_id LIKE 'call:%' AND EXISTS (
    SELECT 1 FROM inbound_message other WHERE 'call:' || other.provider_message_id = inbound_message.provider_message_id
    AND other.phone_number_id = inbound_message.phone_number_id);
UPDATE inbound_message SET provider_message_id = substr(provider_message_id, 6) WHERE provider_message_id LIKE 'call:%';
ALTER TABLE sender DROP COLUMN display_number;
";
