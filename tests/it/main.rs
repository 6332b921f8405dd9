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
mod backlog;
mod backup;
mod bodies;
mod boundaries;
mod by_hand;
mod callbacks;
mod catalogues;
mod check;
mod cli;
mod clocks;
mod config;
mod connections;
mod dashboard;
mod database;
mod deletion;
mod deploy;
mod doors;
mod errors;
mod events;
mod filters;
mod follow_ups;
mod harness;
mod hold;
mod identity;
mod incidents;
mod keys;
mod kinds;
mod language;
mod letter;
mod limits;
mod lineage;
mod log;
mod many_contacts;
mod migrating;
mod order;
mod own_events;
mod ownership;
mod pace;
mod parameters;
mod people;
mod plans;
mod pooled;
mod secrets;
mod senders;
mod sending;
mod solar_crm;
mod starting;
mod statistics;
mod stopping;
mod story;
mod templates;
mod together;
mod toy_channel;
mod turns;
mod values;
mod webhook;
mod wishes;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = boundaries::trials();
    for tests in [
        alarms::tests(),
        api::tests(),
        backlog::tests(),
        backup::tests(),
        bodies::tests(),
        hold::tests(),
        lineage::tests(),
        by_hand::tests(),
        callbacks::tests(),
        catalogues::tests(),
        check::tests(),
        cli::tests(),
        clocks::tests(),
        clocks::any_steps::tests(),
        config::tests(),
        connections::tests(),
        dashboard::tests(),
        database::tests(),
        deletion::tests(),
        deletion::meanwhile::tests(),
        doors::tests(),
        errors::tests(),
        events::tests(),
        filters::tests(),
        follow_ups::tests(),
        identity::tests(),
        incidents::tests(),
        keys::tests(),
        kinds::tests(),
        language::tests(),
        log::tests(),
        many_contacts::tests(),
        migrating::tests(),
        letter::tests(),
        limits::tests(),
        limits::proxies::tests(),
        order::tests(),
        own_events::tests(),
        pace::tests(),
        ownership::tests(),
        ownership::any_order::tests(),
        parameters::tests(),
        people::tests(),
        plans::tests(),
        people::any_mix::tests(),
        secrets::tests(),
        senders::tests(),
        sending::tests(),
        solar_crm::tests(),
        starting::tests(),
        statistics::tests(),
        stopping::tests(),
        story::tests(),
        templates::tests(),
        templates::limits::tests(),
        turns::tests(),
        values::tests(),
        together::tests(),
        toy_channel::tests(),
        webhook::tests(),
        wishes::tests(),
    ] {
        trials.extend(tests.into_iter().flat_map(harness::on_both_databases));
    }
    trials.extend(deploy::trials());
    trials.extend(own_events::trials());
    trials.extend(pooled::trials());
    let listed = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
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
