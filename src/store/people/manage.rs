//! Reads contacts for management and lists.

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::{RecipientContact, person_known};
use crate::{
    domain::{access::AccessBounds, email::EmailAddress, quiet::QuietHours},
    store::{
        DatabaseTransaction, Store, StoreError,
        bounds::{SqlCondition, contacts_after, of_aliases, of_contacts, wrote_to},
        dialect::{begins_with, execute, nullable, query, query_one, read_row},
    },
};

/// Details of a contact besides its aliases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactDetails {
    pub name: Option<String>,
    pub handle: Option<String>,
    /// Where e-mail goes.
    pub email: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    pub quiet_hours: Option<QuietHours>,
    pub catalogue: Option<String>,
    /// The person's own profile name; it cannot be set by hand.
    pub profile_name: Option<String>,
    pub username: Option<String>,
}

/// Details of a contact within the caller's bounds, as its product or catalogue knows it. `None`
/// for a deleted contact.
pub async fn details(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Option<ContactDetails>, StoreError> {
    let SqlCondition { sql, mut values } = of_contacts(bounds, 1);
    let columns = "name, handle, email, language, time_zone, quiet_from, quiet_until";
    let (columns, joined) = match bounds {
        AccessBounds::All => (
            format!("{columns}, catalogue, profile_name, username"),
            String::new(),
        ),
        AccessBounds::Product(product) => {
            // The first parameter of the condition is the product, too.
            let joined = " LEFT JOIN product_contact p ON p.product = $2 AND p.contact_id = c.id";
            let common = product.catalogue.as_ref().map_or_else(
                || "NULL".to_owned(),
                |catalogue| {
                    values.push(catalogue.as_str().into());
                    format!("CASE WHEN c.catalogue = ${} THEN c.", values.len() + 1)
                },
            );
            let each = |column: &str| match product.catalogue {
                None => format!("p.{column}"),
                Some(_) => format!("coalesce(p.{column}, {common}{column} END) AS {column}"),
            };
            let mut all: Vec<String> = columns.split(", ").map(each).collect();
            all.push(match product.catalogue {
                None => "NULL AS catalogue".to_owned(),
                Some(_) => format!("{common}catalogue END AS catalogue"),
            });
            // A profile name is shown to the product that the person wrote to.
            let wrote = wrote_to(bounds, 1 + values.len());
            values.extend(wrote.values);
            for column in ["profile_name", "username"] {
                all.push(format!(
                    "CASE WHEN {} THEN c.{column} END AS {column}",
                    wrote.sql
                ));
            }
            (all.join(", "), joined.to_owned())
        }
    };
    let row = query_one(
        connection,
        format!(
            "SELECT {columns} FROM contact c{joined} WHERE c.id = $1 AND c.deleted_at IS NULL{sql}"
        ),
        std::iter::once(contact.into()).chain(values),
    )
    .await?;
    row.map(|row| {
        Ok(ContactDetails {
            name: nullable(&row, "name")?,
            handle: nullable(&row, "handle")?,
            email: nullable(&row, "email")?,
            language: nullable(&row, "language")?,
            time_zone: nullable(&row, "time_zone")?,
            quiet_hours: QuietHours::stored(
                nullable(&row, "quiet_from")?,
                nullable(&row, "quiet_until")?,
            ),
            catalogue: nullable(&row, "catalogue")?,
            profile_name: nullable(&row, "profile_name")?,
            username: nullable(&row, "username")?,
        })
    })
    .transpose()
}

pub async fn set_details(
    tx: &DatabaseTransaction,
    contact: Uuid,
    details: &ContactDetails,
) -> Result<(), StoreError> {
    let (from, until) = details
        .quiet_hours
        .map(QuietHours::minutes)
        .map_or((None, None), |(from, until)| (Some(from), Some(until)));
    execute(
        tx,
        "UPDATE contact SET name = $2, handle = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7, email = $8 WHERE id = $1",
        [
            contact.into(),
            details.name.clone().into(),
            details.handle.clone().into(),
            details.language.clone().into(),
            details.time_zone.clone().into(),
            from.into(),
            until.into(),
            details.email.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Which contacts a list has.
#[derive(Clone, Copy, Debug)]
pub enum ContactFilter<'a> {
    All,
    /// Those whose name, handle, mailbox or number begins with this.
    Beginning(&'a str),
    /// Those who have this mailbox.
    Mailbox(&'a EmailAddress),
}

/// Contacts within the caller's bounds after an id, in order of id.
pub async fn page(
    store: &Store,
    bounds: &AccessBounds,
    filter: ContactFilter<'_>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<RecipientContact>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = after.unwrap_or(Uuid::nil());
    let wanted = match filter {
        ContactFilter::All => None,
        // A username is shown with a sign before it.
        ContactFilter::Beginning(text) => Some(begins_with(text.strip_prefix('@').unwrap_or(text))),
        ContactFilter::Mailbox(address) => Some(address.key()),
    };
    let found = match wanted {
        None => {
            let person = person_known(bounds, 2);
            let own = contacts_after(bounds, 1, 2, 2 + person.values.len());
            query(
                store.reader(),
                format!(
                    "SELECT {} FROM contact c WHERE c.id > $1 AND c.deleted_at IS NULL AND c.merged_into IS NULL{} ORDER BY c.id LIMIT $2",
                    person.sql, own.sql
                ),
                [after.into(), limit.into()]
                    .into_iter()
                    .chain(person.values)
                    .chain(own.values),
            )
            .await?
        }
        Some(wanted) => {
            let person = person_known(bounds, 3);
            let own = of_contacts(bounds, 3 + person.values.len());
            let used = 3 + person.values.len() + own.values.len();
            let SqlCondition { sql, values } = match filter {
                ContactFilter::Mailbox(_) => has_mailbox(bounds, used),
                _ => begins(bounds, used),
            };
            query(
                store.reader(),
                format!(
                    "SELECT {} FROM contact c WHERE c.id > $1 AND c.deleted_at IS NULL AND c.merged_into IS NULL{} AND ({sql}) ORDER BY c.id LIMIT $2",
                    person.sql, own.sql
                ),
                [after.into(), limit.into(), wanted.into()]
                    .into_iter()
                    .chain(person.values)
                    .chain(own.values)
                    .chain(values),
            )
            .await?
        }
    };
    found.iter().map(read_row).collect()
}

/// Whether the contact `c` has the mailbox in `$3`, as far as the caller knows.
fn has_mailbox(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let is = |column: &str| format!("(lower({column}) = $3 AND {column} IS NOT NULL)");
    known(bounds, used, &["email"], is)
}

/// Whether a name, handle, mailbox or number of the contact `c` that the caller knows begins with the
/// pattern in `$3`.
fn begins(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let like = |column: &str| format!("lower({column}) LIKE lower($3) ESCAPE '\\'");
    let aliases = of_aliases(bounds, used);
    let columns: &[&str] = match bounds {
        AccessBounds::All => &["name", "handle", "email", "profile_name", "username"],
        AccessBounds::Product(_) => &["name", "handle", "email"],
    };
    let named = known(bounds, used + aliases.values.len(), columns, like);
    let numbered = format!(
        "c.id IN (SELECT a.contact_id FROM contact_alias a WHERE a.value LIKE $3 ESCAPE '\\'{})",
        aliases.sql
    );
    SqlCondition {
        sql: format!("{numbered} OR {}", named.sql),
        values: aliases.values.into_iter().chain(named.values).collect(),
    }
}

/// Whether one of these columns of the contact `c` passes a test: of those that the caller knows.
fn known(
    bounds: &AccessBounds,
    used: usize,
    columns: &[&str],
    test: impl Fn(&str) -> String,
) -> SqlCondition {
    let any = |table: &str| {
        let each = columns
            .iter()
            .map(|column| test(&format!("{table}.{column}")));
        each.collect::<Vec<String>>().join(" OR ")
    };
    let Some(product) = bounds.product() else {
        return SqlCondition {
            sql: any("c"),
            values: Vec::new(),
        };
    };
    let mut values = vec![Value::from(product.name.as_str())];
    let mut sql = format!(
        "EXISTS (SELECT 1 FROM product_contact p WHERE p.product = ${} AND p.contact_id = c.id AND ({}))",
        used + 1,
        any("p")
    );
    if let Some(catalogue) = &product.catalogue {
        values.push(catalogue.as_str().into());
        sql = format!("{sql} OR (c.catalogue = ${} AND ({}))", used + 2, any("c"));
    }
    SqlCondition { sql, values }
}
