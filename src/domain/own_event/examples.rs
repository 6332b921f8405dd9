//! An example of each of Herald's own events, as documents and the API show them.

use serde_json::json;
use uuid::Uuid;

use super::{
    HeraldEvent, HeraldEventType,
    payload::{
        AccountUpdateData, AlarmChangeData, ContactConsentData, CredentialRenewalData,
        MessageReceivedData, NotificationChangeData, NotificationFailureData, SenderHealthData,
        SenderHoldChangeData, SenderSilenceData, ServiceWindowEndData, TemplateUpdateData,
    },
};
use crate::domain::{
    alarm::AlarmKind, template_status::TemplateStatus, transition::NotificationTransition,
};

const CONTACT: Uuid = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0001);
const NOTIFICATION: Uuid = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0002);
const SENDER: Uuid = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0004);
const CREDENTIAL: Uuid = Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0003);
const ACCOUNT: &str = "102290129340398";

impl HeraldEventType {
    /// One event for each form that its payload has.
    pub fn examples(self) -> Vec<HeraldEvent> {
        match self {
            Self::AccountChanged => vec![HeraldEvent::AccountChanged {
                property: "quality".to_owned(),
                data: quality(),
            }],
            Self::AlarmCleared => vec![HeraldEvent::AlarmCleared(alarm(
                "1 of 80 messages failed within an hour",
            ))],
            Self::AlarmRaised => vec![HeraldEvent::AlarmRaised(alarm(
                "12 of 80 messages failed within an hour",
            ))],
            Self::ContactOptedIn => vec![HeraldEvent::ContactOptedIn(choice())],
            Self::ContactOptedOut => vec![HeraldEvent::ContactOptedOut(choice())],
            Self::CredentialExpiring => vec![HeraldEvent::CredentialExpiring(credential(
                Some("2026-02-01T00:00:00.000000Z"),
                "the access token of shop expires at 2026-02-01T00:00:00.000000Z",
            ))],
            Self::CredentialOld => vec![HeraldEvent::CredentialOld(credential(
                None,
                "the access token of shop has been in use since 2025-10-01T00:00:00.000000Z",
            ))],
            Self::MessageReceived => vec![HeraldEvent::MessageReceived(message())],
            Self::NotificationAccepted => vec![notification(NotificationTransition::Accepted)],
            Self::NotificationDelivered => vec![notification(NotificationTransition::Delivered)],
            Self::NotificationExpired => vec![notification(NotificationTransition::Expired)],
            Self::NotificationFailed => vec![notification(NotificationTransition::Failed)],
            Self::NotificationPlayed => vec![notification(NotificationTransition::Played)],
            Self::NotificationRead => vec![notification(NotificationTransition::Read)],
            Self::NotificationReplied => vec![notification(NotificationTransition::Replied)],
            Self::NotificationSent => vec![notification(NotificationTransition::Sent)],
            Self::NotificationSkipped => vec![notification(NotificationTransition::Skipped)],
            Self::NotificationStale => vec![notification(NotificationTransition::Stale)],
            Self::SenderHeld => vec![
                HeraldEvent::SenderHeld(SenderHoldChangeData::Sender(SenderHealthData {
                    sender: "shop".to_owned(),
                    account: Some(ACCOUNT.to_owned()),
                    summary: "the sender shop is held: the access token has expired (code 190)"
                        .to_owned(),
                    remedy: Some("Make a new access token and give it to Herald.".to_owned()),
                })),
                HeraldEvent::SenderHeld(SenderHoldChangeData::Account(account(
                    None,
                    "Meta has disabled the account",
                    json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE" } }),
                ))),
            ],
            Self::SenderReleased => vec![
                HeraldEvent::SenderReleased(SenderHoldChangeData::Sender(SenderHealthData {
                    sender: "shop".to_owned(),
                    account: Some(ACCOUNT.to_owned()),
                    summary: "the sender shop can send again".to_owned(),
                    remedy: None,
                })),
                HeraldEvent::SenderReleased(SenderHoldChangeData::Account(account(
                    None,
                    "the account may send again",
                    json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "REINSTATE" } }),
                ))),
            ],
            Self::SenderSilent => vec![HeraldEvent::SenderSilent(SenderSilenceData {
                sender: "shop".to_owned(),
                since: Some("2026-01-01T00:00:00.000000Z".to_owned()),
                remedy: SenderSilenceData::REMEDY.to_owned(),
            })],
            Self::TemplateCategoryChanged => vec![HeraldEvent::TemplateCategoryChanged(template(
                "the template order_shipped (en_US) is now marketing",
                json!({ "previous_category": "UTILITY", "new_category": "MARKETING" }),
            ))],
            Self::TemplateCategoryDue => vec![HeraldEvent::TemplateCategoryDue(template(
                "the template order_shipped (en_US) will become marketing",
                json!({ "new_category": "UTILITY", "correct_category": "MARKETING" }),
            ))],
            Self::TemplateChanged => vec![HeraldEvent::TemplateChanged(template(
                "the template order_shipped (en_US) was changed",
                json!({ "message_template_element": "Your order {{1}} was shipped." }),
            ))],
            Self::TemplateQuality => vec![HeraldEvent::TemplateQuality(template(
                "the quality of the template order_shipped (en_US) is yellow",
                json!({ "previous_quality_score": "GREEN", "new_quality_score": "YELLOW" }),
            ))],
            Self::TemplateStatus => vec![HeraldEvent::TemplateStatus {
                status: TemplateStatus::Paused,
                data: template(
                    "the template order_shipped (en_US) is paused",
                    json!({ "event": "PAUSED", "other_info": { "title": "FIRST_PAUSE" } }),
                ),
            }],
            Self::WindowClosed => vec![HeraldEvent::WindowClosed(window())],
            Self::WindowClosing => vec![HeraldEvent::WindowClosing(window())],
        }
    }
}

