//! Who may use the API.

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

CREATE TABLE api_key (
    id            {uuid} NOT NULL PRIMARY KEY,
    created_at    bigint NOT NULL,
    name          {text} NOT NULL,
    prefix        {text} NOT NULL,
    digest        {bytes} NOT NULL UNIQUE,
    revoked_at    bigint
);

";

const DOWN: &str = r"
DROP TABLE api_key;
";
