//! The log.

use crate::domain::settings::section;

section! {
    /// What is logged, and how.
    #[derive(Clone, Debug)]
    pub struct LogSettings {
        /// Log filter, such as `info` or `herald=debug`.
        #[setting("HERALD_LOG" = "info", text)]
        pub filter: String,
        /// `text` or `json`.
        #[setting("HERALD_LOG_FORMAT" = "text", parsed(is_json, "text or json"))]
        pub json: bool,
    }
}

fn is_json(format: &str) -> Option<bool> {
    match format {
        "text" => Some(false),
        "json" => Some(true),
        _ => None,
    }
}
