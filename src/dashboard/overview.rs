//! The first page: what needs a person, and how it goes.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::{
    act::Person,
    chart::{self, Place},
    fault::Fault,
    moment::{Moment, span},
    shell::{Shell, shown},
};
use crate::{
    domain::{
        phone,
        status::{Group, Status},
        time::Timestamp,
    },
    engine::{
        attention::{self, Finding, Urgency},
        senders,
        statistics::{self, Asked, Latency, Point, Statistics},
    },
    providers::meta::errors,
    state::AppState,
    store::{conversation, convert, notification, sender},
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    attention: Vec<Attention>,
    groups: [Figure; 5],
    rates: [Rate; 3],
    volume: String,
    volume_top: i64,
    rate_lines: String,
    points: Vec<Row>,
    latencies: Vec<Took>,
    failures: Vec<FailureRow>,
    failed: Vec<Failed>,
    /// Why messages wait, and why some were not sent, of the newest.
    waits: Vec<Reason>,
    not_sent: Vec<Reason>,
    queue: Vec<(String, i64)>,
    queue_age: String,
    waiting: i64,
    dead_letters: i64,
    senders: Vec<SenderRow>,
    windows: Vec<Window>,
    prices: Vec<(String, i64)>,
}

struct Attention {
    urgent: bool,
    summary: String,
    meaning: &'static str,
    remedy: String,
    since: Option<Moment>,
    link: Option<String>,
}

struct Figure {
    name: &'static str,
    count: i64,
    link: &'static str,
    class: &'static str,
}

struct Rate {
    name: &'static str,
    of: &'static str,
    percent: Option<String>,
    class: &'static str,
}

struct Row {
    hour: String,
    created: i64,
    delivered: i64,
    read: i64,
    failed: i64,
}

