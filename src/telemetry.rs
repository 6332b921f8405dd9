//! Logs and metrics.

use std::{
    io::{self, Write},
    str::FromStr,
    sync::OnceLock,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{Directive, ParseError},
    fmt,
    prelude::*,
    reload,
};

use crate::domain::text::for_log;

/// The log filter, which can be changed while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Standard error. The formatter passes each line as a whole; characters in values that it does not
/// escape (line ends, bidirectional controls) are escaped here.
struct StderrLineWriter;

impl Write for StderrLineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text
            .strip_suffix('\n')
            .map_or((text.as_ref(), ""), |text| (text, "\n"));
        let mut shown = for_log(text).into_owned();
        shown.push_str(end);
        io::stderr().write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Parses `HERALD_LOG`, without actix's errors about bytes that are not HTTP: each client that
/// sends them would cause a line. A filter that names that target gets them.
fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    const HTTP: &str = "actix_http";
    let parsed = EnvFilter::try_new(filter)?;
    if filter.contains(HTTP) {
        return Ok(parsed);
    }
    Ok(parsed.add_directive(Directive::from_str("actix_http::h1=off")?))
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read.
pub fn init_logs(filter: &str, json: bool) -> Result<(), String> {
    let filter = parse(filter).map_err(|error| format!("HERALD_LOG: {error}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_writer(|| StderrLineWriter)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        registry.with(lines).try_init()
    };
    // A second start in one process keeps the first one's logs.
    if started.is_ok() {
        drop(FILTER.set(handle));
    }
    Ok(())
}

/// Logs by another filter from now on.
///
/// # Errors
/// When the filter cannot be read, or nothing is logged at all.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let filter = parse(filter).map_err(|error| error.to_string())?;
    FILTER
        .get()
        .ok_or_else(|| "this process writes no log".to_owned())?
        .reload(filter)
        .map_err(|error| error.to_string())
}

/// Upper bounds in seconds: ingest should stay under 25 ms, and Meta gives up at 5 s.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counters that exist with the value 0: alert rules refer to them.
const COUNTED_FROM_THE_START: &[&str] = &[
    "herald_callbacks_delayed_total",
    "herald_callbacks_slowed_total",
    "herald_clock_steps_total",
    "herald_commits_missing_total",
    "herald_commits_unproved_total",
    "herald_long_writes_total",
];

/// The process's metrics. All apps of one process share them.
///
/// # Errors
/// When another recorder was installed before.
pub fn metrics() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                .and_then(|builder| {
                    builder.set_buckets_for_metric(
                        Matcher::Suffix("_batch".to_owned()),
                        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
                    )
                })
                .map_err(|error| error.to_string())?
                .install_recorder()
                .map_err(|error| error.to_string())?;
            for name in COUNTED_FROM_THE_START {
                metrics::counter!(*name).increment(0);
            }
            Ok(handle)
        })
        .clone()
}
