//! The names that routes and rules depend on: without them nothing would be sent.

use std::iter::once;

use sea_orm::ConnectionTrait;

use super::{ROUTE, RULE, stored_route, stored_rule};
use crate::{
    domain::{
        recipient::{RecipientSpec, each},
        rule::FollowUpRule,
    },
    store::{
        StoreError,
        dialect::{column, nullable, query},
    },
};

/// A route, or a rule in force, with the names it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueReferences {
    /// `route` or `rule`.
    pub what: &'static str,
    pub name: String,
    pub catalogue: Option<String>,
    /// As `group:NAME` and the like, including its subject; expressions as written.
    pub recipients: Vec<String>,
    /// Its template, and its fallback template.
    pub templates: Vec<String>,
    pub message_kind: Option<String>,
}

impl CatalogueReferences {
    /// Whether it names this recipient, however that is written.
    pub fn names(&self, recipient: &RecipientSpec) -> bool {
        self.recipients
            .iter()
            .filter_map(|entry| RecipientSpec::parse(entry).ok())
            .any(|entry| entry.is_the_same_as(recipient))
    }

    pub fn sends(&self, template: &str) -> bool {
        self.templates.iter().any(|it| it == template)
    }
}

/// Every route, then every rule in force, by name.
pub async fn uses(
    connection: &impl ConnectionTrait,
) -> Result<Vec<CatalogueReferences>, StoreError> {
    let routes = query(
        connection,
        format!("SELECT x.name, x.catalogue, {ROUTE} FROM route x ORDER BY x.name"),
        [],
    )
    .await?;
    let mut all = Vec::with_capacity(routes.len());
    for row in &routes {
        let route = stored_route(row)?;
        all.push(CatalogueReferences {
            what: "route",
            name: column(row, "name")?,
            catalogue: nullable(row, "catalogue")?,
            recipients: route
                .recipients
                .iter()
                .chain(&route.about)
                .flat_map(|entry| each(entry))
                .collect(),
            templates: once(route.template)
                .chain(route.fallback_template)
                .collect(),
            message_kind: route.message_kind,
        });
    }
    let rules = query(
        connection,
        format!("SELECT {RULE}, catalogue FROM rule WHERE active = true ORDER BY name"),
        [],
    )
    .await?;
    for row in &rules {
        let FollowUpRule { name, send, .. } = stored_rule(row)?.rule;
        all.push(CatalogueReferences {
            what: "rule",
            name,
            catalogue: nullable(row, "catalogue")?,
            recipients: send.to.iter().flat_map(|entry| each(entry)).collect(),
            templates: once(send.template).chain(send.fallback_template).collect(),
            message_kind: send.kind,
        });
    }
    Ok(all)
}
