//! Findings that need a person's attention: measured, with their meaning and remedy.

mod accounts;
mod hold;
mod people;
mod rates;
mod senders;
mod work;

use crate::{
    domain::{
        alarm::{AlarmKind, AlarmMeasure},
        time::Timestamp,
    },
    engine::Engine,
    store::{StoreError, alarm},
};

/// How soon a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingUrgency {
    /// Messages do not go out, or their outcome is unknown.
    Now,
    /// Some messages are affected, or will be.
    Soon,
}

/// A possible problem.
#[derive(Clone, Debug)]
pub struct AttentionFinding {
    pub kind: AlarmKind,
    /// Its subject, if there are several of a kind: a sender's name, a template.
    pub subject: String,
    pub urgency: FindingUrgency,
    pub measure: AlarmMeasure,
    /// The finding with its figures.
    pub summary: String,
    pub meaning: &'static str,
    pub remedy: String,
    /// When the alarm was raised, if it is.
    pub raised_at: Option<Timestamp>,
    /// Only this process can know it: it is shown, but raises no alarm, which processes would raise
    /// and clear in turn.
    pub is_local: bool,
}

impl AttentionFinding {
    fn new(
        kind: AlarmKind,
        urgency: FindingUrgency,
        measure: AlarmMeasure,
        summary: String,
    ) -> Self {
        Self {
            kind,
            subject: String::new(),
            urgency,
            measure,
            summary,
            meaning: "",
            remedy: String::new(),
            raised_at: None,
            is_local: false,
        }
    }

    const fn local(mut self, is_local: bool) -> Self {
        self.is_local = is_local;
        self
    }

    fn of(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.subject);
        self
    }

    fn means(mut self, meaning: &'static str, remedy: impl Into<String>) -> Self {
        (self.meaning, self.remedy) = (meaning, remedy.into());
        self
    }
}

/// Measures everything now, together with the alarms raised already. Sorted by urgency.
pub async fn measure(engine: &Engine, now: Timestamp) -> Result<Vec<AttentionFinding>, StoreError> {
    let mut found = Vec::new();
    hold::look(engine, &mut found).await?;
    work::unrouted(engine, now, &mut found).await?;
    senders::look(engine, now, &mut found).await?;
    work::workers(engine, now, &mut found).await?;
    work::queues(engine, now, &mut found).await?;
    rates::look(engine, now, &mut found).await?;
    accounts::look(engine, now, &mut found).await?;
    people::look(engine, &mut found).await?;
    people::locked_verifications(engine, now, &mut found).await?;
    let raised = alarm::raised(&engine.store).await?;
    for finding in &mut found {
        finding.raised_at = raised
            .iter()
            .find(|row| row.kind == finding.kind.name() && row.subject == finding.subject)
            .map(|row| Timestamp::from_micros(row.raised_at));
    }
    found.sort_by_key(|finding| finding.urgency);
    Ok(found)
}

/// The current problems.
pub async fn findings(
    engine: &Engine,
    now: Timestamp,
) -> Result<Vec<AttentionFinding>, StoreError> {
    let mut found = measure(engine, now).await?;
    found.retain(|finding| finding.measure.is_wrong(finding.raised_at.is_some()));
    Ok(found)
}
