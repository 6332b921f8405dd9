//! Checks that every route can use the example of its event.

use serde_json::{Value, json};

use super::wrong::{CatalogueEntryRef, MistakeCollector};
use crate::{
    domain::{
        category::MessageCategory,
        template::layout::{PROVIDED, TemplateLayout},
    },
    engine::{
        catalogue::{Catalogue, CatalogueRouteEntry},
        intake,
    },
};

/// Evaluates each route with the example of its event, and fills its template.
pub(super) fn check(catalogue: &Catalogue, wrong: &mut MistakeCollector<'_>) {
    for (index, entry) in catalogue.route.iter().enumerate() {
        let at = CatalogueEntryRef {
            kind: "route",
            index,
            name: &entry.name,
        };
        let Some(event) = catalogue.event.iter().find(|it| it.r#type == entry.event) else {
            continue;
        };
        let Some(example) = &event.example else {
            continue;
        };
        let context = json!({
            "data": example,
            "event": {
                "id": "example", "source": "example", "type": event.r#type, "subject": Value::Null,
            },
        });
        let routed = intake::try_route(&super::super::route_row(entry), &context);
        let result = routed.and_then(|params| match params {
            Some(params) => fill(catalogue, entry, params),
            None => Ok(()),
        });
        if let Err(reason) = result {
            let rule = format!("with the example of {}: {reason}", event.r#type);
            wrong.entry(at, rule);
        }
    }
}

fn fill(
    catalogue: &Catalogue,
    entry: &CatalogueRouteEntry,
    mut params: Value,
) -> Result<(), String> {
    if let Some(params) = params.as_object_mut() {
        for name in PROVIDED {
            let person = json!({ "name": "Asha" });
            params.entry(name).or_insert(person);
        }
    }
    for template in catalogue
        .template
        .iter()
        .filter(|template| template.name == entry.template)
    {
        let layout = TemplateLayout::parse(
            &template.body,
            template.extras().unwrap_or_default(),
            template.parameter_format == "NAMED",
            MessageCategory::parse(&template.category) == Some(MessageCategory::Authentication),
            &template.language,
        );
        layout
            .and_then(|layout| layout.fill(&params))
            .map_err(|error| format!("template {}: {error}", template.name))?;
    }
    Ok(())
}
