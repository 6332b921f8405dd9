//! The providers there are: the only place that lists them.

use std::sync::Arc;

use super::{
    KnownProviderError, MessagingProvider, ProviderCallbackReceiver, ProviderTemplateFormat, meta,
    myoperator, smtp,
};
use crate::domain::channel::MessageChannel;

/// The providers that this program knows. Adding one: implement [`MessagingProvider`] in a folder of its
/// own, and name it in [`ProviderRegistry::standard`].
#[derive(Clone, Debug)]
pub struct ProviderRegistry(Vec<Arc<dyn MessagingProvider>>);

impl Default for ProviderRegistry {
    fn default() -> Self {
        Self::standard()
    }
}

impl ProviderRegistry {
    /// Those that Herald comes with. The first is the one of senders whose kind is not said.
    pub fn standard() -> Self {
        Self(vec![
            Arc::new(meta::MetaProvider),
            Arc::new(myoperator::MyOperatorProvider),
            Arc::new(smtp::SmtpProvider),
        ])
    }

    /// Adds a provider.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn MessagingProvider>) -> Self {
        self.0.push(provider);
        self
    }

    /// The provider of a kind, as senders are stored with it.
    pub fn find(&self, kind: &str) -> Option<&Arc<dyn MessagingProvider>> {
        self.0.iter().find(|provider| provider.kind() == kind)
    }

    /// The kind of a sender that says none.
    pub fn default_kind(&self) -> &'static str {
        self.0.first().map_or("", |provider| provider.kind())
    }

    /// The kinds there are.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.0.iter().map(|provider| provider.kind()).collect()
    }

    /// Whether any provider serves a channel.
    pub fn serves(&self, channel: MessageChannel) -> bool {
        self.0.iter().any(|provider| provider.channel() == channel)
    }

    /// Who takes the callbacks of an endpoint: `POST /webhooks/{endpoint}`.
    pub fn receiver(&self, endpoint: &str) -> Option<&dyn ProviderCallbackReceiver> {
        self.0
            .iter()
            .filter_map(|provider| provider.receiver())
            .find(|receiver| receiver.endpoint() == endpoint)
    }

    /// How templates are written for the first provider that reviews them.
    pub fn template_format(&self) -> Option<&dyn ProviderTemplateFormat> {
        self.0
            .iter()
            .find_map(|provider| provider.template_format())
    }

    /// What an error code of any provider means.
    pub fn known_error(&self, code: i64) -> Option<&'static KnownProviderError> {
        self.0
            .iter()
            .find_map(|provider| provider.known_error(code))
    }
}
