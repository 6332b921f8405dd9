//! Contacts that were deleted: notifications, which are kept for long, still point at them.

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
ALTER TABLE contact ADD COLUMN deleted_at bigint;
";

const DOWN: &str = r"
ALTER TABLE contact DROP COLUMN deleted_at;
";
