//! Whom a message is for, as routes, rules and requests write it.

use super::phone::{Phone, PhoneError};

/// One entry of a `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RecipientSpec {
    /// The recipient of the notification a rule is about.
    Same,
    User(String),
    Group(String),
    Contact(String),
    Phone(Phone),
}

/// Why an entry means nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    #[error("a recipient is a phone number in E.164, user:NAME, group:NAME or contact:NAME")]
    Empty,
    #[error("{0}: needs a name after the colon")]
    NoName(&'static str),
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl RecipientSpec {
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RecipientError::Empty);
        }
        if text == "same" {
            return Ok(Self::Same);
        }
        let named = |kind: &'static str, name: &str| {
            let name = name.trim();
            if name.is_empty() {
                Err(RecipientError::NoName(kind))
            } else {
                Ok(name.to_owned())
            }
        };
        match text.split_once(':') {
            Some(("user", name)) => named("user", name).map(Self::User),
            Some(("group", name)) => named("group", name).map(Self::Group),
            Some(("contact", name)) => named("contact", name).map(Self::Contact),
            _ => Ok(Self::Phone(Phone::parse(text)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RecipientError, RecipientSpec};

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
            Err(RecipientError::NoName("user"))
        );
        assert_eq!(RecipientSpec::parse(""), Err(RecipientError::Empty));
        assert!(matches!(
            RecipientSpec::parse("Technical Admin"),
            Err(RecipientError::Phone(_))
        ));
    }
}