fn account(number: Option<&str>, summary: &str, value: serde_json::Value) -> AccountUpdateData {
    AccountUpdateData {
        account: Some(ACCOUNT.to_owned()),
        number: number.map(str::to_owned),
        summary: summary.to_owned(),
        value,
    }
}

fn quality() -> AccountUpdateData {
    account(
        Some("15550783881"),
        "quality of a number: FLAGGED, limit TIER_1K",
        json!({ "display_phone_number": "15550783881", "event": "FLAGGED", "current_limit": "TIER_1K" }),
    )
}

fn alarm(summary: &str) -> AlarmChangeData {
    AlarmChangeData {
        alarm: AlarmKind::FailureRate,
        subject: String::new(),
        summary: summary.to_owned(),
        meaning: "Many people do not get what was meant for them.".to_owned(),
        remedy: "See which codes they failed with on the Overview.".to_owned(),
    }
}

fn choice() -> ContactConsentData {
    ContactConsentData {
        contact: CONTACT,
        scope: "all".to_owned(),
        source: "word".to_owned(),
    }
}

fn credential(expires_at: Option<&str>, summary: &str) -> CredentialRenewalData {
    CredentialRenewalData {
        senders: vec!["shop".to_owned()],
        kind: "access_token".to_owned(),
        credential: CREDENTIAL,
        expires_at: expires_at.map(str::to_owned),
        summary: summary.to_owned(),
        remedy: CredentialRenewalData::REMEDY.to_owned(),
    }
}

fn message() -> MessageReceivedData {
    MessageReceivedData {
        contact: Some(CONTACT),
        name: Some("Tariro".to_owned()),
        phone: Some("+12025550101".to_owned()),
        kind: "text".to_owned(),
        text: Some("When will it arrive?".to_owned()),
        payload: None,
        group: None,
        notification: Some(NOTIFICATION),
        message: "wamid.HBgLMTIwMjU1NTAxMDEVAgASGBQzQTdCNUJBQTY0".to_owned(),
        sender: Some("shop".to_owned()),
    }
}

fn notification(transition: NotificationTransition) -> HeraldEvent {
    let is_of_attempt = transition.fact().is_some() || transition == NotificationTransition::Failed;
    let failure = NotificationFailureData {
        code: Some(131_026),
        title: "Message undeliverable".to_owned(),
    };
    HeraldEvent::NotificationChanged {
        transition,
        data: NotificationChangeData {
            notification: NOTIFICATION,
            at: "2026-01-01T00:00:02.000000Z".to_owned(),
            generation: 1,
            attempt: is_of_attempt.then_some(1),
            event_type: Some("shop.order.shipped".to_owned()),
            channel: "whatsapp".to_owned(),
            template: Some("order_shipped".to_owned()),
            sender_id: Some(SENDER),
            contact: Some(CONTACT),
            product: Some("shop".to_owned()),
            failure: (transition == NotificationTransition::Failed).then_some(failure),
        },
    }
}

fn template(summary: &str, value: serde_json::Value) -> TemplateUpdateData {
    TemplateUpdateData {
        template: "order_shipped".to_owned(),
        language: "en_US".to_owned(),
        account: Some(ACCOUNT.to_owned()),
        summary: summary.to_owned(),
        value,
    }
}

fn window() -> ServiceWindowEndData {
    ServiceWindowEndData {
        contact: CONTACT,
        name: Some("Tariro".to_owned()),
        phone: Some("+12025550101".to_owned()),
        handle: Some("tariro".to_owned()),
        users: Vec::new(),
        staff: false,
        sender: Some("shop".to_owned()),
        until: "2026-01-02T00:00:00.000000Z".to_owned(),
    }
}
