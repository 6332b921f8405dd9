//! What MyOperator is able to do, and where each part of it stands.

use std::sync::Arc;

use secrecy::SecretString;

use super::{
    callback, client::MyOperatorClient, directory::MyOperatorTemplateDirectory, secret,
    sender_fields,
};
use crate::{
    domain::{
        channel::{MessageChannel, ProviderCapabilities},
        field_error::FieldError,
        time::Timestamp,
    },
    providers::{
        CallbackProof, HttpClient, MessageSender, MessagingProvider, ParsedCallback,
        ProviderCallbackReceiver, ProviderDiagnosis, RemoteTemplateDirectory,
        SenderConnectionSettings, SenderFields, UnknownOutcomeResolution, WebhookHandshake,
    },
};

/// The word for this provider in rows, and the last part of its webhook's path.
const KIND: &str = "myoperator";

/// MyOperator's public API.
#[derive(Clone, Copy, Debug)]
pub struct MyOperatorProvider;

impl MessagingProvider for MyOperatorProvider {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn channel(&self) -> MessageChannel {
        MessageChannel::WhatsApp
    }

    /// Meta's rules hold behind it: one person may get only so many messages. Whether a service
    /// window is open is left to the provider, as its callbacks may not say that a person wrote.
    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities {
            reviewed_templates: true,
            service_window: false,
            pair_limit: true,
            read_receipts: false,
            subject_and_html: false,
            files_and_buttons: false,
            opt_out_words: true,
        }
    }

    /// `myop_ref_id` was seen to come back empty: nothing may rely on it. A callback that does
    /// carry it resolves the outcome all the same.
    fn unknown_outcome(&self) -> UnknownOutcomeResolution {
        UnknownOutcomeResolution::ByOurIdPerhaps
    }

    fn check_sender(&self, fields: SenderFields<'_>) -> Vec<FieldError> {
        sender_fields::check(fields)
    }

    fn endpoint_field(&self) -> &'static str {
        sender_fields::ENDPOINT
    }

    fn connect(
        &self,
        http: &HttpClient,
        connection: SenderConnectionSettings,
    ) -> Arc<dyn MessageSender> {
        Arc::new(MyOperatorClient::new(http.clone(), connection))
    }

    fn receiver(&self) -> Option<&dyn ProviderCallbackReceiver> {
        Some(self)
    }

    fn templates(
        &self,
        http: &HttpClient,
        connection: &SenderConnectionSettings,
    ) -> Option<Box<dyn RemoteTemplateDirectory>> {
        let client = MyOperatorClient::new(http.clone(), connection.clone());
        Some(Box::new(MyOperatorTemplateDirectory {
            client,
            account_id: connection.account_id.clone()?,
        }))
    }

    fn diagnose(&self) -> Option<&dyn ProviderDiagnosis> {
        Some(self)
    }
}

impl ProviderCallbackReceiver for MyOperatorProvider {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn endpoint(&self) -> &'static str {
        KIND
    }

    fn names_senders(&self) -> bool {
        false
    }

    fn is_well_formed(&self, proof: &CallbackProof<'_>) -> bool {
        !secret::given(proof).is_empty()
    }

    fn fitting(
        &self,
        secrets: &[&SecretString],
        proof: &CallbackProof<'_>,
        _body: &[u8],
    ) -> Vec<usize> {
        secret::fitting(secrets, proof)
    }

    /// There is none.
    fn handshake(&self, _query: &[(String, String)]) -> Option<WebhookHandshake> {
        None
    }

    fn is_urgent(&self, body: &[u8]) -> bool {
        callback::is_urgent(body)
    }

    fn parse(&self, body: &[u8], received_at: Timestamp) -> ParsedCallback {
        callback::parse(body, received_at)
    }
}
