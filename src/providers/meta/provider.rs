//! What Meta's Cloud API is able to do, and where each part of it stands.

use std::sync::Arc;

use secrecy::SecretString;

use super::{
    callback, client::MetaClient, directory::MetaTemplateDirectory, errors,
    inspect::MetaQueryClient, sender_fields, signature,
};
use crate::{
    domain::{
        channel::{MessageChannel, ProviderCapabilities},
        field_error::FieldError,
        time::Timestamp,
    },
    providers::{
        CallbackProof, HttpClient, KnownProviderError, MessageSender, MessagingProvider,
        ParsedCallback, ProviderCallbackReceiver, ProviderDiagnosis, ProviderTemplateFormat,
        RemoteTemplateDirectory, SenderConnectionSettings, SenderFields, UnknownOutcomeResolution,
        WebhookHandshake,
    },
};

/// The word for this provider in rows, and the last part of its webhook's path.
const KIND: &str = "meta";

/// Meta's WhatsApp Business Cloud API.
#[derive(Clone, Copy, Debug)]
pub struct MetaProvider;

impl MessagingProvider for MetaProvider {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn channel(&self) -> MessageChannel {
        MessageChannel::WhatsApp
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities {
            reviewed_templates: true,
            service_window: true,
            pair_limit: true,
            read_receipts: true,
            subject_and_html: false,
            files_and_buttons: true,
            opt_out_words: true,
        }
    }

    /// `biz_opaque_callback_data` comes back in every status (Meta, "Webhooks: messages").
    fn unknown_outcome(&self) -> UnknownOutcomeResolution {
        UnknownOutcomeResolution::ByOurId
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
        Arc::new(MetaClient::new(
            http.clone(),
            connection.setting(sender_fields::API_BASE),
            connection.setting(sender_fields::API_VERSION),
            &connection.endpoint_id,
            connection.token.clone(),
        ))
    }

    fn receiver(&self) -> Option<&dyn ProviderCallbackReceiver> {
        Some(self)
    }

    fn template_format(&self) -> Option<&dyn ProviderTemplateFormat> {
        Some(self)
    }

    fn templates(
        &self,
        http: &HttpClient,
        connection: &SenderConnectionSettings,
    ) -> Option<Box<dyn RemoteTemplateDirectory>> {
        Some(Box::new(MetaTemplateDirectory {
            inspector: MetaQueryClient::of(http, connection),
            account_id: connection.account_id.clone()?,
        }))
    }

    fn diagnose(&self) -> Option<&dyn ProviderDiagnosis> {
        Some(self)
    }

    fn known_error(&self, code: i64) -> Option<&'static KnownProviderError> {
        errors::known(code)
    }
}

impl ProviderCallbackReceiver for MetaProvider {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn endpoint(&self) -> &'static str {
        KIND
    }

    fn is_well_formed(&self, proof: &CallbackProof<'_>) -> bool {
        signature::is_well_formed(proof.header(signature::HEADER))
    }

    fn fitting(
        &self,
        secrets: &[&SecretString],
        proof: &CallbackProof<'_>,
        body: &[u8],
    ) -> Vec<usize> {
        let header = proof.header(signature::HEADER);
        signature::fitting(secrets.iter().copied(), header, body)
    }

    /// Meta, "Create a webhook endpoint".
    fn handshake(&self, query: &[(String, String)]) -> Option<WebhookHandshake> {
        let value = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name);
            let (_, value) = values.next()?;
            values.next().is_none().then(|| value.clone())
        };
        if value("hub.mode")? != "subscribe" {
            return None;
        }
        Some(WebhookHandshake {
            token: value("hub.verify_token")?,
            challenge: value("hub.challenge")?,
        })
    }

    fn is_urgent(&self, body: &[u8]) -> bool {
        callback::is_urgent(body)
    }

    fn parse(&self, body: &[u8], received_at: Timestamp) -> ParsedCallback {
        callback::parse(body, received_at)
    }
}
