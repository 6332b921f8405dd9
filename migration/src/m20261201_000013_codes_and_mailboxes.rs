//! Finds the verification of a message, and the contacts that a product gave a mailbox.

use crate::Dialect;

pub(crate) fn up(_: Dialect) -> String {
    UP.to_owned()
}

pub(crate) fn down(_: Dialect) -> String {
    DOWN.to_owned()
}

const UP: &str = r"

CREATE INDEX verification_send_notification ON verification_send (notification_id);
CREATE INDEX product_contact_email ON product_contact (lower(email)) WHERE email IS NOT NULL;

";

const DOWN: &str = r"
DROP INDEX product_contact_email;
DROP INDEX verification_send_notification;
";
