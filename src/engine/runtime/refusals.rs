//! What the recipients of messages have refused. A mail to a mailbox that several people share, and to
//! none of them by name, is refused if one of them has refused it.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::{
        preference::{MessageTraits, PersonRefusals},
        recipient::RecipientSpec,
        time::Timestamp,
    },
    store::{DatabaseTransaction, StoreError, people, preferences},
};

/// Whom a message goes to.
#[derive(Clone, Copy, Debug)]
pub struct RefusalSubject<'a> {
    pub contact: Option<Uuid>,
    /// As it was named: `contact:NAME`, a number or a mailbox.
    pub recipient: Option<&'a str>,
}

impl RefusalSubject<'_> {
    /// The mailbox, in small letters, if that is what was named.
    fn mailbox(self) -> Option<String> {
        // Cheaper than to read each number.
        let named = self.recipient.filter(|it| it.contains('@'))?;
        match RecipientSpec::parse(named) {
            Ok(RecipientSpec::Email(address)) => Some(address.key()),
            _ => None,
        }
    }
}

/// Opt-outs, preferences and quiet hours of recipients.
#[derive(Debug, Default)]
pub struct RecipientRefusals {
    people: HashMap<Uuid, PersonRefusals>,
    /// Who has a mailbox.
    sharing: HashMap<String, Vec<Uuid>>,
}

impl RecipientRefusals {
    /// Reads those of these recipients.
    pub async fn load(
        tx: &DatabaseTransaction,
        subjects: &[RefusalSubject<'_>],
    ) -> Result<Self, StoreError> {
        let mailboxes: Vec<String> = subjects.iter().filter_map(|it| it.mailbox()).collect();
        let sharing = people::sharing(tx, &mailboxes).await?;
        let named = subjects.iter().filter_map(|it| it.contact);
        let contacts: Vec<Uuid> = named.chain(sharing.values().flatten().copied()).collect();
        Ok(Self {
            people: preferences::of(tx, &contacts).await?,
            sharing,
        })
    }

    fn of<'a>(&'a self, subject: RefusalSubject<'_>) -> impl Iterator<Item = &'a PersonRefusals> {
        let others = subject.mailbox().and_then(|it| self.sharing.get(&it));
        let others = others.into_iter().flatten().copied();
        // Each once does not matter: the same is refused twice.
        let contacts = subject.contact.into_iter().chain(others);
        contacts.filter_map(|contact| self.people.get(&contact))
    }

    /// Why a message may not be sent, if it may not.
    pub fn refusal(
        &self,
        subject: RefusalSubject<'_>,
        message: MessageTraits<'_>,
    ) -> Option<String> {
        self.of(subject).find_map(|person| person.refusal(message))
    }

    /// Until when a message of a product, or of none, must wait for quiet hours.
    pub fn quiet_until(
        &self,
        subject: RefusalSubject<'_>,
        product: Option<&str>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let people = self.of(subject);
        people
            .filter_map(|person| person.quiet_until(product, now))
            .max()
    }
}
