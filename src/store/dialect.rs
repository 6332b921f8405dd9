//! Differences between the SQL of SQLite and PostgreSQL, and lists as one parameter.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, FromQueryResult, QueryResult, Statement,
    TryGetError, TryGetable, Value, Values,
};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{StoreError, list_bytes::bytes_of};

/// The type of one field of a list parameter.
#[derive(Clone, Copy, Debug)]
pub enum SqlListFieldType {
    Uuid,
    Text,
    Int,
    Bool,
    /// Written as hex digits in the JSON: for few bytes.
    Bytes,
    /// A [`ListSlice`]: for many bytes, which are in `$2`.
    ///
    /// [`ListSlice`]: super::list_bytes::ListSlice
    Slice,
}

/// A `FROM` item named `r` that reads the JSON array in `$1` as rows.
///
/// PostgreSQL: `json_to_recordset`. SQLite: `jsonb_each`.
pub fn rows(backend: DbBackend, columns: &[(&str, SqlListFieldType)]) -> String {
    let list = |each: &dyn Fn(&str, SqlListFieldType) -> String| {
        columns
            .iter()
            .map(|(name, kind)| each(name, *kind))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if backend == DbBackend::Postgres {
        let declared = list(&|name, kind| {
            let kind = match kind {
                SqlListFieldType::Uuid => "uuid",
                SqlListFieldType::Text | SqlListFieldType::Bytes => "text",
                SqlListFieldType::Int | SqlListFieldType::Slice => "bigint",
                SqlListFieldType::Bool => "boolean",
            };
            format!("{name} {kind}")
        });
        if columns
            .iter()
            .any(|(_, kind)| matches!(kind, SqlListFieldType::Bytes | SqlListFieldType::Slice))
        {
            let read = list(&|name, kind| match kind {
                SqlListFieldType::Bytes => format!("decode({name}, 'hex') AS {name}"),
                SqlListFieldType::Slice => format!("{} AS {name}", bytes_of(backend, name)),
                SqlListFieldType::Uuid
                | SqlListFieldType::Text
                | SqlListFieldType::Int
                | SqlListFieldType::Bool => name.to_owned(),
            });
            format!("(SELECT {read} FROM json_to_recordset($1::json) AS given({declared})) AS r")
        } else {
            format!("json_to_recordset($1::json) AS r({declared})")
        }
    } else {
        let read = list(&|name, kind| match kind {
            SqlListFieldType::Uuid | SqlListFieldType::Bytes => {
                format!("unhex(value->>'{name}') AS {name}")
            }
            SqlListFieldType::Slice => {
                let slice = format!("(value->>'{name}')");
                format!("{} AS {name}", bytes_of(backend, &slice))
            }
            SqlListFieldType::Text | SqlListFieldType::Int | SqlListFieldType::Bool => {
                format!("value->>'{name}' AS {name}")
            }
        });
        format!("(SELECT {read} FROM jsonb_each($1)) AS r")
    }
}

/// A `FROM` item: the rows of `table`, named `alias`, that `key` finds for each row of `given`.
///
/// The order is fixed: first the list, then one look into the index of the table for each of its
/// rows. PostgreSQL keeps a plan as long as its connection lives, and one that was made while the
/// table was empty, or believed to be, reads all of the table for every batch. `key` names the
/// columns of one index and no others. What else is asked of a row belongs into the `WHERE`, which
/// `OFFSET 0` keeps apart: no condition may lure the planner into another index. On SQLite, a
/// `CROSS JOIN` is never reordered.
pub fn matching(backend: DbBackend, given: &str, table: &str, alias: &str, key: &str) -> String {
    if backend == DbBackend::Postgres {
        format!(
            "{given} CROSS JOIN LATERAL (SELECT {alias}.* FROM {table} {alias} WHERE {key} OFFSET 0) AS {alias}"
        )
    } else {
        format!("{given} CROSS JOIN {table} {alias} ON {key}")
    }
}

/// The condition that `column` is `value`, for a key in a join that [`matching`] cannot form: of
/// the target of an `UPDATE`, or where the row's version is read.
///
/// An equality tempts PostgreSQL to walk the table in the order of its key and to look for each
/// row in the list. An array of one element finds the row by the same index, and has no order. Of
/// a key of several columns it is for the first: PostgreSQL looks for arrays in no other.
pub fn by_key(backend: DbBackend, column: &str, value: &str) -> String {
    if backend == DbBackend::Postgres {
        format!("{column} = ANY (ARRAY[{value}])")
    } else {
        format!("{column} = {value}")
    }
}

/// The condition that `column` is among the keys that `keys`, a `SELECT`, finds: they are read
/// once, before the table is looked into.
pub fn among(backend: DbBackend, column: &str, keys: &str) -> String {
    if backend == DbBackend::Postgres {
        format!("{column} = ANY (ARRAY({keys}))")
    } else {
        format!("{column} IN ({keys})")
    }
}

/// The condition that `column` is among the ids of [`ids`] in `$1`.
pub fn listed(backend: DbBackend, column: &str) -> String {
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    among(backend, column, &format!("SELECT r.id FROM {given}"))
}

/// Whether the database has a single writer.
pub fn is_sqlite(connection: &impl ConnectionTrait) -> bool {
    connection.get_database_backend() == DbBackend::Sqlite
}

/// The nil UUID as a literal.
pub fn nil(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres {
        "'00000000-0000-0000-0000-000000000000'::uuid"
    } else {
        "x'00000000000000000000000000000000'"
    }
}

/// `FOR UPDATE` and the like; SQLite has one writer and needs none.
pub fn locking(backend: DbBackend, clause: &'static str) -> &'static str {
    if backend == DbBackend::Postgres {
        clause
    } else {
        ""
    }
}

/// A list as the JSON parameter of [`rows`]. A field that is left out is null,
/// and costs less than one that says so.
pub fn list<T: Serialize>(items: &[T]) -> Result<Value, StoreError> {
    serde_json::to_string(items)
        .map(Value::from)
        .map_err(|error| StoreError::Refused(sea_orm::DbErr::Json(error.to_string())))
}

/// A UUID as 32 hex digits, which both databases read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexUuid(pub Uuid);

impl Serialize for HexUuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; uuid::fmt::Simple::LENGTH];
        serializer.serialize_str(self.0.simple().encode_lower(&mut buffer))
    }
}

