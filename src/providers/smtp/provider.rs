//! What e-mail is able to do, and where each part of it stands.

use std::sync::Arc;

use super::{client::SmtpClient, limits::SmtpLimits, sender_fields};
use crate::{
    domain::{
        channel::{MessageChannel, ProviderCapabilities},
        field_error::FieldError,
    },
    providers::{
        HttpClient, MessageSender, MessagingProvider, ProviderDiagnosis, SenderConnectionSettings,
        SenderFields, UnknownOutcomeResolution,
    },
};

/// A mail server.
#[derive(Clone, Copy, Debug)]
pub struct SmtpProvider;

impl MessagingProvider for SmtpProvider {
    fn kind(&self) -> &'static str {
        "smtp"
    }

    fn channel(&self) -> MessageChannel {
        MessageChannel::Email
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities {
            subject_and_html: true,
            ..ProviderCapabilities::default()
        }
    }

    /// A mail server cannot be asked, and reports nothing.
    fn unknown_outcome(&self) -> UnknownOutcomeResolution {
        UnknownOutcomeResolution::Never
    }

    fn check_sender(&self, fields: SenderFields<'_>) -> Vec<FieldError> {
        sender_fields::check(fields)
    }

    fn endpoint_field(&self) -> &'static str {
        sender_fields::ENDPOINT
    }

    /// A server in the own network may ask for no password.
    fn needs_token(&self) -> bool {
        false
    }

    fn connect(
        &self,
        _http: &HttpClient,
        connection: SenderConnectionSettings,
    ) -> Arc<dyn MessageSender> {
        Arc::new(SmtpClient::new(connection, SmtpLimits::default()))
    }

    fn diagnose(&self) -> Option<&dyn ProviderDiagnosis> {
        Some(self)
    }
}
