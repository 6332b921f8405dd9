//! A provider that keeps state: tests ask it, and tell it what to answer.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use herald::{
    domain::{outcome::ProviderCallOutcome, recipient::MessageAddress},
    providers::{
        InboundMessageAccess, MessageSender, OutgoingMessage, ProviderExchange, ProviderQueryError,
        meta::{client, request},
    },
};
use serde_json::Value;

/// Meta, as far as the engine can see it.
#[derive(Clone, Debug, Default)]
pub struct FakeMeta {
    pub requests: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    count: Arc<AtomicU64>,
    marked: Arc<Mutex<Vec<String>>>,
    out_of_reach: Arc<AtomicBool>,
    dead: Arc<AtomicBool>,
}

impl FakeMeta {
    /// The next answers, as HTTP status and body; status 0 means no connection,
    /// 1 means that the answer is lost. Afterwards everything is accepted.
    pub fn will_answer(&self, answers: &[(u16, &str)]) {
        self.answers.lock().unwrap().extend(
            answers
                .iter()
                .map(|(status, body)| (*status, (*body).to_owned())),
        );
    }

    /// Answers that were not used are none any more.
    pub fn forget_answers(&self) {
        self.answers.lock().unwrap().clear();
    }

    /// Whether every call finds nobody or is never answered, by turns.
    pub fn is_dead(&self, dead: bool) {
        self.dead.store(dead, Ordering::SeqCst);
    }

    /// Whether anything but a message can be asked for.
    pub fn cannot_be_reached(&self, out_of_reach: bool) {
        self.out_of_reach.store(out_of_reach, Ordering::SeqCst);
    }

    /// The messages that were marked as read.
    pub fn marked(&self) -> Vec<String> {
        self.marked.lock().unwrap().clone()
    }

    pub fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The request that was made as number `index`.
    pub fn request(&self, index: usize) -> Value {
        self.requests.lock().unwrap()[index].clone()
    }
}

#[async_trait]
impl MessageSender for FakeMeta {
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange {
        let request = request::request_body(message);
        self.requests.lock().unwrap().push(request.clone());
        let next = self.answers.lock().unwrap().pop_front();
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let next = if self.dead.load(Ordering::SeqCst) {
            Some((u16::try_from(number % 2).unwrap(), String::new()))
        } else {
            next
        };
        let (http_status, answer, outcome) = match next {
            Some((0, _)) => (
                None,
                None,
                ProviderCallOutcome::Unavailable {
                    reason: "no connection to the provider".to_owned(),
                },
            ),
            Some((1, _)) => (
                None,
                None,
                ProviderCallOutcome::Unknown {
                    reason: "the provider did not answer in time".to_owned(),
                },
            ),
            Some((status, body)) => (
                Some(status),
                Some(body.clone()),
                client::judge(status, body.as_bytes()),
            ),
            None => {
                let contact = match &message.to {
                    MessageAddress::Phone(phone) => {
                        format!(r#"{{"wa_id":"{}"}}"#, phone.e164().trim_start_matches('+'))
                    }
                    MessageAddress::UserId(user_id) => {
                        format!(r#"{{"user_id":"{}"}}"#, user_id.as_str())
                    }
                    // This provider has no mailboxes.
                    MessageAddress::Email(_) => "{}".to_owned(),
                };
                let body = format!(
                    r#"{{"contacts":[{contact}],"messages":[{{"id":"wamid.FAKE{number}"}}]}}"#
                );
                (
                    Some(200),
                    Some(body.clone()),
                    client::judge(200, body.as_bytes()),
                )
            }
        };
        ProviderExchange {
            request: request::redacted(message),
            http_status,
            answer,
            outcome,
        }
    }

    async fn is_reachable(&self) -> bool {
        !self.dead.load(Ordering::SeqCst)
    }

    fn inbox(&self) -> Option<&dyn InboundMessageAccess> {
        Some(self)
    }
}

#[async_trait]
impl InboundMessageAccess for FakeMeta {
    async fn mark_read(&self, provider_message_id: &str) -> Result<(), ProviderQueryError> {
        if self.out_of_reach.load(Ordering::SeqCst) {
            return Err(ProviderQueryError::Unreachable);
        }
        self.marked
            .lock()
            .unwrap()
            .push(provider_message_id.to_owned());
        Ok(())
    }
}