struct Took {
    name: &'static str,
    count: i64,
    /// A name, a length of time, and its place on a scale of a hundred.
    marks: [(&'static str, String, i64); 3],
}

struct FailureRow {
    code: String,
    count: i64,
    meaning: String,
    remedy: String,
}

struct Reason {
    text: String,
    /// What helps, if something does.
    remedy: String,
    count: i64,
    link: String,
}

struct Failed {
    id: String,
    at: Moment,
    recipient: String,
    code: String,
    reason: String,
}

struct SenderRow {
    id: String,
    name: String,
    standing: &'static str,
    reason: String,
    pace: String,
    is_default: bool,
}

struct Window {
    contact: String,
    until: Moment,
}

/// Windows that close within this time are shown, in seconds.
const WINDOWS_SECONDS: i64 = 2 * 60 * 60;

/// Of each list, so many.
const SHOWN: i64 = 8;

/// Of those that wait or were not sent, so many are looked at.
const LOOKED_AT: u64 = 100;

pub async fn page(
    person: Person,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Fault> {
    let shell = Shell::new(&request, &state, &person, "Overview", "/dashboard")?;
    let (engine, now) = (&state.engine, state.clock.now());
    let store = &engine.store;
    let asked = Asked {
        step: Some("hour".to_owned()),
        zone: Some(shell.zone.name().to_owned()),
        failed: Some(SHOWN.unsigned_abs()),
        ..Asked::default()
    };
    let Ok(question) = asked.read(store, now).await? else {
        return Err(Fault::NotFound);
    };
    let told = statistics::answer(store, &question, now).await?;
    let attention = attention::findings(engine, now).await?;
    let senders = sender::all(store).await?;
    let windows =
        conversation::closing(store, now, now.plus_seconds(WINDOWS_SECONDS), SHOWN).await?;
    let series = told.series.as_deref().unwrap_or_default();
    let places = volume(series, &shell);
    let most = places
        .iter()
        .map(|place| place.parts.iter().map(|(_, _, count)| count).sum());
    let page = Page {
        attention: attention
            .into_iter()
            .map(|finding| noted(finding, &shell))
            .collect(),
        groups: figures(&told),
        rates: rates(&told),
        volume_top: chart::round_up(most.max().unwrap_or(0)),
        volume: chart::bars(&places),
        rate_lines: rate_lines(series),
        points: rows(series, &shell),
        latencies: latencies(&told),
        failures: failures(&told),
        failed: failed(&told, &person, &shell),
        waits: reasons(&state, &WAITING, now).await?,
        not_sent: reasons(&state, &[Status::Skipped], now).await?,
        queue: told
            .open_now
            .iter()
            .filter(|(name, _)| {
                Status::parse(name).is_some_and(|status| status.group() == Group::Pending)
            })
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
        queue_age: span(told.queue_age_seconds),
        waiting: told.callbacks.waiting,
        dead_letters: told.callbacks.dead_letters,
        senders: senders
            .iter()
            .map(|row| {
                let (standing, reason) = senders::standing(engine, row);
                SenderRow {
                    id: row.id.to_string(),
                    name: row.name.clone(),
                    standing,
                    reason: reason.unwrap_or_default(),
                    pace: pace(engine.settings.send_per_second, row),
                    is_default: row.is_default,
                }
            })
            .collect(),
        windows: windows
            .into_iter()
            .map(|window| Window {
                contact: if person.sees_people() {
                    window.who
                } else {
                    phone::masked(&window.who)
                },
                until: shell.zone.moment(window.until),
            })
            .collect(),
        prices: told
            .priced
            .iter()
            .map(|(name, count)| (name.replace('/', " · "), *count))
            .collect(),
        shell,
    };
    shown(&page)
}

/// What waits for something, not for its turn.
const WAITING: [Status; 3] = [Status::Retrying, Status::Unknown, Status::Held];

/// Why the newest of these are as they are, the most frequent reason first.
async fn reasons(
    state: &AppState,
    statuses: &[Status],
    now: Timestamp,
) -> Result<Vec<Reason>, Fault> {
    let filter = notification::Filter {
        statuses: statuses.to_vec(),
        since: Some(now.plus_seconds(-24 * 60 * 60)),
        limit: LOOKED_AT,
        ..notification::Filter::default()
    };
    let mut counts: BTreeMap<(String, String, &'static str), i64> = BTreeMap::new();
    for row in notification::search(&state.engine.store, &filter).await? {
        let failure = notification::read_failure(row.failure.as_deref());
        let status = convert::status(row.status).name();
        let (reason, remedy) = match failure {
            Some(failure) => (Some(failure.meaning), failure.remedy),
            None => (row.reason, String::new()),
        };
        let reason = reason.unwrap_or_else(|| "no reason was given".to_owned());
        *counts.entry((reason, remedy, status)).or_default() += 1;
    }
    let mut reasons: Vec<Reason> = counts
        .into_iter()
        .map(|((text, remedy, status), count)| Reason {
            text,
            remedy,
            count,
            link: format!("/dashboard/notifications?status={status}&since=24h"),
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    reasons.truncate(SHOWN.unsigned_abs().try_into().unwrap_or(8));
    Ok(reasons)
}

fn pace(all: Option<i64>, row: &entity::sender::Model) -> String {
    let pace = row.pace_set.or(all).or(row.pace_reported);
    match pace {
        Some(0) => "unlimited".to_owned(),
        Some(pace) => format!("{pace}/s"),
        None => "80/s, until Meta has said".to_owned(),
    }
}

fn noted(finding: Finding, shell: &Shell) -> Attention {
    let link = match finding.kind {
        "no_sender"
        | "sender_held"
        | "silence"
        | "credential_expiring"
        | "credential_old"
        | "account_restricted" => Some("/dashboard/senders".to_owned()),
        "dead_letters" | "callbacks_waiting" => Some("/dashboard/callbacks".to_owned()),
        "failure_rate" => Some("/dashboard/notifications?status=failed".to_owned()),
        "queue_age" => Some("/dashboard/notifications?status=queued".to_owned()),
        _ => None,
    };
    Attention {
        urgent: finding.urgency == Urgency::Now,
        summary: finding.summary,
        meaning: finding.meaning,
        remedy: finding.remedy,
        since: finding.raised_at.map(|at| shell.zone.moment(at)),
        link,
    }
}

fn figures(told: &Statistics) -> [Figure; 5] {
    let group = |name: &str| told.groups.get(name).copied().unwrap_or(0);
    [
        Figure {
            name: "Total",
            count: told.total,
            link: "/dashboard/notifications?since=24h",
            class: "",
        },
        Figure {
            name: "Sent",
            count: group("sent"),
            link: "/dashboard/notifications?since=24h&status=accepted,sent,delivered,read,played",
            class: "good",
        },
        Figure {
            name: "Pending",
            count: group("pending"),
            link: "/dashboard/notifications?since=24h&status=pending",
            class: "wait",
        },
        Figure {
            name: "Failed",
            count: group("failed"),
            link: "/dashboard/notifications?since=24h&status=failed,expired,gave_up",
            class: "bad",
        },
        Figure {
            name: "Not sent on purpose",
            count: group("not_sent"),
            link: "/dashboard/notifications?since=24h&status=skipped,cancelled",
            class: "",
        },
    ]
}

fn rates(told: &Statistics) -> [Rate; 3] {
    let percent = |rate: Option<f64>| rate.map(|rate| format!("{:.1}", rate * 100.0));
    [
        Rate {
            name: "Delivered",
            of: "of accepted",
            percent: percent(told.rates.delivery),
            class: "good",
        },
        Rate {
            name: "Read",
            of: "of delivered",
            percent: percent(told.rates.read),
            class: "read",
        },
        Rate {
            name: "Failed",
            of: "of all",
            percent: percent(told.rates.failure),
            class: "bad",
        },
    ]
}

fn count(point: &Point, fact: &str) -> i64 {
    point.counts.get(fact).copied().unwrap_or(0)
}

fn volume(series: &[Point], shell: &Shell) -> Vec<Place> {
    series
        .iter()
        .map(|point| {
            let (delivered, failed) = (count(point, "delivered"), count(point, "failed"));
            let rest = (count(point, "created") - delivered - failed).max(0);
            Place {
                label: shell.zone.hour(&point.start),
                parts: vec![
                    ("good", "delivered", delivered),
                    ("bad", "failed", failed),
                    ("rest", "neither yet", rest),
                ],
            }
        })
        .collect()
}

fn rate_lines(series: &[Point]) -> String {
    let part = |part: &'static str, of: &'static str| -> Vec<Option<i64>> {
        series
            .iter()
            .map(|point| {
                let whole = count(point, of);
                (whole > 0).then(|| count(point, part) * 100 / whole)
            })
            .collect()
    };
    chart::lines(
        series.len(),
        &[
            ("line good", part("delivered", "accepted")),
            ("line read", part("read", "delivered")),
            ("line bad", part("failed", "created")),
        ],
    )
}

fn rows(series: &[Point], shell: &Shell) -> Vec<Row> {
    series
        .iter()
        .map(|point| Row {
            hour: shell.zone.hour(&point.start),
            created: count(point, "created"),
            delivered: count(point, "delivered"),
            read: count(point, "read"),
            failed: count(point, "failed"),
        })
        .collect()
}

/// A length of time on a scale that grows by powers, from 0.1 s to a day: a hundred.
fn on_scale(millis: i64) -> i64 {
    let bounds = [
        100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
        14_400_000, 43_200_000, 86_400_000,
    ];
    let place = bounds.iter().filter(|bound| millis >= **bound).count();
    i64::try_from(place * 100 / bounds.len()).unwrap_or(100)
}

fn latencies(told: &Statistics) -> Vec<Took> {
    let duration = |millis: i64| {
        if millis < 10_000 {
            format!("{}.{} s", millis / 1000, millis % 1000 / 100)
        } else {
            span(millis / 1000)
        }
    };
    let of = |name: &'static str, latency: Option<Latency>| {
        latency.map(|latency| Took {
            name,
            count: latency.count,
            marks: [
                ("half", duration(latency.p50_ms), on_scale(latency.p50_ms)),
                ("90 %", duration(latency.p90_ms), on_scale(latency.p90_ms)),
                ("99 %", duration(latency.p99_ms), on_scale(latency.p99_ms)),
            ],
        })
    };
    [
        of("accepted to sent", told.latency.accepted_to_sent),
        of("sent to delivered", told.latency.sent_to_delivered),
        of("delivered to read", told.latency.delivered_to_read),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn failures(told: &Statistics) -> Vec<FailureRow> {
    let mut rows: Vec<FailureRow> = told
        .failures
        .iter()
        .map(|(code, count)| {
            let known = code.parse().ok().and_then(errors::known);
            // What has no code has its reason with each message.
            let newest = told
                .failed_newest
                .iter()
                .find(|failed| failed.code.as_deref() == Some(code));
            FailureRow {
                code: code.clone(),
                count: *count,
                meaning: known
                    .map(|known| known.meaning.to_owned())
                    .or_else(|| newest.and_then(|failed| failed.reason.clone()))
                    .unwrap_or_else(|| ours(code).to_owned()),
                remedy: known
                    .map(|known| known.remedy.to_owned())
                    .or_else(|| newest.and_then(|failed| failed.remedy.clone()))
                    .unwrap_or_default(),
            }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows.truncate(SHOWN.unsigned_abs().try_into().unwrap_or(8));
    rows
}

/// What failed without an error of the provider.
fn ours(code: &str) -> &'static str {
    match code {
        "expired" => "It waited longer than it was of use.",
        "gave_up" => "Its answer was lost, and no callback told what became of it.",
        _ => "See the messages.",
    }
}

fn failed(told: &Statistics, person: &Person, shell: &Shell) -> Vec<Failed> {
    told.failed_newest
        .iter()
        .map(|failed| {
            let whom = failed.recipient.clone().or_else(|| failed.address.clone());
            let whom = whom.unwrap_or_else(|| "somebody".to_owned());
            Failed {
                id: failed.id.to_string(),
                at: shell.zone.written(&failed.created_at),
                recipient: if person.sees_people() {
                    whom
                } else {
                    phone::masked(&whom)
                },
                code: failed
                    .code
                    .clone()
                    .unwrap_or_else(|| failed.status.to_owned()),
                reason: failed.reason.clone().unwrap_or_default(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::on_scale;

    #[test]
    fn a_scale_grows_with_the_time() {
        let places: Vec<i64> = [0, 100, 1_000, 60_000, 86_400_000].map(on_scale).into();
        assert_eq!(places, [0, 6, 26, 60, 100]);
    }
}
