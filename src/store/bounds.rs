//! Bounds of a caller as SQL conditions: the only place that decides which rows an API key may see.

use sea_orm::{
    ColumnTrait, Condition, Value,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use uuid::Uuid;

use super::{StoreError, dialect::query_one};
use crate::domain::access::AccessBounds;

/// Columns of a table, each with its allowed values; empty: every row.
#[derive(Clone, Debug, Default)]
pub struct AccessBoundsFilter(Vec<(&'static str, Vec<Value>)>);

/// A condition in a statement that is written out, with the values of its parameters. It
/// begins with ` AND `, or is empty.
#[derive(Clone, Debug, Default)]
pub struct SqlCondition {
    pub sql: String,
    pub values: Vec<Value>,
}

impl AccessBoundsFilter {
    /// For a statement from the query builder.
    pub fn condition(self) -> Condition {
        self.0
            .into_iter()
            .fold(Condition::all(), |all, (column, values)| {
                all.add(Expr::col(Alias::new(column)).is_in(values))
            })
    }

    /// For a statement written as text that has `used` parameters before this.
    pub fn piece(self, alias: &str, used: usize) -> SqlCondition {
        let mut piece = SqlCondition::default();
        for (column, values) in self.0 {
            let places = numbered(used + piece.values.len(), values.len());
            piece.sql = format!("{} AND {alias}.{column} IN ({places})", piece.sql);
            piece.values.extend(values);
        }
        piece
    }
}

/// So many placeholders after those in use.
fn numbered(used: usize, count: usize) -> String {
    let places: Vec<String> = (used + 1..=used + count)
        .map(|place| format!("${place}"))
        .collect();
    places.join(", ")
}

fn of_product(bounds: &AccessBounds, sender: Option<&'static str>) -> AccessBoundsFilter {
    let Some(product) = bounds.product() else {
        return AccessBoundsFilter::default();
    };
    let mut limits = vec![("product", vec![Value::from(product.name.as_str())])];
    if let Some(column) = sender.filter(|_| !product.senders.is_empty()) {
        limits.push((column, values(&product.senders)));
    }
    AccessBoundsFilter(limits)
}

fn values(ids: &[Uuid]) -> Vec<Value> {
    ids.iter().copied().map(Value::from).collect()
}

/// Events that the product posted.
pub fn of_events(bounds: &AccessBounds) -> AccessBoundsFilter {
    of_product(bounds, None)
}

/// Verifications that the product asked for.
pub fn of_verifications(bounds: &AccessBounds) -> AccessBoundsFilter {
    of_product(bounds, None)
}

/// Notifications of the product, sent by the caller's senders.
pub fn of_notifications(bounds: &AccessBounds) -> AccessBoundsFilter {
    of_product(bounds, Some("sender_id"))
}

/// The counters of its notifications.
pub fn of_counters(bounds: &AccessBounds) -> AccessBoundsFilter {
    of_product(bounds, Some("sender_id"))
}

/// Definitions in the caller's catalogue.
pub fn of_catalogue(bounds: &AccessBounds) -> AccessBoundsFilter {
    match bounds.catalogue() {
        None => AccessBoundsFilter::default(),
        Some(own) => AccessBoundsFilter(vec![("catalogue", vec![Value::from(own)])]),
    }
}

/// Inbound messages to the caller's senders, or in answer to its notifications. No caller has those
/// that were erased.
pub fn of_messages(bounds: &AccessBounds) -> Condition {
    let left = entity::inbound_message::Column::ErasedAt.is_null();
    let left = Condition::all().add(left);
    if bounds.product().is_none() {
        return left;
    }
    let answered: SelectStatement = Query::select()
        .expr(Expr::val(1))
        .from(entity::notification::Entity)
        .and_where(
            Expr::col((
                entity::notification::Entity,
                entity::notification::Column::Id,
            ))
            .equals((
                entity::inbound_message::Entity,
                entity::inbound_message::Column::NotificationId,
            )),
        )
        .cond_where(of_notifications(bounds).condition())
        .to_owned();
    let mut own = Condition::any().add(Expr::exists(answered));
    if !bounds.senders().is_empty() {
        let sender = Expr::col((
            entity::inbound_message::Entity,
            entity::inbound_message::Column::SenderId,
        ));
        own = own.add(sender.is_in(values(bounds.senders())));
    }
    left.add(own)
}

/// Windows of a contact that the caller knows: with its senders, or with those that its
/// notifications to them went out by.
pub fn of_windows(bounds: &AccessBounds, contact: Uuid) -> Condition {
    use entity::{conversation, notification};
    if bounds.product().is_none() {
        return Condition::all();
    }
    let used: SelectStatement = Query::select()
        .column(notification::Column::SenderId)
        .from(notification::Entity)
        .and_where(notification::Column::ContactId.eq(contact))
        .and_where(notification::Column::SenderId.is_not_null())
        .cond_where(of_notifications(bounds).condition())
        .to_owned();
    let mut own = Condition::any().add(conversation::Column::SenderId.in_subquery(used));
    if !bounds.senders().is_empty() {
        own = own.add(conversation::Column::SenderId.is_in(bounds.senders().iter().copied()));
    }
    own
}

/// Contacts `c`: those that its product has made or reached, that have written to its senders,
/// and those of its catalogue.
pub fn of_contacts(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let Some(product) = bounds.product() else {
        return SqlCondition::default();
    };
    let mut values = vec![Value::from(product.name.as_str())];
    let mut ways = vec![format!(
        "EXISTS (SELECT 1 FROM product_contact b WHERE b.product = ${} AND b.contact_id = c.id)",
        used + 1
    )];
    if !product.senders.is_empty() {
        let places = numbered(used + values.len(), product.senders.len());
        ways.push(format!(
            "EXISTS ({})",
            written(&places, "v.contact_id = c.id")
        ));
        values.extend(self::values(&product.senders));
    }
    if let Some(catalogue) = &product.catalogue {
        values.push(Value::from(catalogue.as_str()));
        ways.push(format!("c.catalogue = ${}", used + values.len()));
    }
    SqlCondition {
        sql: format!(" AND ({})", ways.join(" OR ")),
        values,
    }
}

/// Whether the contact `c` has written to the caller's senders, as an expression.
pub fn wrote_to(bounds: &AccessBounds, used: usize) -> SqlCondition {
    if bounds.senders().is_empty() {
        return SqlCondition {
            sql: "1 = 0".to_owned(),
            values: Vec::new(),
        };
    }
    let places = numbered(used, bounds.senders().len());
    SqlCondition {
        sql: format!("EXISTS ({})", written(&places, "v.contact_id = c.id")),
        values: values(bounds.senders()),
    }
}

/// Contacts that have written to senders.
fn written(senders: &str, condition: &str) -> String {
    format!(
        "SELECT v.contact_id FROM conversation v WHERE v.sender_id IN ({senders}) AND {condition} \
         AND v.last_inbound_at IS NOT NULL"
    )
}

/// The ids of [`of_contacts`] behind the one in `$after`, as many as `$limit` says of each way:
/// a page of few among many is not looked for among all.
pub fn contacts_after(
    bounds: &AccessBounds,
    after: usize,
    limit: usize,
    used: usize,
) -> SqlCondition {
    let Some(product) = bounds.product() else {
        return SqlCondition::default();
    };
    let mut values = vec![Value::from(product.name.as_str())];
    let page = |table: &str, column: &str, condition: String| {
        format!(
            "SELECT x.{column} FROM (SELECT t.{column} FROM {table} t WHERE {condition} \
             AND t.{column} > ${after} ORDER BY t.{column} LIMIT ${limit}) AS x"
        )
    };
    let mut ways = vec![page(
        "product_contact",
        "contact_id",
        format!("t.product = ${}", used + 1),
    )];
    for sender in &product.senders {
        values.push(Value::from(*sender));
        let condition = format!(
            "t.sender_id = ${} AND t.last_inbound_at IS NOT NULL",
            used + values.len()
        );
        ways.push(page("conversation", "contact_id", condition));
    }
    if let Some(catalogue) = &product.catalogue {
        values.push(Value::from(catalogue.as_str()));
        let condition = format!("t.catalogue = ${}", used + values.len());
        ways.push(page("contact", "id", condition));
    }
    SqlCondition {
        sql: format!(" AND c.id IN ({})", ways.join(" UNION ")),
        values,
    }
}

/// Aliases `a` of the contact `c` that the caller knows: those that its product has used or given,
/// the provider's ids, and all aliases of a contact that has written to its senders or is in its
/// catalogue.
pub fn of_aliases(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let Some(product) = bounds.product() else {
        return SqlCondition::default();
    };
    let mut values = vec![Value::from(product.name.as_str())];
    let mut ways = vec![format!(
        // Not the provider's form of the same number: it would reveal that others know the number.
        "EXISTS (SELECT 1 FROM product_address k WHERE k.product = ${} AND k.contact_id = a.contact_id \
         AND k.address = a.value)",
        used + 1
    )];
    if !product.senders.is_empty() {
        let places = numbered(used + values.len(), product.senders.len());
        // A number from another product is not shown for a contact that the caller only sends to.
        ways.push(format!(
            "((a.kind <> 'phone' OR a.seen_at IS NOT NULL) AND EXISTS ({}))",
            written(&places, "v.contact_id = a.contact_id")
        ));
        values.extend(self::values(&product.senders));
    }
    if let Some(catalogue) = &product.catalogue {
        values.push(Value::from(catalogue.as_str()));
        ways.push(format!(
            "EXISTS (SELECT 1 FROM contact o WHERE o.id = a.contact_id AND o.catalogue = ${})",
            used + values.len()
        ));
    }
    SqlCondition {
        sql: format!(" AND ({})", ways.join(" OR ")),
        values,
    }
}

/// Whether a caller may see a contact.
pub async fn has_contact(
    connection: &impl sea_orm::ConnectionTrait,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<bool, StoreError> {
    let SqlCondition { sql, values } = of_contacts(bounds, 1);
    let row = query_one(
        connection,
        format!("SELECT c.id FROM contact c WHERE c.id = $1 AND c.deleted_at IS NULL{sql}"),
        std::iter::once(Value::from(contact)).chain(values),
    )
    .await?;
    Ok(row.is_some())
}
