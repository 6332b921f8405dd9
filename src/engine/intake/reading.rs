//! Per-transaction cache of rows that several requests need.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use crate::{
    domain::{access::AccessBounds, phone::Phone, time::Timestamp},
    engine::{
        Engine,
        runtime::catalogue_cache::{CachedTemplate, CatalogueSnapshot},
    },
    store::{
        DatabaseTransaction, StoreError,
        people::{self, RecipientContact},
        sender,
        template_sync::{self, ReportedTemplateState},
    },
};

/// The rows read so far.
#[derive(Debug, Default)]
pub struct IntakeRowCache {
    catalogue_snapshot: Option<Arc<CatalogueSnapshot>>,
    accounts: HashMap<Option<Uuid>, Option<String>>,
    standings: HashMap<(Option<String>, String, String), Option<ReportedTemplateState>>,
    senders: HashMap<String, Option<entity::sender::Model>>,
    people: HashMap<String, RecipientContact>,
    /// At most one entry: the default sender, which may be absent.
    default_senders: Vec<Option<Uuid>>,
}

impl IntakeRowCache {
    /// The rules and templates in force, as of this transaction.
    pub async fn catalogue_snapshot(
        &mut self,
        engine: &Engine,
        tx: &DatabaseTransaction,
    ) -> Result<Arc<CatalogueSnapshot>, StoreError> {
        if let Some(known) = &self.catalogue_snapshot {
            return Ok(Arc::clone(known));
        }
        let found = engine.catalogue_snapshot(tx).await?;
        self.catalogue_snapshot = Some(Arc::clone(&found));
        Ok(found)
    }

    /// A template by name, in the best match for the wanted languages.
    pub async fn template(
        &mut self,
        engine: &Engine,
        tx: &DatabaseTransaction,
        name: &str,
        wanted: &[&str],
    ) -> Result<Option<Arc<CachedTemplate>>, StoreError> {
        let catalogue_snapshot = self.catalogue_snapshot(engine, tx).await?;
        catalogue_snapshot.template(tx, name, wanted).await
    }

    /// The default sender.
    pub async fn default_sender(
        &mut self,
        tx: &DatabaseTransaction,
    ) -> Result<Option<Uuid>, StoreError> {
        if let Some(known) = self.default_senders.first() {
            return Ok(*known);
        }
        let found = sender::default_one(tx).await?.map(|row| row.id);
        self.default_senders.push(found);
        Ok(found)
    }

    /// The sender of a message that names none. For a caller that is bound to senders: the default
    /// if it is one of them, else the first. For other callers `None`: it is chosen at the time of
    /// sending.
    pub async fn own_sender(
        &mut self,
        tx: &DatabaseTransaction,
        bounds: &AccessBounds,
    ) -> Result<Option<Uuid>, StoreError> {
        let Some(first) = bounds.senders().first().copied() else {
            return Ok(None);
        };
        let default = self.default_sender(tx).await?;
        Ok(default.filter(|id| bounds.has_sender(*id)).or(Some(first)))
    }

    /// The account of a sender, or of the default sender.
    pub async fn account(
        &mut self,
        tx: &DatabaseTransaction,
        sender_id: Option<Uuid>,
    ) -> Result<Option<String>, StoreError> {
        if let Some(found) = self.accounts.get(&sender_id) {
            return Ok(found.clone());
        }
        let row = match sender_id {
            Some(id) => sender::find(tx, id).await?,
            None => sender::default_one(tx).await?,
        };
        let account = row.and_then(|row| row.account_id);
        self.accounts.insert(sender_id, account.clone());
        Ok(account)
    }

    /// An account's status of a template.
    pub async fn standing(
        &mut self,
        tx: &DatabaseTransaction,
        account: Option<&str>,
        name: &str,
        language: &str,
    ) -> Result<Option<ReportedTemplateState>, StoreError> {
        let key = (
            account.map(str::to_owned),
            name.to_owned(),
            language.to_owned(),
        );
        if let Some(found) = self.standings.get(&key) {
            return Ok(found.clone());
        }
        let found = template_sync::standing(tx, account, name, language).await?;
        self.standings.insert(key, found.clone());
        Ok(found)
    }

    /// A sender by name or id.
    pub async fn sender(
        &mut self,
        tx: &DatabaseTransaction,
        named: &str,
    ) -> Result<Option<entity::sender::Model>, StoreError> {
        if let Some(found) = self.senders.get(named) {
            return Ok(found.clone());
        }
        let found = sender::named(tx, named).await?;
        self.senders.insert(named.to_owned(), found.clone());
        Ok(found)
    }

    /// Looks up all recipients at once; missing contacts are created when they are needed.
    pub async fn look_for(
        &mut self,
        tx: &DatabaseTransaction,
        phones: &[Phone],
    ) -> Result<(), StoreError> {
        for (number, person) in people::by_phones(tx, phones).await? {
            self.people.insert(number, person);
        }
        Ok(())
    }

    /// The contact of a number, created if there is none.
    pub async fn person(
        &mut self,
        tx: &DatabaseTransaction,
        phone: &Phone,
        now: Timestamp,
    ) -> Result<RecipientContact, StoreError> {
        if let Some(person) = self.people.get(phone.e164()) {
            return Ok(person.clone());
        }
        let person = people::ensure_phone(tx, phone, now).await?;
        self.people.insert(phone.e164().to_owned(), person.clone());
        Ok(person)
    }
}
