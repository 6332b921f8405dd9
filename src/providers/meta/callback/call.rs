//! Parses `calls[]`, and `statuses[]` beside them: voice calls (Meta, "Calling: webhooks").

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{MetaChangeContext, complete, kind_of};
use crate::{
    domain::voice_call::{VoiceCallDirection, VoiceCallReport, VoiceCallStep},
    providers::{CallbackItemContent, InboundMessageItem, PersonIds, meta::lenient::LenientText},
};

#[derive(Deserialize)]
struct MetaCallItem {
    #[serde(default)]
    id: LenientText,
    #[serde(default)]
    from: LenientText,
    #[serde(default)]
    from_user_id: LenientText,
    #[serde(default)]
    from_parent_user_id: LenientText,
    /// The called party: the person, if we call.
    #[serde(default)]
    to: LenientText,
    #[serde(default)]
    to_user_id: LenientText,
    #[serde(default)]
    to_parent_user_id: LenientText,
    #[serde(default)]
    event: LenientText,
    #[serde(default)]
    direction: LenientText,
    #[serde(default)]
    timestamp: LenientText,
    /// `COMPLETED` or `FAILED`; older pages have a list with one word.
    #[serde(default)]
    status: Value,
    #[serde(default)]
    start_time: LenientText,
    #[serde(default)]
    end_time: LenientText,
    /// In seconds.
    #[serde(default)]
    duration: LenientText,
    #[serde(default)]
    recording: Value,
}

#[derive(Deserialize)]
struct MetaCallStatus {
    #[serde(default)]
    id: LenientText,
    /// `RINGING`, `ACCEPTED` or `REJECTED`.
    #[serde(default)]
    status: LenientText,
    #[serde(default)]
    timestamp: LenientText,
    #[serde(default)]
    recipient_id: LenientText,
    #[serde(default)]
    recipient_user_id: LenientText,
    #[serde(default)]
    recipient_parent_user_id: LenientText,
}

/// One event of a call.
pub(super) fn event(
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Result<CallbackItemContent, String> {
    let item: MetaCallItem = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a call: {}", kind_of(&error)))?;
    let id = item.id.filled().ok_or("a call without `id`")?;
    let direction = match item.direction.as_deref() {
        Some("USER_INITIATED") => Some(VoiceCallDirection::UserInitiated),
        Some("BUSINESS_INITIATED") => Some(VoiceCallDirection::BusinessInitiated),
        _ => None,
    };
    let person = if direction == Some(VoiceCallDirection::BusinessInitiated) {
        PersonIds {
            wa_id: item.to.filled(),
            user_id: item.to_user_id.filled(),
            parent_user_id: item.to_parent_user_id.filled(),
            ..PersonIds::default()
        }
    } else {
        PersonIds {
            wa_id: item.from.filled(),
            user_id: item.from_user_id.filled(),
            parent_user_id: item.from_parent_user_id.filled(),
            ..PersonIds::default()
        }
    };
    let status = match &item.status {
        Value::Array(words) => words.first().and_then(Value::as_str),
        status => status.as_str(),
    };
    let completed = match status {
        Some("COMPLETED") => Some(true),
        Some("FAILED") => Some(false),
        _ => None,
    };
    let dated = item.timestamp.seconds();
    let report = VoiceCallReport {
        step: match item.event.as_deref() {
            Some("connect") => VoiceCallStep::Connect,
            Some("terminate") => VoiceCallStep::Terminate,
            _ => VoiceCallStep::Other,
        },
        at: dated.unwrap_or(context.received),
        direction,
        completed,
        started_at: item.start_time.seconds(),
        ended_at: item.end_time.seconds(),
        duration_seconds: item.duration.integer(),
        recording: ["id", "media_id"]
            .into_iter()
            .find_map(|key| item.recording.get(key)?.as_str().map(str::to_owned)),
    };
    let person = complete(person, &context.contacts);
    Ok(inbound(id, report, person, dated.is_some(), raw))
}

/// A status of one of our calls: it rang, was answered or declined.
pub(super) fn status(
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Result<CallbackItemContent, String> {
    let item: MetaCallStatus = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a status: {}", kind_of(&error)))?;
    let id = item.id.filled().ok_or("a status without `id`")?;
    let status = item.status.filled().ok_or("a status without `status`")?;
    let dated = item.timestamp.seconds();
    let report = VoiceCallReport {
        step: match status.as_str() {
            "RINGING" => VoiceCallStep::Ringing,
            "ACCEPTED" => VoiceCallStep::Accepted,
            "REJECTED" => VoiceCallStep::Rejected,
            _ => VoiceCallStep::Other,
        },
        at: dated.unwrap_or(context.received),
        direction: Some(VoiceCallDirection::BusinessInitiated),
        completed: None,
        started_at: None,
        ended_at: None,
        duration_seconds: None,
        recording: None,
    };
    let person = PersonIds {
        wa_id: item.recipient_id.filled(),
        user_id: item.recipient_user_id.filled(),
        parent_user_id: item.recipient_parent_user_id.filled(),
        ..PersonIds::default()
    };
    let person = complete(person, &context.contacts);
    Ok(inbound(id, report, person, dated.is_some(), raw))
}

fn inbound(
    id: String,
    report: VoiceCallReport,
    person: PersonIds,
    dated: bool,
    raw: &RawValue,
) -> CallbackItemContent {
    CallbackItemContent::Inbound(Box::new(InboundMessageItem {
        provider_message_id: id,
        kind: "call".to_owned(),
        at: report.at,
        media_id: report.recording.clone(),
        call: Some(report),
        standby: false,
        person,
        group_id: None,
        dated,
        text: None,
        payload: None,
        context_message_id: None,
        shared_phone: None,
        from_advertisement: false,
        raw: raw.get().to_owned(),
    }))
}
