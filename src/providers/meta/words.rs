//! Translates Meta's words, in either case, into the words of rows and the API.

use crate::domain::{
    category::TemplateCategory, quality::QualityRating, template_status::TemplateStatus,
};

/// The status of a template (Meta, "Template status"; "Webhooks: message_template_status_update").
pub fn status(word: &str) -> TemplateStatus {
    match word.to_lowercase().as_str() {
        "reinstated" | "unlocked" | "unarchived" => TemplateStatus::Approved,
        word => TemplateStatus::parse(word).unwrap_or(TemplateStatus::Other),
    }
}

/// The category of a template (Meta, "Template categorization").
pub fn category(word: &str) -> TemplateCategory {
    TemplateCategory::parse(&word.to_lowercase()).unwrap_or(TemplateCategory::Other)
}

/// The quality of a template or of a number (Meta, "Template quality"; "Phone numbers").
pub fn quality(word: &str) -> QualityRating {
    match word.to_lowercase().as_str() {
        "na" => QualityRating::Unknown,
        word => QualityRating::parse(word).unwrap_or(QualityRating::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::{category, quality, status};
    use crate::domain::{
        category::TemplateCategory, quality::QualityRating, template_status::TemplateStatus,
    };

    #[test]
    fn a_word_is_read_in_either_case_and_one_that_is_not_known_is_other() {
        assert_eq!(status("UNARCHIVED"), TemplateStatus::Approved);
        assert_eq!(status("in_appeal"), TemplateStatus::InAppeal);
        assert_eq!(status("SLEEPING"), TemplateStatus::Other);
        assert_eq!(category("MARKETING"), TemplateCategory::Marketing);
        assert_eq!(category("utility"), TemplateCategory::Utility);
        assert_eq!(category("TRANSACTIONAL"), TemplateCategory::Other);
        assert_eq!(quality("GREEN"), QualityRating::Green);
        assert_eq!(quality("unknown"), QualityRating::Unknown);
        assert_eq!(quality("NA"), QualityRating::Unknown);
        assert_eq!(quality("PURPLE"), QualityRating::Other);
    }
}
