//! Makes the notifications of one entry of a route's recipients.

use uuid::Uuid;

use super::unknown::nameable;
use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        own_event::SOURCE,
        priority::MessagePriority,
        recipient::{RecipientParseError, RecipientSpec, is_expression, is_staff},
        time::Timestamp,
    },
    engine::{
        Engine,
        intake::{
            DraftComposeError, EventRouteResult, IntakeRowCache, MessageContentMode, MessageDraft,
            channel_sender::{self, NoChannelSender},
            compose,
            fallback::{self, FallbackPlan},
            route::{RouteEvaluation, RouteRecipientEntry},
            targets::{self, RecipientResolveError, ResolvedRecipient, UnknownRecipient},
            unique,
        },
        lifecycle::{self, NotificationLifecycleReport},
        runtime::{bounds, turn::TransactionContext},
    },
    store::{
        DatabaseTransaction, StoreError, access as rows, catalogue::StoredRoute,
        notification::NewNotification, sender,
    },
};

/// Why nothing is made of an entry of a route.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteRecipientError {
    #[error(transparent)]
    Unreadable(#[from] RecipientParseError),
    #[error(transparent)]
    Unknown(#[from] UnknownRecipient),
    #[error("the key that the event was posted with may not send with {0}")]
    ForeignSender(String),
    #[error("there is no sender named {0}")]
    NoSender(String),
    #[error(transparent)]
    NoChannelSender(#[from] NoChannelSender),
    #[error(transparent)]
    Compose(DraftComposeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RecipientResolveError> for RouteRecipientError {
    fn from(error: RecipientResolveError) -> Self {
        match error {
            RecipientResolveError::Unknown(unknown) => Self::Unknown(unknown),
            RecipientResolveError::Store(error) => Self::Store(error),
        }
    }
}

impl From<DraftComposeError> for RouteRecipientError {
    fn from(error: DraftComposeError) -> Self {
        match error {
            DraftComposeError::Store(error) => Self::Store(error),
            refused => Self::Compose(refused),
        }
    }
}

/// One step of an expansion.
pub(super) struct EventRoutingContext<'a> {
    pub(super) engine: &'a Engine,
    pub(super) tx: &'a DatabaseTransaction,
    pub(super) row: &'a entity::event::Model,
    /// Bounds of the API key that posted the event.
    pub(super) bounds: &'a AccessBounds,
    pub(super) route: &'a StoredRoute,
    pub(super) plan: &'a RouteEvaluation,
    /// The sender of the conversation that the event is about.
    pub(super) about_sender: Option<Uuid>,
    pub(super) now: Timestamp,
}

impl EventRoutingContext<'_> {
    /// Makes the notifications of one entry of `to`. Returns their number, and where to continue.
    pub(super) async fn recipient(
        &self,
        planned: &RouteRecipientEntry,
        after: Option<Uuid>,
        result: &mut EventRouteResult,
        report: &mut NotificationLifecycleReport,
    ) -> Result<(usize, Option<Uuid>), RouteRecipientError> {
        let (mut targets, next) = self.targets(planned, after).await?;
        self.drop_reached(&mut targets).await?;
        let about = match self.about().await {
            Ok(about) => about,
            Err(error @ RouteRecipientError::Store(_)) => return Err(error),
            // The recipient must be notified even if the subject no longer exists.
            Err(unknown) => {
                result.reason = Some(format!("its subject: {unknown}"));
                None
            }
        };
        let reading = &mut IntakeRowCache::default();
        let channel = MessageChannel::parse(&self.route.route.channel).unwrap_or_default();
        let product = self.product().await?;
        let bounds = self.senders(planned, product.as_deref()).await?;
        let from = self.sender(reading, planned, &bounds, channel).await?;
        let draft = self.draft(from, product, about);
        let made = compose(self.turn(), reading, &draft, targets).await?;
        // The producer has been answered already: the event records what is wrong with its data.
        let unfilled = made.iter().find(|made| made.unfilled.is_some());
        if let Some(reason) = unfilled.and_then(|made| made.new.skipped.clone()) {
            result.reason.get_or_insert(reason);
        }
        let mut new: Vec<NewNotification> = made.into_iter().map(|made| made.new).collect();
        self.drop_duplicates(draft.product.as_deref(), &mut new, result)
            .await?;
        let rules = reading.catalogue_snapshot(self.engine, self.tx).await?;
        let (inserted, made) =
            lifecycle::introduce(self.engine, self.tx, &rules, &new, self.now).await?;
        report.add(made);
        let new_ones: Vec<&NewNotification> = new
            .iter()
            .filter(|new| inserted.contains(&new.id))
            .collect();
        self.plan_next_channels(new_ones, channel, from).await?;
        result.notifications += inserted.len();
        result.skipped += new.iter().filter(|new| new.skipped.is_some()).count();
        Ok((new.len(), next))
    }

    const fn turn(&self) -> TransactionContext<'_> {
        TransactionContext {
            engine: self.engine,
            tx: self.tx,
            now: self.now,
        }
    }

    /// The recipients of one entry, a page at a time, and where the next page begins.
    async fn targets(
        &self,
        planned: &RouteRecipientEntry,
        after: Option<Uuid>,
    ) -> Result<(Vec<ResolvedRecipient>, Option<Uuid>), RouteRecipientError> {
        let skipped = |reason: String| {
            let target = ResolvedRecipient {
                skipped: Some(reason),
                ..ResolvedRecipient::default()
            };
            (vec![target], None)
        };
        let entry = planned.entry.as_str();
        if entry.trim().is_empty() {
            return Ok(skipped("the recipient has no phone number".to_owned()));
        }
        let spec = match RecipientSpec::parse(entry) {
            Err(error) => return Ok(skipped(format!("the recipient cannot be used: {error}"))),
            Ok(spec) => spec,
        };
        let bounds = nameable(planned.is_chosen, self.bounds);
        let page = targets::resolve(self.tx, bounds, &spec, None, after, self.now).await?;
        Ok((unique(page.targets), page.next))
    }

    /// The sender of the route's messages; `None`: the default at the time of sending.
    async fn sender(
        &self,
        reading: &mut IntakeRowCache,
        planned: &RouteRecipientEntry,
        bounds: &AccessBounds,
        channel: MessageChannel,
    ) -> Result<Option<Uuid>, RouteRecipientError> {
        let from = match &self.route.route.sender {
            None => match self.answering(planned, bounds) {
                Some(id) => Some(id),
                None => reading.own_sender(self.tx, bounds).await?,
            },
            Some(named) => match sender::named(self.tx, named).await? {
                Some(row) if self.bounds.has_sender(row.id) => Some(row.id),
                Some(_) => return Err(RouteRecipientError::ForeignSender(named.clone())),
                None => return Err(RouteRecipientError::NoSender(named.clone())),
            },
        };
        let serving = channel_sender::serving(self.engine, bounds.senders(), channel, from)?;
        Ok(serving)
    }

    /// The sender that a person has written to, which is the one that answers.
    fn answering(&self, planned: &RouteRecipientEntry, bounds: &AccessBounds) -> Option<Uuid> {
        self.about_sender
            .filter(|id| !is_for_staff(planned) && bounds.has_sender(*id))
    }

    /// The bounds of the senders that the messages of an entry may leave from: those of the key that
    /// posted the event; of one of Herald's own, those of the route's product.
    async fn senders(
        &self,
        planned: &RouteRecipientEntry,
        product: Option<&str>,
    ) -> Result<AccessBounds, StoreError> {
        if self.row.source != SOURCE {
            return Ok(self.bounds.clone());
        }
        bounds::of_recipient(self.tx, product, is_for_staff(planned)).await
    }

    /// The route's message, without its recipient.
    fn draft(
        &self,
        from: Option<Uuid>,
        product: Option<String>,
        about: Option<ResolvedRecipient>,
    ) -> MessageDraft {
        let route = &self.route.route;
        MessageDraft {
            event_id: Some(self.row.id),
            route: Some(self.route.name.clone()),
            event_type: Some(self.row.event_type.clone()),
            follow_up_id: None,
            parent_id: None,
            rule: None,
            depth: 0,
            channel: route.channel.clone(),
            sender_id: from,
            template: route.template.clone(),
            language: None,
            default_language: route.language.clone(),
            params: self.plan.params.clone(),
            subject_contact_id: about.as_ref().and_then(|about| about.contact_id),
            subject_address: about
                .and_then(|about| about.address)
                .filter(|_| product.is_some()),
            reference: self.plan.reference.clone(),
            labels: self.plan.labels.clone(),
            priority: MessagePriority::parse(&route.priority).unwrap_or_default(),
            expires_after_seconds: route.expires_after_seconds,
            send_at: None,
            reply_to: None,
            message_kind: route.message_kind.clone(),
            mode: MessageContentMode::parse(&route.mode).unwrap_or_default(),
            fallback_template: route.fallback_template.clone(),
            product,
            unread: self.plan.unread.clone(),
        }
    }

    /// Plans the channels by which new messages go on if they are not delivered.
    async fn plan_next_channels(
        &self,
        new_ones: Vec<&NewNotification>,
        channel: MessageChannel,
        from: Option<Uuid>,
    ) -> Result<(), StoreError> {
        // A reply to a customer is no alert, although an event of Herald's own has made it.
        let (alerts, others): (Vec<_>, Vec<_>) = new_ones
            .into_iter()
            .partition(|new| self.row.source == SOURCE && is_staff(&new.recipient));
        let next_channels = FallbackPlan::of_route(&self.route.route);
        fallback::plan(self.turn(), &others, &next_channels).await?;
        if !alerts.is_empty() {
            let next_channels = next_channels.of_alert(self.turn(), channel, from).await?;
            fallback::plan(self.turn(), &alerts, &next_channels).await?;
        }
        Ok(())
    }

    /// The product of the route's messages: the event's; for one of Herald's own events, that of
    /// the route's catalogue.
    async fn product(&self) -> Result<Option<String>, StoreError> {
        match (&self.row.product, &self.route.catalogue) {
            (None, Some(catalogue)) if self.row.source == SOURCE => {
                rows::product_of_catalogue(self.tx, catalogue).await
            }
            (product, _) => Ok(product.clone()),
        }
    }

    /// The subject of the route's messages, or why there is none.
    async fn about(&self) -> Result<Option<ResolvedRecipient>, RouteRecipientError> {
        let entry = self.plan.about.as_deref().unwrap_or_default();
        if entry.trim().is_empty() {
            return Ok(None);
        }
        let spec = RecipientSpec::parse(entry)?;
        let is_chosen = self.route.route.about.as_deref().is_some_and(is_expression);
        let bounds = nameable(is_chosen, self.bounds);
        let page = targets::resolve(self.tx, bounds, &spec, None, None, self.now).await?;
        Ok(page.targets.into_iter().next())
    }
}

/// Whether an entry names members of staff.
fn is_for_staff(planned: &RouteRecipientEntry) -> bool {
    RecipientSpec::parse(&planned.entry).is_ok_and(|spec| spec.is_staff())
}
