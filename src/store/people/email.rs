//! E-mail addresses of contacts.

use std::collections::HashMap;

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{PERSON, RecipientContact, insert_contact};
use crate::{
    domain::{email::EmailAddress, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            SqlListFieldType, column, execute, ids, list, matching, nullable, query, query_one,
            read_row, rows,
        },
    },
};

/// The oldest contact with an e-mail address, created if there is none. Unlike a number, an address
/// may be that of several people.
pub async fn ensure_email(
    tx: &DatabaseTransaction,
    address: &EmailAddress,
    now: Timestamp,
) -> Result<RecipientContact, StoreError> {
    let found = async || {
        let row = query_one(
            tx,
            format!(
                "SELECT {PERSON} FROM contact c WHERE lower(c.email) = $1 AND c.email IS NOT NULL \
                 AND c.deleted_at IS NULL AND c.merged_into IS NULL ORDER BY c.id LIMIT 1"
            ),
            [address.key().into()],
        )
        .await?;
        row.as_ref().map(read_row::<RecipientContact>).transpose()
    };
    if let Some(person) = found().await? {
        return Ok(person);
    }
    let id = insert_contact(tx, None, &[], now).await?;
    execute(
        tx,
        "UPDATE contact SET email = $2 WHERE id = $1",
        [id.into(), address.as_str().into()],
    )
    .await?;
    found().await?.ok_or(StoreError::Conflict)
}

#[derive(serde::Serialize)]
struct AskedMailbox<'a> {
    address: &'a str,
}

/// The contacts that have these mailboxes, by the mailbox as [`EmailAddress::key`] has it.
pub async fn sharing(
    connection: &impl ConnectionTrait,
    mailboxes: &[String],
) -> Result<HashMap<String, Vec<Uuid>>, StoreError> {
    let mut sharing: HashMap<String, Vec<Uuid>> = HashMap::new();
    if mailboxes.is_empty() {
        return Ok(sharing);
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("address", SqlListFieldType::Text)]);
    let is =
        |alias: &str| format!("lower({alias}.email) = r.address AND {alias}.email IS NOT NULL");
    let having = matching(backend, &given, "contact", "c", &is("c"));
    // Those that products have set are the mailboxes of the same people.
    let of_products = matching(backend, &given, "product_contact", "p", &is("p"));
    let asked: Vec<AskedMailbox<'_>> = mailboxes
        .iter()
        .map(|address| AskedMailbox { address })
        .collect();
    let found = query(
        connection,
        format!(
            "SELECT lower(c.email) AS address, c.id FROM {having} WHERE c.deleted_at IS NULL AND c.merged_into IS NULL \
             UNION SELECT lower(p.email), p.contact_id FROM {of_products}"
        ),
        [list(&asked)?],
    )
    .await?;
    for row in &found {
        let address: String = column(row, "address")?;
        sharing.entry(address).or_default().push(column(row, "id")?);
    }
    Ok(sharing)
}

/// The e-mail addresses of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactEmails {
    /// As the product that asks has set it.
    pub own: Option<String>,
    /// As an operator or a catalogue has set it.
    pub common: Option<String>,
    pub is_of_catalogue: bool,
}

impl ContactEmails {
    /// The address for a message: that of its product; else the common one, if there is no product,
    /// or the product may know it.
    pub fn of_message(self, product: Option<&str>, is_staff: bool) -> Option<String> {
        let is_shared = product.is_none() || is_staff || self.is_of_catalogue;
        self.own.or(self.common.filter(|_| is_shared))
    }
}

/// The e-mail addresses of these contacts, as far as a product knows them.
pub async fn emails_of(
    connection: &impl ConnectionTrait,
    product: Option<&str>,
    contacts: &[Uuid],
) -> Result<HashMap<Uuid, ContactEmails>, StoreError> {
    if contacts.is_empty() {
        return Ok(HashMap::new());
    }
    let given = rows(
        connection.get_database_backend(),
        &[("id", SqlListFieldType::Uuid)],
    );
    let found = query(
        connection,
        format!(
            "SELECT c.id, c.email, p.email AS own, c.catalogue IS NOT NULL AS is_of_catalogue FROM {given} CROSS JOIN contact c \
             LEFT JOIN product_contact p ON p.product = $2 AND p.contact_id = c.id WHERE c.id = r.id"
        ),
        [
            ids(contacts.iter().copied())?,
            product.unwrap_or_default().into(),
        ],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let emails = ContactEmails {
                own: nullable(row, "own")?,
                common: nullable(row, "email")?,
                is_of_catalogue: column(row, "is_of_catalogue")?,
            };
            Ok((column(row, "id")?, emails))
        })
        .collect()
}
