//! The template that a notification was made with, where a fallback has taken its place.

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
ALTER TABLE notification ADD COLUMN made_with {text};
";

const DOWN: &str = r"
ALTER TABLE notification DROP COLUMN made_with;
";
