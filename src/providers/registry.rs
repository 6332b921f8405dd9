//! The providers there are: the only place that lists them.

use std::sync::Arc;

use super::{KnownError, Provider, Receiver, TemplateFormat, meta};
use crate::domain::channel::Channel;

/// The providers that this program knows. Adding one: implement [`Provider`] in a folder of its
/// own, and name it in [`Registry::standard`].
#[derive(Clone, Debug)]
pub struct Registry(Vec<Arc<dyn Provider>>);

impl Default for Registry {
    fn default() -> Self {
        Self::standard()
    }
}

impl Registry {
    /// Those that Herald comes with. The first is the one of senders whose kind is not said.
    pub fn standard() -> Self {
        Self(vec![Arc::new(meta::MetaProvider)])
    }

    /// Adds a provider.
    #[must_use]
    pub fn with(mut self, provider: Arc<dyn Provider>) -> Self {
        self.0.push(provider);
        self
    }

    /// The provider of a kind, as senders are stored with it.
    pub fn find(&self, kind: &str) -> Option<&Arc<dyn Provider>> {
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
    pub fn serves(&self, channel: Channel) -> bool {
        self.0.iter().any(|provider| provider.channel() == channel)
    }

    /// Who takes the callbacks of an endpoint: `POST /webhooks/{endpoint}`.
    pub fn receiver(&self, endpoint: &str) -> Option<&dyn Receiver> {
        self.0
            .iter()
            .filter_map(|provider| provider.receiver())
            .find(|receiver| receiver.endpoint() == endpoint)
    }

    /// How templates are written for the first provider that reviews them.
    pub fn template_format(&self) -> Option<&dyn TemplateFormat> {
        self.0
            .iter()
            .find_map(|provider| provider.template_format())
    }

    /// What an error code of any provider means.
    pub fn known_error(&self, code: i64) -> Option<&'static KnownError> {
        self.0
            .iter()
            .find_map(|provider| provider.known_error(code))
    }
}
