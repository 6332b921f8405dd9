//! Findings about rates: failed messages, and messages without a status.

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        access::AccessBounds,
        alarm::{AlarmKind, AlarmMeasure, percent},
        channel::DeliveryReporting,
        cohort::{CounterPeriod, CounterPeriodLength},
        notification::STALE,
        time::Timestamp,
    },
    engine::Engine,
    store::{
        StoreError,
        counter::{self, CounterDimension, CounterFilter},
    },
};

/// Least number of messages for a rate.
const LEAST_FOR_A_RATE: i64 = 20;

/// Measures the last hours.
pub(super) async fn look(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let quarter = |seconds: i64| CounterPeriodLength::Quarter.start(now.plus_seconds(seconds));
    let total = async |hours: i64, until: Timestamp| {
        let piece = CounterPeriod {
            grain: CounterPeriodLength::Quarter,
            since: quarter(-hours * 3600),
            until,
        };
        counter::sums(
            &engine.store,
            &[piece],
            &CounterFilter::of(&AccessBounds::All),
            CounterDimension::Channel,
        )
        .await
    };
    let count = |sums: &[counter::CounterSum], fact: &str| -> i64 {
        sums.iter()
            .filter(|sum| sum.fact == fact)
            .map(|sum| sum.count)
            .sum()
    };
    let alarms = engine.settings.alarms;
    let hour = total(1, quarter(900)).await?;
    let (failed, created) = (count(&hour, "failed"), count(&hour, "created"));
    let measure = rate(failed, created, alarms.failure_percent);
    let summary = format!(
        "{failed} of the {created} messages of the last hour have failed ({} %).",
        measure.value
    );
    found.push(
        AttentionFinding::new(
            AlarmKind::FailureRate,
            FindingUrgency::Now,
            measure,
            summary,
        )
        .means(
            "Many recipients do not get their messages.",
            "The failures by code have the reasons and remedies.",
        ),
    );
    // A younger message cannot be stale yet.
    let until = CounterPeriodLength::Quarter
        .start(now.plus_seconds(-engine.settings.policy.stale_after_seconds));
    let older = total(4, until).await?;
    let older: Vec<counter::CounterSum> = older
        .into_iter()
        .filter(|sum| DeliveryReporting::of(&sum.group).is_expected())
        .collect();
    let (stale, accepted) = (count(&older, STALE), count(&older, "accepted"));
    let measure = rate(stale, accepted, alarms.stale_percent);
    let summary = format!(
        "No status has come for {stale} of the {accepted} messages accepted in the last four hours ({} %).",
        measure.value
    );
    found.push(
        AttentionFinding::new(AlarmKind::StaleRate, FindingUrgency::Now, measure, summary).means(
            "They may have been delivered; it is not known.",
            "Check that callbacks reach this server: herald check.",
        ),
    );
    Ok(())
}

/// Raised at a rate, cleared at half of it.
fn rate(part: i64, whole: i64, raise_at: i64) -> AlarmMeasure {
    AlarmMeasure {
        value: percent(part, whole, LEAST_FOR_A_RATE),
        raise_at,
        clear_at: raise_at / 2,
    }
}
