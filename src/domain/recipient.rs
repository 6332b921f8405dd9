//! Parses recipients as routes, rules and requests write them.

use uuid::Uuid;

use super::{
    email::{EmailAddress, EmailParseError},
    phone::{Phone, PhoneParseError},
};

/// One entry of a `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecipientSpec {
    /// The recipient of the notification that a rule reacts to.
    Same,
    User(String),
    Group(String),
    Contact(String),
    Phone(Phone),
    /// A person whose number is unknown.
    UserId(WhatsAppUserId),
    /// A mailbox.
    Email(EmailAddress),
}

/// Why an entry is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientParseError {
    #[error(
        "a recipient is a phone number in E.164, an e-mail address, user:NAME, group:NAME, contact:NAME or a user id of WhatsApp"
    )]
    Empty,
    #[error("{0}: needs a name after the colon")]
    NoName(&'static str),
    #[error(transparent)]
    Phone(#[from] PhoneParseError),
    #[error(transparent)]
    Email(#[from] EmailParseError),
}

/// Splits an entry: `groups:A,B` is two groups, so that a setting or an event may name several. An
/// expression stays as it is until it is evaluated.
pub fn each(entry: &str) -> Vec<String> {
    match entry.strip_prefix("groups:") {
        Some(names) if !names.contains('{') => names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| format!("group:{name}"))
            .collect(),
        _ => vec![entry.to_owned()],
    }
}

/// Whether an entry can be evaluated only with its event.
pub fn is_expression(entry: &str) -> bool {
    entry.contains("{{") || entry.contains("{%")
}

impl RecipientSpec {
    /// Whether two entries mean the same recipient: an id has several spellings.
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        let id = |spec: &Self| match spec {
            Self::Contact(name) => Uuid::parse_str(name).ok(),
            _ => None,
        };
        self == other || (id(self).is_some() && id(self) == id(other))
    }

    /// Whether it names members of staff.
    pub const fn is_staff(&self) -> bool {
        matches!(self, Self::User(_) | Self::Group(_))
    }

    pub fn parse(text: &str) -> Result<Self, RecipientParseError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RecipientParseError::Empty);
        }
        if text == "same" {
            return Ok(Self::Same);
        }
        let named = |kind: &'static str, name: &str| {
            let name = name.trim();
            if name.is_empty() {
                Err(RecipientParseError::NoName(kind))
            } else {
                Ok(name.to_owned())
            }
        };
        match text.split_once(':') {
            Some(("user", name)) => named("user", name).map(Self::User),
            Some(("group", name)) => named("group", name).map(Self::Group),
            Some(("contact", name)) => named("contact", name).map(Self::Contact),
            _ if text.contains('@') => Ok(Self::Email(EmailAddress::parse(text)?)),
            _ => match WhatsAppUserId::parse(text) {
                Some(user_id) => Ok(Self::UserId(user_id)),
                None => Ok(Self::Phone(Phone::parse(text)?)),
            },
        }
    }
}

/// A business-scoped user id: `US.13491208655302741918`, or `US.ENT.…` for
/// several linked businesses (Meta, "Business-scoped user IDs").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WhatsAppUserId(String);

impl WhatsAppUserId {
    /// Parses a user id; `None` if it does not look like one.
    pub fn parse(text: &str) -> Option<Self> {
        let (country, rest) = text.split_once('.')?;
        let id = rest.strip_prefix("ENT.").unwrap_or(rest);
        let reads = country.len() == 2
            && country.bytes().all(|byte| byte.is_ascii_uppercase())
            && (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        reads.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it belongs to several linked businesses.
    pub fn is_of_parent(&self) -> bool {
        self.0
            .get(2..)
            .is_some_and(|rest| rest.starts_with(".ENT."))
    }
}

/// The address of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAddress {
    Phone(Phone),
    UserId(WhatsAppUserId),
    Email(EmailAddress),
}

impl MessageAddress {
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('@') {
            return EmailAddress::parse(text).ok().map(Self::Email);
        }
        match WhatsAppUserId::parse(text) {
            Some(user_id) => Some(Self::UserId(user_id)),
            None => Phone::parse(text).ok().map(Self::Phone),
        }
    }

    /// As messages are stored with it.
    pub fn text(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.e164(),
            Self::UserId(user_id) => user_id.as_str(),
            Self::Email(address) => address.as_str(),
        }
    }
}

/// Whether a recipient, as notifications name it, is a member of staff.
pub fn is_staff(recipient: &str) -> bool {
    recipient.starts_with("user:")
}

#[cfg(test)]
mod tests {
    use super::{MessageAddress, RecipientParseError, RecipientSpec, WhatsAppUserId};

    #[test]
    fn a_user_id_is_told_from_a_number_and_a_name() {
        assert!(matches!(
            RecipientSpec::parse("US.13491208655302741918"),
            Ok(RecipientSpec::UserId(_))
        ));
        assert!(
            WhatsAppUserId::parse("US.ENT.13491208655302741918")
                .unwrap()
                .is_of_parent()
        );
        for wrong in [
            "US.",
            "us.12",
            "USA.12",
            "US.12-3",
            "US",
            &format!("US.{}", "1".repeat(129)),
        ] {
            assert_eq!(WhatsAppUserId::parse(wrong), None, "{wrong}");
        }
        assert!(matches!(
            MessageAddress::parse("+12025550123"),
            Some(MessageAddress::Phone(_))
        ));
        assert!(matches!(
            MessageAddress::parse("asha@example.com"),
            Some(MessageAddress::Email(_))
        ));
        assert_eq!(MessageAddress::parse("nobody"), None);
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(
            RecipientSpec::parse("group:Technical Admin"),
            Ok(RecipientSpec::Group("Technical Admin".to_owned()))
        );
        assert_eq!(RecipientSpec::parse(" same "), Ok(RecipientSpec::Same));
        assert!(matches!(
            RecipientSpec::parse("+12025550123"),
            Ok(RecipientSpec::Phone(_))
        ));
        assert_eq!(
            RecipientSpec::parse("user: "),
            Err(RecipientParseError::NoName("user"))
        );
        assert_eq!(RecipientSpec::parse(""), Err(RecipientParseError::Empty));
        assert!(matches!(
            RecipientSpec::parse("Technical Admin"),
            Err(RecipientParseError::Phone(_))
        ));
    }
}
