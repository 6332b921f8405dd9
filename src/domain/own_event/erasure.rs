//! What is left of an event of Herald's own when a person is deleted whom it is about.

use serde_json::Value;

use super::HeraldEventType;

/// The types that carry what a person is called, or what the person wrote.
const PERSONAL_TYPES: [HeraldEventType; 3] = [
    HeraldEventType::MessageReceived,
    HeraldEventType::WindowClosed,
    HeraldEventType::WindowClosing,
];

/// The members of their data that have it. Each may be null.
const PERSONAL_FIELDS: [&str; 5] = ["name", "phone", "handle", "text", "payload"];

/// The data of an event without what a person is called and wrote. None if events of this type have
/// nothing of that kind, or nothing is left of it.
pub fn without_person(event_type: &str, data: &Value) -> Option<Value> {
    if !PERSONAL_TYPES.iter().any(|it| it.name() == event_type) {
        return None;
    }
    let mut left = data.clone();
    let fields = left.as_object_mut()?;
    for name in PERSONAL_FIELDS {
        if let Some(value) = fields.get_mut(name) {
            *value = Value::Null;
        }
    }
    (left != *data).then_some(left)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::without_person;
    use crate::domain::own_event::{
        HeraldEventType,
        payload::{MessageReceivedData, ServiceWindowEndData},
    };

    #[test]
    fn names_and_texts_go_and_the_rest_stays_readable() {
        let example = HeraldEventType::MessageReceived.examples().remove(0);
        let left = without_person(&example.type_name(), &example.data()).unwrap();
        let message: MessageReceivedData = serde_json::from_value(left.clone()).unwrap();
        let gone = (message.name, message.phone, message.text, message.payload);
        assert_eq!(gone, (None, None, None, None));
        assert_eq!(left["message"], example.data()["message"]);
        assert_eq!(left["contact"], example.data()["contact"]);
        // There is nothing more to be erased.
        assert_eq!(without_person(&example.type_name(), &left), None);
        for kind in [
            HeraldEventType::WindowClosed,
            HeraldEventType::WindowClosing,
        ] {
            let example = kind.examples().remove(0);
            let left = without_person(&example.type_name(), &example.data()).unwrap();
            let window: ServiceWindowEndData = serde_json::from_value(left).unwrap();
            assert_eq!(
                (window.name, window.phone, window.handle),
                (None, None, None)
            );
        }
    }

    #[test]
    fn events_that_name_people_by_their_ids_only_stay_as_they_are() {
        for kind in [
            HeraldEventType::ContactOptedOut,
            HeraldEventType::NotificationRead,
            HeraldEventType::AccountChanged,
        ] {
            for example in kind.examples() {
                assert_eq!(without_person(&example.type_name(), &example.data()), None);
            }
        }
        assert_eq!(
            without_person("herald.message.received", &Value::Null),
            None
        );
        assert_eq!(
            without_person("shop.order.placed", &json!({"phone": "+12025550101"})),
            None
        );
    }
}
