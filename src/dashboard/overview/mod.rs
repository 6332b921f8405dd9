//! The overview, the first page: problems that need attention, and figures.

mod figures;
mod trouble;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use self::{
    figures::{
        OverviewFigure, OverviewHourScreenRow, OverviewLatencyScreenRow, OverviewRateFigure,
    },
    trouble::{
        AttentionScreenRow, FailedMessageScreenRow, FailureCodeScreenRow, UnsentReasonScreenRow,
    },
};
use super::{
    act::SignedInUser,
    chart,
    fault::DashboardScreenError,
    moment::{DisplayTime, span},
    shell::{DashboardLayout, shown},
};
use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        status::{NotificationStatus, StatusGroup},
    },
    engine::{
        InputError,
        admin::{release, senders},
        insight::{
            attention,
            statistics::{self, StatisticsQuery},
        },
    },
    state::AppState,
    store::{conversation, sender},
};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewScreen {
    shell: DashboardLayout,
    attention: Vec<AttentionScreenRow>,
    /// What a release of the hold would send: kind, age, number.
    held_back: Vec<(String, &'static str, i64)>,
    groups: [OverviewFigure; 5],
    rates: [OverviewRateFigure; 3],
    volume: String,
    volume_top: i64,
    rate_lines: String,
    points: Vec<OverviewHourScreenRow>,
    latencies: Vec<OverviewLatencyScreenRow>,
    failures: Vec<FailureCodeScreenRow>,
    failed: Vec<FailedMessageScreenRow>,
    /// Why messages wait, and why some were not sent, for the newest.
    waits: Vec<UnsentReasonScreenRow>,
    not_sent: Vec<UnsentReasonScreenRow>,
    queue: Vec<(String, i64)>,
    queue_age: String,
    waiting: i64,
    dead_letters: i64,
    senders: Vec<OverviewSenderScreenRow>,
    windows: Vec<ClosingWindowScreenRow>,
    prices: Vec<(String, i64)>,
    codes: Vec<(&'static str, String)>,
}

struct OverviewSenderScreenRow {
    id: String,
    name: String,
    standing: &'static str,
    reason: String,
    pace: String,
    is_default: bool,
}

struct ClosingWindowScreenRow {
    contact: String,
    until: DisplayTime,
}

/// Windows that close within this time are shown, in seconds.
const WINDOWS_SECONDS: i64 = 2 * 60 * 60;

/// Most entries of each list.
const SHOWN: i64 = 8;

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(&request, &state, &person, "Overview", "/dashboard")?;
    let (engine, now) = (&state.engine, state.clock.now());
    let store = &engine.store;
    let asked = StatisticsQuery {
        step: Some("hour".to_owned()),
        zone: Some(shell.zone.name().to_owned()),
        failed: Some(SHOWN.unsigned_abs()),
        ..StatisticsQuery::default()
    };
    let question = match asked.read(store, &AccessBounds::All, now).await {
        Ok(question) => question,
        Err(InputError::Invalid(_)) => return Err(DashboardScreenError::NotFound),
        Err(InputError::Store(error)) => return Err(error.into()),
    };
    let statistics = statistics::answer(store, &question, now).await?;
    let attention = attention::findings(engine, now).await?;
    let held_back = if engine.refresh_hold().await?.is_some() {
        release::standing(engine, 0, now).await?.waiting
    } else {
        Vec::new()
    };
    let senders = sender::all(store).await?;
    let windows =
        conversation::closing(store, now, now.plus_seconds(WINDOWS_SECONDS), SHOWN).await?;
    let series = statistics.series.as_deref().unwrap_or_default();
    let places = figures::volume(series, &shell);
    let most = places
        .iter()
        .map(|place| place.parts.iter().map(|(_, _, count)| count).sum());
    let page = OverviewScreen {
        attention: attention
            .into_iter()
            .map(|finding| trouble::noted(finding, &shell))
            .collect(),
        held_back: held_back
            .into_iter()
            .map(|kind| {
                let name = format!("{} {}", kind.category, kind.template);
                (name, kind.age.sentence(), kind.count)
            })
            .collect(),
        groups: figures::groups(&statistics),
        rates: figures::rates(&statistics),
        codes: figures::codes(&statistics),
        volume_top: chart::round_up(most.max().unwrap_or(0)),
        volume: chart::bars(&places),
        rate_lines: figures::rate_lines(series),
        points: figures::rows(series, &shell),
        latencies: figures::latencies(&statistics),
        failures: trouble::failures(&statistics, engine.providers()),
        failed: trouble::failed(&statistics, &person, &shell),
        waits: trouble::reasons(&state, &trouble::WAITING, now).await?,
        not_sent: trouble::reasons(&state, &[NotificationStatus::Skipped], now).await?,
        queue: statistics
            .open_now
            .iter()
            .filter(|(name, _)| {
                NotificationStatus::parse(name)
                    .is_some_and(|status| status.group() == StatusGroup::Pending)
            })
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
        queue_age: span(statistics.queue_age_seconds),
        waiting: statistics.callbacks.waiting,
        dead_letters: statistics.callbacks.dead_letters,
        senders: senders
            .iter()
            .map(|row| {
                let (standing, reason) = senders::standing(engine, row);
                OverviewSenderScreenRow {
                    id: row.id.to_string(),
                    name: row.name.clone(),
                    standing,
                    reason: reason.unwrap_or_default(),
                    pace: pace(
                        engine.settings.sending.per_second,
                        row,
                        engine.channel_of_kind(&row.kind) == MessageChannel::WhatsApp,
                    ),
                    is_default: row.is_default,
                }
            })
            .collect(),
        windows: windows
            .into_iter()
            .map(|window| ClosingWindowScreenRow {
                contact: person.sees(window.who),
                until: shell.zone.moment(window.until),
            })
            .collect(),
        prices: statistics
            .priced
            .iter()
            .map(|(name, count)| (name.replace('/', " · "), *count))
            .collect(),
        shell,
    };
    shown(&page)
}

/// How fast a sender sends; `reports`: its provider may report how fast it may.
fn pace(all: Option<i64>, row: &entity::sender::Model, reports: bool) -> String {
    let pace = row.pace_set.or(all).or(row.pace_reported);
    match pace {
        Some(0) => "unlimited".to_owned(),
        Some(pace) => format!("{pace}/s"),
        None if reports => "80/s, until its limit is reported".to_owned(),
        None => "80/s".to_owned(),
    }
}
