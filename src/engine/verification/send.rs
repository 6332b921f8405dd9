//! Sends a code by one of the channels of its verification.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use super::{
    VerificationError, VerificationPlan,
    count::{CountedVerification, count},
    limits,
};
use crate::{
    domain::{
        access::AccessBounds, field_error::FieldError, priority::MessagePriority,
        recipient::RecipientSpec, template::layout::TemplateLayout,
        template::parameter::TemplateParameterKind, time::Timestamp,
    },
    engine::{
        InputError,
        intake::{
            DraftComposeError, IntakeRowCache, MessageContentMode, MessageDraft, compose,
            targets::{self, RecipientResolveError, ResolvedRecipient},
        },
        lifecycle::{self, NotificationLifecycleReport},
        runtime::turn::TransactionContext,
    },
    store::verification,
};

/// The label on messages that carry a code: the id of their verification.
const LABEL: &str = "verification";

/// The parameter that carries the code where none is declared as one.
const CODE: &str = "code";

/// What of a verification its messages need.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeToSend<'a> {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub bounds: &'a AccessBounds,
    pub product: Option<&'a str>,
    /// As it was written.
    pub to: &'a str,
    pub reference: Option<&'a str>,
    pub plan: &'a VerificationPlan,
    pub code: &'a SecretString,
    pub expires_at: Timestamp,
}

/// The parameter of a template that carries the code.
pub(super) fn code_parameter(layout: &TemplateLayout) -> Option<String> {
    let variables = layout.variables();
    let declared = variables.iter().find(|name| {
        let declared = layout.declared(name);
        declared.is_some_and(|it| it.kind == TemplateParameterKind::Code)
    });
    let named = || variables.iter().find(|name| *name == CODE);
    declared.or_else(named).cloned()
}

/// The one recipient of a code.
pub(super) async fn recipient(
    TransactionContext { tx, now, .. }: TransactionContext<'_>,
    bounds: &AccessBounds,
    to: &str,
) -> Result<ResolvedRecipient, VerificationError> {
    let refused = |rule: String| VerificationError::from(InputError::field("/to", rule));
    let spec = RecipientSpec::parse(to).map_err(|error| refused(error.to_string()))?;
    if matches!(spec, RecipientSpec::Group(_) | RecipientSpec::Same) {
        return Err(refused(
            "one person: a number, contact:NAME or user:NAME".to_owned(),
        ));
    }
    let found = targets::resolve(tx, bounds, &spec, None, None, now).await;
    match found {
        Ok(mut found) => found
            .targets
            .pop()
            .ok_or_else(|| refused("there is no such recipient".to_owned())),
        Err(RecipientResolveError::Unknown(unknown)) => Err(refused(unknown.to_string())),
        Err(RecipientResolveError::Store(error)) => Err(error.into()),
    }
}

/// Sends the code by the channel at `index`, and notes when the next one is to be tried. The limits
/// count it.
pub(super) async fn send(
    turn: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    wanted: CodeToSend<'_>,
    index: usize,
    is_first: bool,
) -> Result<(Uuid, NotificationLifecycleReport), VerificationError> {
    let TransactionContext { engine, tx, now } = turn;
    let plan = wanted.plan;
    let at_channel = |rule: &str| {
        VerificationError::Fields(vec![FieldError {
            pointer: format!("/channels/{index}"),
            rule: rule.to_owned(),
        }])
    };
    let Some(channel) = plan.channels.get(index).copied() else {
        return Err(at_channel("there is no such channel"));
    };
    let from = plan
        .sender_for(engine, channel)
        .ok_or_else(|| at_channel("no sender serves this channel"))?;
    let target = recipient(turn, wanted.bounds, wanted.to).await?;
    let template = reading
        .template(
            engine,
            tx,
            &plan.template,
            plan.language.as_deref().as_slice(),
        )
        .await?;
    let layout = template.as_ref().and_then(|it| it.layout.as_ref().ok());
    let Some(parameter) = layout.and_then(code_parameter) else {
        let rule = "the template has no parameter for the code";
        return Err(InputError::field("/template", rule).into());
    };
    let mut params = plan.params.clone();
    params.insert(parameter, Value::from(wanted.code.expose_secret()));
    let draft = MessageDraft {
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        channel: channel.name().to_owned(),
        sender_id: from.id(),
        template: plan.template.clone(),
        language: plan.language.clone(),
        default_language: None,
        params: Value::Object(params),
        subject_contact_id: None,
        subject_address: None,
        reference: wanted.reference.map(str::to_owned),
        labels: std::iter::once((LABEL.to_owned(), wanted.id.to_string())).collect(),
        priority: MessagePriority::Otp,
        expires_after_seconds: Some(seconds_until(wanted.expires_at, now)),
        send_at: None,
        reply_to: None,
        message_kind: None,
        mode: MessageContentMode::Template,
        fallback_template: None,
        product: wanted.product.map(str::to_owned),
        unread: Vec::new(),
    };
    let made = compose(turn, reading, &draft, vec![target]).await;
    let made = made.map_err(|error| match error {
        DraftComposeError::NoKey => VerificationError::Key,
        DraftComposeError::Store(error) => error.into(),
        refused => InputError::field("/template", refused.to_string()).into(),
    })?;
    if let Some(unfilled) = made.iter().find_map(|made| made.unfilled.as_ref()) {
        let pointer = unfilled
            .parameter
            .as_ref()
            .map_or_else(|| "/template".to_owned(), |name| format!("/params/{name}"));
        return Err(InputError::field(&pointer, unfilled.error.to_string()).into());
    }
    let new: Vec<_> = made.into_iter().map(|made| made.new).collect();
    // The address that it goes to, which is another one for each channel. What cannot leave is no send.
    let mut leaving = new.iter().filter(|new| new.skipped.is_none());
    let address = leaving.find_map(|new| new.address.as_deref());
    if let Some(address) = address {
        limits::count_send(turn, address, plan.client).await?;
    }
    let rules = reading.catalogue_snapshot(engine, tx).await?;
    let (inserted, report) = lifecycle::introduce(engine, tx, &rules, &new, now).await?;
    let Some(notification) = inserted.first().copied() else {
        return Err(VerificationError::Store(
            crate::store::StoreError::RolledBack,
        ));
    };
    let has_next = index + 1 < plan.channels.len();
    let fallback_at = has_next.then(|| now.plus_seconds(plan.fallback_seconds));
    let at = (channel.name(), i64::try_from(index).unwrap_or(i64::MAX));
    verification::sent(tx, wanted.id, notification, at, fallback_at, now).await?;
    let counted = CountedVerification {
        created_at: wanted.created_at,
        product: wanted.product,
        template: &plan.template,
        channel,
    };
    if address.is_some() {
        count(turn, &[counted], "sent").await?;
    }
    if is_first {
        count(turn, &[counted], "started").await?;
    }
    Ok((notification, report))
}

/// Whole seconds until then, at least one.
fn seconds_until(then: Timestamp, now: Timestamp) -> i64 {
    then.micros_since(now).div_euclid(1_000_000).max(1)
}
