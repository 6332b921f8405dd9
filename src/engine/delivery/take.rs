//! Takes due messages from the queue, prepares those that may be sent, and puts the others aside.
//!
//! A message that waits for its pair pace or its template must not hold up others: the next
//! messages with the same reason are put aside with it, and the claim continues from the other end
//! of the queue.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use super::{
    address,
    gate::{self, TemplateHeldMessage},
    pairs,
    permits::SenderPacePermit,
};
use crate::{
    domain::{
        channel::ProviderCapabilities, hold::HoldExemption, notification::NotificationChange,
        pace::SendingPaceShare, priority::MessagePriority, time::Timestamp,
        timeline::TimelineEntryKind,
    },
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleChange, NotificationLifecycleReport},
        runtime::catalogue_cache::CatalogueSnapshot,
    },
    store::{
        DatabaseTransaction, StoreError, channel_fallback, follow_up,
        notification::{
            self, ClaimedNotification, MessageQueueStage, MessageWaitReason, QueueClaimOrder,
            QueueSenderScope,
        },
        timeline,
    },
};

/// The lane of one-time passwords; the others follow by importance.
const OTP: i64 = MessagePriority::Otp.lane();

/// How many further messages are examined for the same reason to wait, besides those claimed.
const AHEAD: i64 = 500;

/// The scope of a claim: sender, lanes, permits, lease.
pub(super) struct DeliveryClaimContext<'a> {
    pub engine: &'a Engine,
    pub tx: &'a DatabaseTransaction,
    pub catalogue_snapshot: &'a CatalogueSnapshot,
    pub sender: &'a entity::sender::Model,
    pub capabilities: ProviderCapabilities,
    pub permits: &'a [SenderPacePermit],
    /// Lanes other than one-time passwords, in the order in which they are claimed.
    pub ordinary: &'a [i64],
    /// What may be sent while sending is on hold.
    pub passing: Option<HoldExemption>,
    pub lease: Timestamp,
    pub now: Timestamp,
}

/// The messages that were taken.
#[derive(Default)]
pub(super) struct ClaimedMessageBatch {
    /// Messages that may be sent.
    pub ready: Vec<(SendingPaceShare, ClaimedNotification)>,
    /// For messages in `ready` that can never be sent: the reason.
    pub never: HashMap<Uuid, String>,
    /// Number of messages examined.
    pub count: usize,
    pub report: NotificationLifecycleReport,
}

impl ClaimedMessageBatch {
    /// Number of calls to be made in a lane.
    pub(super) fn ready_in(&self, lane: SendingPaceShare) -> i64 {
        let ready = self.ready.iter().filter(|(of, _)| *of == lane).count();
        i64::try_from(ready).unwrap_or(i64::MAX)
    }
}

/// What the messages that were put aside wait for.
#[derive(Default)]
struct ClaimBlockerSet {
    contacts: HashSet<Uuid>,
    templates: HashMap<(String, String), String>,
    lanes: HashSet<i64>,
    is_any_late: bool,
}

impl ClaimBlockerSet {
    fn is_empty(&self) -> bool {
        self.contacts.is_empty() && self.templates.is_empty()
    }
}

