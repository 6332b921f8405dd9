//! Parses stored templates.

use entity::template::Model;

use crate::domain::{
    category::Category,
    template::layout::{Layout, LayoutExtras},
};

/// Parses a template's row; the error says what is wrong with it.
pub fn layout(row: &Model) -> Result<Layout, String> {
    let extras: LayoutExtras = match row.extras.as_deref() {
        None => LayoutExtras::default(),
        Some(json) => serde_json::from_str(json)
            .map_err(|_unreadable| "its header, footer or buttons cannot be read".to_owned())?,
    };
    Layout::parse(
        &row.body,
        extras,
        row.parameter_format == "NAMED",
        Category::counted_as(&row.category) == Category::Authentication,
        &row.language,
    )
    .map_err(|error| error.to_string())
}
