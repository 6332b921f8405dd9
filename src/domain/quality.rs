//! What a provider makes of how people take messages.

use super::word_enum::words;

words! {
    /// The quality of a template or of a number, by how often people block or report what it sends.
    /// Providers translate theirs.
    #[derive(Default)]
    pub enum QualityRating {
        Green = "green",
        Yellow = "yellow",
        Red = "red",
        /// Not rated yet.
        Unknown = "unknown",
        /// One that this version does not know.
        #[default]
        Other = "other",
    }
}
