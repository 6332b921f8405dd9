//! Which of Herald's own events are the same.

use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::HeraldEvent;
use crate::domain::{alarm::AlarmKind, time::Timestamp};

/// What an event is about, as far as it decides whether two of them are the same: an event whose
/// [`EventDeduplicationKey::id`] is known is not raised again.
#[derive(Clone, Copy, Debug)]
pub enum EventDeduplicationKey<'a> {
    /// A sender is held or released from this instant.
    Sender { sender: Uuid, at: Timestamp },
    /// Once for each credential.
    Credential(Uuid),
    /// Once for each time that callbacks stopped coming.
    Silence {
        sender: Uuid,
        since: Option<Timestamp>,
    },
    /// Once for each window.
    Window {
        sender: Uuid,
        contact: Uuid,
        until: Timestamp,
    },
    /// The account was asked at this instant, and a template was found changed.
    Template {
        account: &'a str,
        template: &'a str,
        language: &'a str,
        value: &'a str,
        at: Timestamp,
    },
    /// An alarm is raised or cleared at this instant.
    Alarm {
        kind: AlarmKind,
        subject: &'a str,
        at: Timestamp,
    },
    /// An item of a callback: the same content of the same instant is the same, whatever body it
    /// came in.
    Item {
        account: Option<&'a str>,
        at: Option<Timestamp>,
    },
}

impl EventDeduplicationKey<'_> {
    /// The id of an event with this occurrence, unique among Herald's own.
    pub fn id(&self, event: &HeraldEvent) -> String {
        let name = event.type_name();
        let word = name.rsplit('.').next().unwrap_or_default();
        match self {
            Self::Sender { sender, at } => format!("{name}/{sender}/{}", at.micros()),
            Self::Credential(id) => format!("credential/{word}/{id}"),
            Self::Silence { sender, since } => {
                let since = since.map_or(0, Timestamp::micros);
                format!("silence/{sender}/{since}")
            }
            Self::Window {
                sender,
                contact,
                until,
            } => format!("window/{sender}/{contact}/{}/{word}", until.unix_seconds()),
            Self::Template {
                account,
                template,
                language,
                value,
                at,
            } => format!(
                "template/{account}/{template}/{language}/{name}/{value}/{}",
                at.micros()
            ),
            Self::Alarm { kind, subject, at } => {
                format!("alarm/{word}/{kind}/{subject}/{}", at.micros())
            }
            Self::Item { account, at } => {
                let content = json!([name, account, at.map(Timestamp::micros), event.data()]);
                hex::encode(Sha256::digest(content.to_string().as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::EventDeduplicationKey;
    use crate::domain::{alarm::AlarmKind, own_event::HeraldEventType, time::Timestamp};

    #[test]
    fn ids_are_those_of_the_events_that_were_raised_before() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let at = Timestamp::from_unix_seconds(1_767_225_600);
        let id = |kind: HeraldEventType, occurrence: &EventDeduplicationKey<'_>| {
            occurrence.id(kind.examples().first().unwrap())
        };
        let ids = [
            id(
                HeraldEventType::SenderHeld,
                &EventDeduplicationKey::Sender { sender: one, at },
            ),
            id(
                HeraldEventType::CredentialOld,
                &EventDeduplicationKey::Credential(one),
            ),
            id(
                HeraldEventType::SenderSilent,
                &EventDeduplicationKey::Silence {
                    sender: one,
                    since: None,
                },
            ),
            id(
                HeraldEventType::WindowClosing,
                &EventDeduplicationKey::Window {
                    sender: one,
                    contact: two,
                    until: at,
                },
            ),
            id(
                HeraldEventType::TemplateStatus,
                &EventDeduplicationKey::Template {
                    account: "1",
                    template: "news",
                    language: "en_US",
                    value: "PAUSED",
                    at,
                },
            ),
            id(
                HeraldEventType::AlarmRaised,
                &EventDeduplicationKey::Alarm {
                    kind: AlarmKind::Silence,
                    subject: "shop",
                    at,
                },
            ),
        ];
        assert_eq!(
            ids,
            [
                "herald.sender.held/00000000-0000-0000-0000-000000000001/1767225600000000",
                "credential/old/00000000-0000-0000-0000-000000000001",
                "silence/00000000-0000-0000-0000-000000000001/0",
                "window/00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-000000000002/1767225600/closing",
                "template/1/news/en_US/herald.template.paused/PAUSED/1767225600000000",
                "alarm/raised/silence/shop/1767225600000000",
            ]
        );
    }

    #[test]
    fn the_id_of_an_item_is_its_content() {
        let kind = HeraldEventType::ContactOptedOut;
        let occurrence = EventDeduplicationKey::Item {
            account: None,
            at: Some(Timestamp::from_unix_seconds(1_767_225_600)),
        };
        assert_eq!(
            occurrence.id(kind.examples().first().unwrap()),
            "e04c20c6c4c985e5e3fb67971f3116e2da8813dd565529b087e93be1f97516e1"
        );
    }
}
