//! Rules, templates and message kinds of all catalogues, cached in memory until one changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::template_layout::layout;
use crate::{
    domain::{
        access::AccessBounds, bounded_map::BoundedMap, language::nearest,
        template::layout::TemplateLayout, transition::NotificationTransition,
    },
    engine::Engine,
    store::{
        ConnectionTrait, StoreError,
        catalogue::{self, StoredRule},
        preferences,
    },
};

/// Most templates cached, each with all its translations.
const MOST_TEMPLATES: usize = 1000;

/// A parsed template.
#[derive(Debug)]
pub struct CachedTemplate {
    pub row: entity::template::Model,
    /// The layout, or why it cannot be parsed.
    pub layout: Result<TemplateLayout, String>,
}

/// A kind of message.
#[derive(Debug)]
struct CachedMessageKind {
    /// Recipients cannot turn it off.
    required: bool,
    catalogue: Option<String>,
}

/// The catalogues as of one revision.
#[derive(Debug, Default)]
pub struct CatalogueSnapshot {
    revision: i64,
    by_trigger: BTreeMap<NotificationTransition, Vec<StoredRule>>,
    /// Types of events whose data are secret.
    sensitive_events: BTreeSet<String>,
    message_kinds: BTreeMap<String, CachedMessageKind>,
    /// Templates used so far, in all their languages.
    templates: Mutex<BoundedMap<String, Arc<[Arc<CachedTemplate>]>, MOST_TEMPLATES>>,
}

impl CatalogueSnapshot {
    /// Whether the data of this event type are secret.
    pub fn is_sensitive(&self, event_type: &str) -> bool {
        self.sensitive_events.contains(event_type)
    }

    /// Whether this kind of message exists in the caller's catalogue.
    pub fn knows_kind(&self, bounds: &AccessBounds, kind: &str) -> bool {
        self.message_kinds
            .get(kind)
            .is_some_and(|kind| bounds.has_catalogue(kind.catalogue.as_deref()))
    }

    /// Whether a kind of message cannot be turned off.
    pub fn is_required(&self, kind: Option<&str>) -> bool {
        kind.and_then(|kind| self.message_kinds.get(kind))
            .is_some_and(|kind| kind.required)
    }

    /// The rules of a trigger.
    pub fn on(&self, trigger: NotificationTransition) -> &[StoredRule] {
        self.by_trigger.get(&trigger).map_or(&[], Vec::as_slice)
    }

    /// A template by name, in the best match for the wanted languages.
    pub async fn template(
        &self,
        connection: &impl ConnectionTrait,
        name: &str,
        wanted: &[&str],
    ) -> Result<Option<Arc<CachedTemplate>>, StoreError> {
        let all = self.translations(connection, name).await?;
        let languages: Vec<&str> = all.iter().map(|it| it.row.language.as_str()).collect();
        Ok(nearest(wanted, &languages).and_then(|place| all.get(place).cloned()))
    }

    async fn translations(
        &self,
        connection: &impl ConnectionTrait,
        name: &str,
    ) -> Result<Arc<[Arc<CachedTemplate>]>, StoreError> {
        {
            let known = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(all) = known.get(name) {
                return Ok(Arc::clone(all));
            }
        }
        let rows = catalogue::translations(connection, name).await?;
        let all: Arc<[Arc<CachedTemplate>]> = rows
            .into_iter()
            .map(|row| {
                let layout = layout(&row);
                Arc::new(CachedTemplate { row, layout })
            })
            .collect();
        // Callers choose the names: a name that does not exist is not cached.
        if !all.is_empty() {
            let mut known = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.insert_all(std::iter::once((name.to_owned(), Arc::clone(&all))));
        }
        Ok(all)
    }

    /// Number of cached templates.
    pub fn templates_kept(&self) -> usize {
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

impl Engine {
    /// The current snapshot; read again only when a catalogue has changed.
    pub async fn catalogue_snapshot(
        &self,
        connection: &impl ConnectionTrait,
    ) -> Result<Arc<CatalogueSnapshot>, StoreError> {
        let revision = catalogue::revision(connection).await?;
        {
            let kept = self
                .catalogue_snapshot
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            if kept.revision == revision {
                return Ok(Arc::clone(&kept));
            }
        }
        let mut by_trigger: BTreeMap<NotificationTransition, Vec<StoredRule>> = BTreeMap::new();
        for rule in catalogue::rules(connection).await? {
            if rule.active {
                by_trigger.entry(rule.rule.on).or_default().push(rule);
            }
        }
        let fresh = Arc::new(CatalogueSnapshot {
            revision,
            by_trigger,
            message_kinds: preferences::kinds(connection, &AccessBounds::All)
                .await?
                .into_iter()
                .map(|kind| {
                    let (required, catalogue) = (kind.required, kind.catalogue);
                    let it = CachedMessageKind {
                        required,
                        catalogue,
                    };
                    (kind.name, it)
                })
                .collect(),
            sensitive_events: catalogue::sensitive_events(connection).await?,
            templates: Mutex::default(),
        });
        *self
            .catalogue_snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }
}