impl DeliveryClaimContext<'_> {
    /// Takes as much as the permits allow.
    pub(super) async fn take(&self) -> Result<ClaimedMessageBatch, StoreError> {
        let mut taken = ClaimedMessageBatch::default();
        for end in [QueueClaimOrder::Oldest, QueueClaimOrder::Newest] {
            let waits = self.take_from(end, &mut taken).await?;
            self.set_more_aside(end, &waits).await?;
            if waits.is_empty() && !waits.is_any_late {
                break;
            }
        }
        Ok(taken)
    }

    async fn take_from(
        &self,
        end: QueueClaimOrder,
        taken: &mut ClaimedMessageBatch,
    ) -> Result<ClaimBlockerSet, StoreError> {
        let (tx, now) = (self.tx, self.now);
        let (lanes, mut claimed) = self.claim(end, taken).await?;
        taken.count += claimed.len();
        let priorities: HashMap<Uuid, i64> =
            claimed.iter().map(|it| (it.id, it.priority)).collect();
        taken.report.add(self.drop_overtaken(&mut claimed).await?);
        address::resolve(tx, self.sender.id, &mut claimed, now).await?;
        let held_back = gate::hold_back(
            self.engine,
            tx,
            self.catalogue_snapshot,
            self.sender,
            &mut claimed,
            now,
        )
        .await?;
        taken.report.add(held_back.report);
        taken.never.extend(held_back.never);
        self.hold_for_templates(&held_back.held).await?;
        let contacts = if self.capabilities.pair_limit {
            pairs::keep_pace(self.engine, tx, self.sender.id, &mut claimed, now).await?
        } else {
            Vec::new()
        };
        let mut waits = ClaimBlockerSet {
            contacts: contacts.into_iter().collect(),
            is_any_late: held_back.is_any_late,
            ..ClaimBlockerSet::default()
        };
        for held in held_back.held {
            waits
                .templates
                .insert((held.template, held.language), held.reason);
        }
        if !waits.is_empty() {
            let ready: HashSet<Uuid> = claimed.iter().map(|it| it.id).collect();
            let aside = priorities.iter().filter(|(id, _)| !ready.contains(*id));
            waits.lanes = aside.map(|(_, priority)| *priority).collect();
        }
        let lane = |id: Uuid| {
            lanes
                .get(&id)
                .copied()
                .unwrap_or(SendingPaceShare::Ordinary)
        };
        taken.ready.extend(
            claimed
                .into_iter()
                .map(|claimed| (lane(claimed.id), claimed)),
        );
        Ok(waits)
    }

    async fn claim(
        &self,
        end: QueueClaimOrder,
        taken: &ClaimedMessageBatch,
    ) -> Result<(HashMap<Uuid, SendingPaceShare>, Vec<ClaimedNotification>), StoreError> {
        let mut lanes_of = HashMap::new();
        let mut claimed = Vec::new();
        for permit in self.permits {
            let lanes = match permit.lane {
                SendingPaceShare::Otp => &[OTP][..],
                SendingPaceShare::Ordinary => self.ordinary,
            };
            let mut left = permit.grant.calls - taken.ready_in(permit.lane);
            for lane in lanes {
                if left <= 0 {
                    break;
                }
                let found = notification::claim(
                    self.tx,
                    self.sender.id,
                    self.whose(),
                    (*lane, end, self.passing),
                    (self.engine.process, self.lease),
                    self.now,
                    left,
                )
                .await?;
                left -= i64::try_from(found.len()).unwrap_or(left);
                lanes_of.extend(found.iter().map(|found| (found.id, permit.lane)));
                claimed.extend(found);
            }
        }
        Ok((lanes_of, claimed))
    }

    /// Read with the sender's row, not from the cache: the default sender may have changed a moment
    /// ago.
    fn whose(&self) -> QueueSenderScope {
        if self.sender.is_default {
            QueueSenderScope::SenderOrUnassigned(
                self.sender.id,
                self.engine.channel_of(Some(self.sender.id)),
            )
        } else {
            QueueSenderScope::Sender(self.sender.id)
        }
    }

    /// Skips follow-ups whose reason no longer holds.
    async fn drop_overtaken(
        &self,
        claimed: &mut Vec<ClaimedNotification>,
    ) -> Result<NotificationLifecycleReport, StoreError> {
        let of = |is: fn(&ClaimedNotification) -> bool| -> Vec<Uuid> {
            let chosen = claimed.iter().filter(|claimed| is(claimed));
            chosen.map(|claimed| claimed.id).collect()
        };
        let children = of(|claimed| claimed.follow_up_id.is_some());
        // What stands in for a message of another channel has a parent, and no follow-up.
        let stand_ins = of(|claimed| claimed.parent_id.is_some() && claimed.follow_up_id.is_none());
        let mut overtaken = Vec::new();
        if !children.is_empty() {
            overtaken.extend(follow_up::overtaken(self.tx, &children).await?);
        }
        if !stand_ins.is_empty() {
            overtaken.extend(channel_fallback::not_needed(self.tx, &stand_ins).await?);
        }
        if overtaken.is_empty() {
            return Ok(NotificationLifecycleReport::default());
        }
        let steps: Vec<NotificationLifecycleChange> = overtaken
            .iter()
            .map(|id| NotificationLifecycleChange::new(*id, NotificationChange::Superseded))
            .collect();
        let report = lifecycle::run(self.engine, self.tx, &steps, self.now).await?;
        claimed.retain(|claimed| !overtaken.contains(&claimed.id));
        Ok(report)
    }

    async fn hold_for_templates(&self, held: &[TemplateHeldMessage]) -> Result<(), StoreError> {
        let mut of_reason: HashMap<&str, Vec<Uuid>> = HashMap::new();
        for message in held {
            of_reason
                .entry(&message.reason)
                .or_default()
                .push(message.id);
        }
        for (reason, ids) in of_reason {
            self.hold_for_template(&ids, MessageQueueStage::Claimed, reason)
                .await?;
        }
        Ok(())
    }

    async fn hold_for_template(
        &self,
        ids: &[Uuid],
        place: MessageQueueStage,
        reason: &str,
    ) -> Result<(), StoreError> {
        let (tx, now) = (self.tx, self.now);
        let sender = self.sender.id;
        notification::set_aside(
            tx,
            sender,
            ids,
            place,
            MessageWaitReason::Template,
            reason,
            now,
        )
        .await?;
        timeline::note_all(
            tx,
            ids,
            TimelineEntryKind::Held,
            &json!({ "reason": reason }),
            now,
        )
        .await
    }

    /// Puts aside the next messages that wait for the same reasons and would be claimed next.
    async fn set_more_aside(
        &self,
        end: QueueClaimOrder,
        waits: &ClaimBlockerSet,
    ) -> Result<(), StoreError> {
        if waits.is_empty() {
            return Ok(());
        }
        let (tx, now) = (self.tx, self.now);
        for lane in &waits.lanes {
            let which = (*lane, end, self.passing);
            let ahead = notification::look_ahead(tx, self.whose(), which, now, AHEAD).await?;
            let mut turns = Vec::new();
            let mut held: HashMap<&str, Vec<Uuid>> = HashMap::new();
            for message in ahead {
                let key = (message.template, message.language);
                if let Some(reason) = waits.templates.get(&key) {
                    held.entry(reason).or_default().push(message.id);
                } else if message
                    .contact
                    .is_some_and(|it| waits.contacts.contains(&it))
                {
                    turns.push(message.id);
                }
            }
            notification::set_aside(
                tx,
                self.sender.id,
                &turns,
                MessageQueueStage::Queue,
                MessageWaitReason::Turn,
                pairs::ITS_TURN,
                now,
            )
            .await?;
            for (reason, ids) in held {
                self.hold_for_template(&ids, MessageQueueStage::Queue, reason)
                    .await?;
            }
        }
        Ok(())
    }
}
