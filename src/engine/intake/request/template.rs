//! Checks a template and its parameters before anything is stored.

use serde_json::Value;
use uuid::Uuid;

use super::RequestedTemplate;
use crate::{
    domain::{
        access::AccessBounds,
        category::MessageCategory,
        field_error::FieldError,
        template::{layout::PROVIDED, parameter::DeclaredTemplateParameter},
    },
    engine::{
        Engine,
        intake::IntakeRowCache,
        runtime::template_status::{TemplateSendability, sendable},
    },
    store::{DatabaseTransaction, StoreError},
};

const EMPTY: &str = "empty: Meta refuses empty parameters";

/// Checks a template and its parameters. Returns its category, if a template of this name exists.
#[expect(
    clippy::too_many_arguments,
    reason = "one use of a template in its transaction: a struct for one call says no more"
)]
pub(in crate::engine) async fn check_template(
    engine: &Engine,
    tx: &DatabaseTransaction,
    reading: &mut IntakeRowCache,
    bounds: &AccessBounds,
    sender_id: Option<Uuid>,
    template: &RequestedTemplate,
    at: &str,
    wrong: &mut Vec<FieldError>,
) -> Result<Option<MessageCategory>, StoreError> {
    let mut refuse = |pointer: String, rule: String| {
        wrong.push(FieldError {
            pointer: format!("{at}{pointer}"),
            rule,
        });
    };
    let (name, language) = (&template.name, template.language.as_deref());
    let known = reading
        .template(engine, tx, name, language.as_slice())
        .await?
        .filter(|known| bounds.has_catalogue(known.row.catalogue.as_deref()));
    let Some(known) = known else {
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
    // A template that awaits approval leaves the message in the queue; one that is refused for good
    // is refused here.
    let account = reading.account(tx, sender_id).await?;
    let standing = reading
        .standing(tx, account.as_deref(), name, &found.language)
        .await?;
    if let TemplateSendability::Never(reason) = sendable(name, standing.as_ref()) {
        refuse("/template".to_owned(), reason);
    }
    let category = Some(MessageCategory::counted_as(&found.category));
    let Ok(layout) = &known.layout else {
        refuse(
            "/template".to_owned(),
            "the template cannot be read".to_owned(),
        );
        return Ok(category);
    };
    let variables = layout.variables();
    for variable in &variables {
        let declared = layout.declared(variable);
        let may_miss = PROVIDED.contains(&variable.as_str())
            || declared.is_some_and(DeclaredTemplateParameter::may_miss);
        let broken = match template.params.get(variable) {
            None | Some(Value::Null) if may_miss => None,
            None => Some("missing"),
            Some(Value::Null) => Some(EMPTY),
            Some(Value::String(text)) if text.trim().is_empty() => Some(EMPTY),
            Some(value) => declared.and_then(|declared| declared.kind.check(value).err()),
        };
        if let Some(rule) = broken {
            refuse(format!("/params/{variable}"), rule.to_owned());
        }
    }
    for extra in template
        .params
        .keys()
        .filter(|key| !variables.contains(*key))
    {
        refuse(
            format!("/params/{extra}"),
            "the template has no such parameter".to_owned(),
        );
    }
    Ok(category)
}
