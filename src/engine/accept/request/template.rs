//! A template and its parameters, checked before anything is stored.

use serde_json::Value;
use uuid::Uuid;

use super::{FieldError, TemplateUse};
use crate::{
    engine::{
        Engine,
        accept::Reading,
        dispatch::{Sendable, sendable},
    },
    store::{DatabaseTransaction, StoreError},
};

/// Checks a template and its parameters. Gives back its category, if there is one
/// of this name.
pub(super) async fn check_template(
    engine: &Engine,
    tx: &DatabaseTransaction,
    reading: &mut Reading,
    sender_id: Option<Uuid>,
    template: &TemplateUse,
    at: &str,
    wrong: &mut Vec<FieldError>,
) -> Result<Option<String>, StoreError> {
    let mut refuse = |pointer: String, rule: String| {
        wrong.push(FieldError {
            pointer: format!("{at}{pointer}"),
            rule,
        });
    };
    let (name, language) = (&template.name, template.language.as_deref());
    let Some(known) = reading
        .template(engine, tx, name, language.as_slice())
        .await?
    else {
        refuse(
            "/template".to_owned(),
            "there is no template of this name".to_owned(),
        );
        return Ok(None);
    };
    let found = &known.row;
    if language.is_some_and(|language| language != found.language) {
        refuse(
            "/language".to_owned(),
            format!("the template exists in {} only", found.language),
        );
    }
    // What waits for approval waits in the queue; what is refused for good is refused here.
    let account = reading.account(tx, sender_id).await?;
    let standing = reading
        .standing(tx, account.as_deref(), name, &found.language)
        .await?;
    if let Sendable::Never(reason) = sendable(name, standing.as_ref()) {
        refuse("/template".to_owned(), reason);
    }
    let category = Some(found.category.clone());
    let Ok(layout) = &known.layout else {
        refuse(
            "/template".to_owned(),
            "the template cannot be read".to_owned(),
        );
        return Ok(category);
    };
    let declared = layout.variables();
    for variable in &declared {
        let provided = ["contact", "about", "related_contact_name"].contains(&variable.as_str());
        match template.params.get(variable) {
            None if !provided => refuse(format!("/params/{variable}"), "missing".to_owned()),
            Some(Value::String(text)) if text.trim().is_empty() => {
                refuse(
                    format!("/params/{variable}"),
                    "empty: Meta refuses empty parameters".to_owned(),
                );
            }
            Some(Value::Null) => refuse(
                format!("/params/{variable}"),
                "empty: Meta refuses empty parameters".to_owned(),
            ),
            _ => {}
        }
    }
    for extra in template
        .params
        .keys()
        .filter(|key| !declared.contains(*key))
    {
        refuse(
            format!("/params/{extra}"),
            "the template has no such parameter".to_owned(),
        );
    }
    Ok(category)
}
