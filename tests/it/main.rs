//! The integration tests: a real server on port 0, a real database for each
//! test, SQLite and PostgreSQL. Nothing sleeps; workers are stepped.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, and this program prints its own report"
)]

mod alarms;
mod api;
mod api_keys;
mod backlog;
mod backup;
mod batching;
mod boundaries;
mod callback_order;
mod callbacks;
mod catalogue_ownership;
mod catalogues;
mod changes;
mod channel_races;
mod channel_refusals;
mod check;
mod check_before_start;
mod check_channels;
mod cli;
mod clocks;
mod config;
mod conformance;
mod dashboard;
mod database;
mod database_connections;
mod deletion;
mod delivery_service;
mod deploy;
mod email;
mod email_fallback;
mod error_codes;
mod event_data;
mod event_recipients;
mod event_replay;
mod follow_ups;
mod harness;
mod health;
mod hold;
mod identity;
mod inbox_file;
mod inbox_segments;
mod incidents;
mod language;
mod large_catalogues;
mod limits;
mod lineage;
mod log;
mod mail_alerts;
mod mail_codes;
mod mail_receipts;
mod mail_returns;
mod mail_senders;
mod mail_sharing;
mod message_kinds;
mod meta_callbacks;
mod migrations;
mod myoperator_senders;
mod notification_filters;
mod notification_record;
mod openapi;
mod operator_actions;
mod own_events;
mod pace;
mod people;
mod pgbouncer;
mod preferences;
mod query_plans;
mod request_bodies;
mod secrets;
mod senders;
mod sending;
mod shutdown;
mod solar_crm;
mod startup;
mod statistics;
mod story;
mod template_parameters;
mod templates;
mod toy_channel;
mod untrusted_input;
mod verification_limits;
mod verification_secrecy;
mod verification_senders;
mod verifications;
mod waiting_messages;
mod webhook;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Many tests wait: for a time-out, or for another process.
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    arguments.test_threads = arguments.test_threads.or(Some(2 * cores));
    let mut trials: Vec<Trial> = boundaries::trials();
    for tests in [
        alarms::tests(),
        api::tests(),
        backlog::tests(),
        backup::tests(),
        request_bodies::tests(),
        hold::tests(),
        lineage::tests(),
        openapi::tests(),
        operator_actions::tests(),
        callbacks::tests(),
        catalogues::tests(),
        changes::tests(),
        check::tests(),
        check_before_start::tests(),
        check_channels::tests(),
        cli::tests(),
        clocks::tests(),
        clocks::any_steps::tests(),
        config::tests(),
        database_connections::tests(),
        dashboard::tests(),
        database::tests(),
        deletion::tests(),
        delivery_service::tests(),
        deletion::erasure::tests(),
        deletion::meanwhile::tests(),
        untrusted_input::tests(),
        error_codes::tests(),
        event_recipients::tests(),
        event_replay::tests(),
        myoperator_senders::tests(),
        notification_filters::tests(),
        notification_record::tests(),
        follow_ups::tests(),
        health::tests(),
        identity::tests(),
        inbox_file::tests(),
        inbox_segments::tests(),
        incidents::tests(),
        api_keys::tests(),
        message_kinds::tests(),
        language::tests(),
        log::tests(),
        large_catalogues::tests(),
        migrations::tests(),
        meta_callbacks::tests(),
        limits::tests(),
        limits::proxies::tests(),
        callback_order::tests(),
        own_events::tests(),
        pace::tests(),
        catalogue_ownership::tests(),
        catalogue_ownership::any_order::tests(),
        template_parameters::tests(),
        people::tests(),
        query_plans::tests(),
        people::any_mix::tests(),
        secrets::tests(),
        senders::tests(),
        sending::tests(),
        solar_crm::tests(),
        startup::tests(),
        statistics::tests(),
        shutdown::tests(),
        story::tests(),
        templates::tests(),
        templates::limits::tests(),
        waiting_messages::tests(),
        event_data::tests(),
        batching::tests(),
        toy_channel::tests(),
        verification_limits::tests(),
        verification_secrecy::tests(),
        verification_senders::tests(),
        verifications::tests(),
        conformance::tests(),
        email::tests(),
        email_fallback::tests(),
        channel_refusals::tests(),
        channel_races::tests(),
        mail_alerts::tests(),
        mail_codes::tests(),
        mail_receipts::tests(),
        mail_returns::tests(),
        mail_senders::tests(),
        mail_sharing::tests(),
        webhook::tests(),
        preferences::tests(),
    ] {
        trials.extend(tests.into_iter().flat_map(harness::on_both_databases));
    }
    trials.extend(deploy::trials());
    trials.extend(own_events::trials());
    trials.extend(pgbouncer::trials());
    let listed = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    let slowest = harness::durations::slowest();
    if !slowest.is_empty() {
        println!("The slowest:\n{}\n", slowest.join("\n"));
    }
    harness::stop_pgbouncer();
    harness::stop_postgres();
    if !listed && harness::postgres().is_none() {
        println!("{}", harness::POSTGRES_MISSING);
    }
    if !listed && harness::pgbouncer().is_none() {
        println!("{}", harness::PGBOUNCER_MISSING);
    }
    conclusion.exit_code()
}