/// One row of a list of ids.
#[derive(Debug, Serialize)]
pub struct IdRow {
    pub id: HexUuid,
}

/// A list of ids as the JSON parameter of [`rows`] with the one field `id`.
pub fn ids(ids: impl IntoIterator<Item = Uuid>) -> Result<Value, StoreError> {
    list(
        &ids.into_iter()
            .map(|id| IdRow { id: HexUuid(id) })
            .collect::<Vec<_>>(),
    )
}

/// A statement under way. One type for all of them, whatever they are called with: most functions
/// of this crate wait for some, and what they wait for is compiled into each.
pub struct DatabaseCall<'a, T>(Pin<Box<dyn Future<Output = Result<T, DbErr>> + Send + 'a>>);

impl<T> Future for DatabaseCall<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map_err(StoreError::from)
    }
}

pub fn execute(
    connection: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> DatabaseCall<'_, ExecResult> {
    let statement = statement(connection, sql.into(), values);
    DatabaseCall(connection.execute_raw(statement))
}

pub fn query(
    connection: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> DatabaseCall<'_, Vec<QueryResult>> {
    let statement = statement(connection, sql.into(), values);
    DatabaseCall(connection.query_all_raw(statement))
}

pub fn query_one(
    connection: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> DatabaseCall<'_, Option<QueryResult>> {
    let statement = statement(connection, sql.into(), values);
    DatabaseCall(connection.query_one_raw(statement))
}

fn statement(
    connection: &impl ConnectionTrait,
    sql: String,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement {
        sql,
        values: Some(Values(values.into_iter().collect())),
        db_backend: connection.get_database_backend(),
    }
}

/// The value in the column `name` of a row. For a value that may be null, see [`nullable`].
pub fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    Ok(row.try_get_by(name)?)
}

/// The value in the column `name` of a row, or none where it is null.
///
/// A missing column is an error here; as an `Option`, it would read as null.
pub fn nullable<T: TryGetable>(row: &QueryResult, name: &str) -> Result<Option<T>, StoreError> {
    match row.try_get_by_nullable(name) {
        Ok(value) => Ok(Some(value)),
        Err(TryGetError::Null(_)) => Ok(None),
        Err(TryGetError::DbErr(error)) => Err(error.into()),
    }
}

/// A row as a `T`: each field from the column of the same name.
///
/// An optional field whose column is missing reads as none: every field must be in the `SELECT`.
pub fn read_row<T: FromQueryResult>(row: &QueryResult) -> Result<T, StoreError> {
    Ok(T::from_query_result(row, "")?)
}

/// A pattern of LIKE, with `\` as its escape: whatever begins with a text.
pub fn begins_with(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!("{text}%")
}
