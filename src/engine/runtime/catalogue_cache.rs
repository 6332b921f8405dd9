//! Rules, templates and message kinds of all catalogues, cached in memory until one changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::template_layout::layout;
use crate::{
    domain::{
        access::Bounds,
        language::nearest,
        template::layout::Layout,
        trigger::{Trigger, Triggers},
    },
    engine::Engine,
    store::{
        ConnectionTrait, StoreError,
        catalogue::{self, StoredRule},
        wish,
    },
};

/// No more templates are kept, with all their translations.
const MOST_TEMPLATES: usize = 1000;

/// A template, taken apart.
#[derive(Debug)]
pub struct Template {
    pub row: entity::template::Model,
    /// Or what is wrong with it, in words.
    pub layout: Result<Layout, String>,
}

/// A kind of message.
#[derive(Debug)]
struct Kind {
    /// It cannot be turned off.
    required: bool,
    catalogue: Option<String>,
}

/// What is in force as of one revision of the catalogues.
#[derive(Debug, Default)]
pub struct CatalogueSnapshot {
    revision: i64,
    by_trigger: BTreeMap<Trigger, Vec<StoredRule>>,
    /// What any version of any rule names as its `unless`.
    unless_ever: Triggers,
    /// Types of events whose data are secret.
    sensitive_events: BTreeSet<String>,
    message_kinds: BTreeMap<String, Kind>,
    /// Templates that were asked for, in all their languages.
    templates: Mutex<HashMap<String, Arc<[Arc<Template>]>>>,
}

impl CatalogueSnapshot {
    /// Whether a pending follow-up may be waiting for one of these not to come.
    pub const fn may_cancel(&self, reached: Triggers) -> bool {
        !self.unless_ever.intersection(reached).is_empty()
    }

    /// Whether the data of such events are secret.
    pub fn is_sensitive(&self, event_type: &str) -> bool {
        self.sensitive_events.contains(event_type)
    }

    /// Whether there is such a kind of message, of the caller's catalogue.
    pub fn knows_kind(&self, bounds: &Bounds, kind: &str) -> bool {
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
    pub fn on(&self, trigger: Trigger) -> &[StoredRule] {
        self.by_trigger.get(&trigger).map_or(&[], Vec::as_slice)
    }

    /// A template of a name, in the language that is nearest to those that are wanted.
    pub async fn template(
        &self,
        connection: &impl ConnectionTrait,
        name: &str,
        wanted: &[&str],
    ) -> Result<Option<Arc<Template>>, StoreError> {
        let all = self.translations(connection, name).await?;
        let languages: Vec<&str> = all.iter().map(|it| it.row.language.as_str()).collect();
        Ok(nearest(wanted, &languages).and_then(|place| all.get(place).cloned()))
    }

    async fn translations(
        &self,
        connection: &impl ConnectionTrait,
        name: &str,
    ) -> Result<Arc<[Arc<Template>]>, StoreError> {
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
        let all: Arc<[Arc<Template>]> = rows
            .into_iter()
            .map(|row| {
                let layout = layout(&row);
                Arc::new(Template { row, layout })
            })
            .collect();
        // Names that people ask for are theirs to choose: what is not there is not kept.
        if !all.is_empty() {
            let mut known = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_TEMPLATES {
                known.clear();
            }
            known.insert(name.to_owned(), Arc::clone(&all));
        }
        Ok(all)
    }

    /// How many templates are kept.
    pub fn templates_kept(&self) -> usize {
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

impl Engine {
    /// What is in force; read again only when a catalogue has changed.
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
        let mut by_trigger: BTreeMap<Trigger, Vec<StoredRule>> = BTreeMap::new();
        let mut unless_ever = Triggers::NONE;
        for rule in catalogue::rules(connection).await? {
            unless_ever = unless_ever.union(rule.rule.unless);
            if rule.active {
                by_trigger.entry(rule.rule.on).or_default().push(rule);
            }
        }
        let fresh = Arc::new(CatalogueSnapshot {
            revision,
            by_trigger,
            unless_ever,
            message_kinds: wish::kinds(connection, &Bounds::All)
                .await?
                .into_iter()
                .map(|kind| {
                    let (required, catalogue) = (kind.required, kind.catalogue);
                    let it = Kind {
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
