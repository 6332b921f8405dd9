//! What the audit log can say was done.

use super::word_enum::words;

words! {
    /// What was done: an area, and the action there.
    pub enum AuditAction {
        /// An address that was suppressed gets messages again.
        AddressAllowed = "address.allowed",
        /// The raw body of a callback was shown.
        CallbackRead = "callback.read",
        /// Its dead letters were applied again.
        CallbackReplayed = "callback.replayed",
        ContactChanged = "contact.changed",
        ContactDeleted = "contact.deleted",
        /// Two contacts were made one person.
        ContactMerged = "contact.merged",
        /// Two contacts that may have been one person are two.
        ContactParted = "contact.parted",
        ContactPreferences = "contact.preferences",
        /// Aliases of a contact were given to another person.
        ContactSplit = "contact.split",
        CredentialActivated = "credential.activated",
        CredentialAdded = "credential.added",
        CredentialDeactivated = "credential.deactivated",
        CredentialRemoved = "credential.removed",
        EventReplayed = "event.replayed",
        GroupDeleted = "group.deleted",
        GroupMade = "group.made",
        GroupMemberAdded = "group.member_added",
        GroupMemberRemoved = "group.member_removed",
        /// All sending was put on hold.
        HoldBegan = "hold.began",
        HoldReleased = "hold.released",
        KeyCreated = "key.created",
        KeyRevoked = "key.revoked",
        LogFilter = "log.filter",
        LoginAdded = "login.added",
        /// A dashboard user signed in.
        LoginIn = "login.in",
        /// A link was made that signs in once.
        LoginLink = "login.link",
        LoginOff = "login.off",
        LoginOn = "login.on",
        LoginPassword = "login.password",
        LoginRole = "login.role",
        NotificationCancel = "notification.cancel",
        NotificationDiscard = "notification.discard",
        NotificationRetry = "notification.retry",
        NotificationSendNow = "notification.send-now",
        SenderAdded = "sender.added",
        SenderChanged = "sender.changed",
        /// It was made the default.
        SenderDefault = "sender.default",
        /// Its old messages were cancelled.
        SenderDiscarded = "sender.discarded",
        SenderHeld = "sender.held",
        SenderReleased = "sender.released",
        UserDeleted = "user.deleted",
        /// A staff member was linked to a contact.
        UserLinked = "user.linked",
        UserMade = "user.made",
        UserUnlinked = "user.unlinked",
    }
}
