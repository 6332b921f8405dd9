//! A number that every commit on SQLite raises, for a reader to find; and what is written to
//! learn whether the database takes writes.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::ddl(manager, DOWN).await
    }
}

const UP: &str = r"
CREATE TABLE commit_marker (
    id integer PRIMARY KEY CHECK (id = 1),
    number bigint NOT NULL
);
INSERT INTO commit_marker (id, number) VALUES (1, 0);
";

const DOWN: &str = r"
DROP TABLE commit_marker;
";
