//! Parses stored templates.

use entity::template::Model;

use crate::domain::{
    category::MessageCategory,
    template::layout::{TemplateExtras, TemplateLayout},
};

/// Parses a template's row; the error says what is wrong with it.
pub fn layout(row: &Model) -> Result<TemplateLayout, String> {
    let extras: TemplateExtras = match row.extras.as_deref() {
        None => TemplateExtras::default(),
        Some(json) => serde_json::from_str(json)
            .map_err(|_unreadable| "its header, footer or buttons cannot be read".to_owned())?,
    };
    TemplateLayout::parse(
        &row.body,
        extras,
        row.parameter_format == "NAMED",
        MessageCategory::counted_as(&row.category) == MessageCategory::Authentication,
        &row.language,
    )
    .map_err(|error| error.to_string())
}
