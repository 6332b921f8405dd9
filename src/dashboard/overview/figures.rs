//! Section of the overview with figures, rates and charts.

use crate::{
    dashboard::{
        chart::{self, ChartPoint},
        moment::span,
        shell::DashboardLayout,
    },
    engine::insight::statistics::{LatencyPercentiles, Statistics, StatisticsPoint},
};

pub(super) struct OverviewFigure {
    pub(super) name: &'static str,
    pub(super) count: i64,
    pub(super) link: &'static str,
    pub(super) class: &'static str,
}

pub(super) struct OverviewRateFigure {
    pub(super) name: &'static str,
    pub(super) of: &'static str,
    pub(super) percent: Option<String>,
    pub(super) class: &'static str,
}

pub(super) struct OverviewHourScreenRow {
    pub(super) hour: String,
    pub(super) created: i64,
    pub(super) delivered: i64,
    pub(super) read: i64,
    pub(super) failed: i64,
}

pub(super) struct OverviewLatencyScreenRow {
    pub(super) name: &'static str,
    pub(super) count: i64,
    /// A name, a duration, and its position on a scale of a hundred.
    pub(super) marks: [(&'static str, String, i64); 3],
}

pub(super) fn groups(statistics: &Statistics) -> [OverviewFigure; 5] {
    let group = |name: &str| statistics.groups.get(name).copied().unwrap_or(0);
    [
        OverviewFigure {
            name: "Total",
            count: statistics.total,
            link: "/dashboard/notifications?since=24h",
            class: "",
        },
        OverviewFigure {
            name: "Sent",
            count: group("sent"),
            link: "/dashboard/notifications?since=24h&status=sent",
            class: "good",
        },
        OverviewFigure {
            name: "Pending",
            count: group("pending"),
            link: "/dashboard/notifications?since=24h&status=pending",
            class: "wait",
        },
        OverviewFigure {
            name: "Failed",
            count: group("failed"),
            link: "/dashboard/notifications?since=24h&status=failed",
            class: "bad",
        },
        OverviewFigure {
            name: "Skipped",
            count: group("not_sent"),
            link: "/dashboard/notifications?since=24h&status=not_sent",
            class: "",
        },
    ]
}

pub(super) fn rates(statistics: &Statistics) -> [OverviewRateFigure; 3] {
    let percent = |rate: Option<f64>| rate.map(|rate| format!("{:.1}", rate * 100.0));
    [
        OverviewRateFigure {
            name: "Delivered",
            of: "of accepted",
            percent: percent(statistics.rates.delivery),
            class: "good",
        },
        OverviewRateFigure {
            name: "Read",
            of: "of delivered",
            percent: percent(statistics.rates.read),
            class: "read",
        },
        OverviewRateFigure {
            name: "Failed",
            of: "of all",
            percent: percent(statistics.rates.failure),
            class: "bad",
        },
    ]
}

/// What became of one-time passwords; empty if none was asked for.
pub(super) fn codes(statistics: &Statistics) -> Vec<(&'static str, String)> {
    let codes = &statistics.verifications;
    if codes.started == 0 {
        return Vec::new();
    }
    let share = codes
        .conversion
        .map_or_else(String::new, |share| format!(" ({:.1} %)", share * 100.0));
    vec![
        ("started", codes.started.to_string()),
        ("approved", format!("{}{share}", codes.approved)),
        ("pending", codes.pending().to_string()),
        ("expired", codes.expired.to_string()),
        ("ended by wrong codes", codes.too_many.to_string()),
        ("cancelled", codes.cancelled.to_string()),
        ("messages with codes", codes.sent.to_string()),
    ]
}

fn count(point: &StatisticsPoint, fact: &str) -> i64 {
    point.counts.get(fact).copied().unwrap_or(0)
}

pub(super) fn volume(series: &[StatisticsPoint], shell: &DashboardLayout) -> Vec<ChartPoint> {
    series
        .iter()
        .map(|point| {
            let (delivered, failed) = (count(point, "delivered"), count(point, "failed"));
            let rest = (count(point, "created") - delivered - failed).max(0);
            ChartPoint {
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

pub(super) fn rate_lines(series: &[StatisticsPoint]) -> String {
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

pub(super) fn rows(
    series: &[StatisticsPoint],
    shell: &DashboardLayout,
) -> Vec<OverviewHourScreenRow> {
    series
        .iter()
        .map(|point| OverviewHourScreenRow {
            hour: shell.zone.hour(&point.start),
            created: count(point, "created"),
            delivered: count(point, "delivered"),
            read: count(point, "read"),
            failed: count(point, "failed"),
        })
        .collect()
}

/// The position of a duration on a logarithmic scale from 0.1 s to a day, in hundredths.
fn on_scale(millis: i64) -> i64 {
    let bounds = [
        100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
        14_400_000, 43_200_000, 86_400_000,
    ];
    let place = bounds.iter().filter(|bound| millis >= **bound).count();
    i64::try_from(place * 100 / bounds.len()).unwrap_or(100)
}

pub(super) fn latencies(statistics: &Statistics) -> Vec<OverviewLatencyScreenRow> {
    let duration = |millis: i64| {
        if millis < 10_000 {
            format!("{}.{} s", millis / 1000, millis % 1000 / 100)
        } else {
            span(millis / 1000)
        }
    };
    let of = |name: &'static str, latency: Option<LatencyPercentiles>| {
        latency.map(|latency| OverviewLatencyScreenRow {
            name,
            count: latency.count,
            marks: [
                (
                    "half within",
                    duration(latency.p50_ms),
                    on_scale(latency.p50_ms),
                ),
                (
                    "90 % within",
                    duration(latency.p90_ms),
                    on_scale(latency.p90_ms),
                ),
                (
                    "99 % within",
                    duration(latency.p99_ms),
                    on_scale(latency.p99_ms),
                ),
            ],
        })
    };
    [
        of("accepted to sent", statistics.latency.accepted_to_sent),
        of("sent to delivered", statistics.latency.sent_to_delivered),
        of("delivered to read", statistics.latency.delivered_to_read),
    ]
    .into_iter()
    .flatten()
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
