//! The engine's settings, taken from the configuration.

use crate::{
    config::Config,
    domain::credential::Ageing,
    engine::{Alarms, Retention, Settings, runtime::backlog},
};

/// The settings the engine decides by.
pub(super) fn read(config: &Config) -> Settings {
    Settings {
        policy: config.policy,
        enabled: config.whatsapp_enabled,
        send_slots: config.send_slots,
        send_per_second: config.send_per_second,
        pair: config.pair,
        expires_after_seconds: config.expires_after_seconds,
        authentication_expires_after_seconds: config.authentication_expires_after_seconds,
        parked_seconds: config.parked_seconds,
        words: config.words.clone(),
        window_closing_seconds: config.window_closing_seconds,
        mark_read: config.mark_read,
        identity_patience_seconds: config.identity_patience_seconds,
        silent_after_seconds: config.silent_after_seconds,
        alarms: Alarms {
            failure_percent: config.alarm_failure_percent,
            stale_percent: config.alarm_stale_percent,
            queue_age_seconds: config.alarm_queue_age_seconds,
        },
        retention: Retention {
            bodies_days: config.bodies_days,
            timeline_days: config.timeline_days,
            notifications_days: config.notifications_days,
        },
        backlog: backlog::Limits {
            answer_delay: config.backlog_delay,
            reserved_disk_bytes: config.reserved_disk_bytes,
            backlog_bytes: config.backlog_bytes,
        },
        template_suffix: config.template_suffix.clone(),
        ageing: Ageing {
            old_after_days: config.credential_old_days,
            warn_before_days: config.credential_warning_days,
        },
    }
}
