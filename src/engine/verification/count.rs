//! Counts what becomes of verifications, in the cohorts of their start.

use crate::{
    domain::{channel::MessageChannel, time::Timestamp},
    engine::runtime::turn::TransactionContext,
    store::{
        StoreError,
        counter::{self, CounterChanges, NotificationCounterGroup},
    },
};

/// What of a verification its counters need.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountedVerification<'a> {
    pub created_at: Timestamp,
    pub product: Option<&'a str>,
    pub template: &'a str,
    pub channel: MessageChannel,
}

/// Counts one step of each: `started`, `sent`, or how it ended.
pub(super) async fn count(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    all: &[CountedVerification<'_>],
    step: &str,
) -> Result<(), StoreError> {
    let mut changes = CounterChanges::default();
    for one in all {
        let class = NotificationCounterGroup {
            channel: one.channel.name().to_owned(),
            template: one.template.to_owned(),
            product: one.product.unwrap_or_default().to_owned(),
            ..NotificationCounterGroup::default()
        };
        let counted = ((counter::VERIFICATION, step.to_owned()), 1);
        changes.add(one.created_at, class, [counted]);
    }
    counter::add(tx, &changes, engine.slot, now).await
}
