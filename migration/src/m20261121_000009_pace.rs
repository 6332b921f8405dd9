//! What slows a sender down, and for how long.

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

-- Asked to slow down: to so many thousandths of the pace, at this time.
ALTER TABLE sender ADD COLUMN slowed_to bigint NOT NULL DEFAULT 1000;
ALTER TABLE sender ADD COLUMN slowed_at bigint NOT NULL DEFAULT 0;

-- Reported as spam: no marketing until then.
ALTER TABLE sender ADD COLUMN marketing_held_until bigint;
";

const DOWN: &str = r"
ALTER TABLE sender DROP COLUMN marketing_held_until;
ALTER TABLE sender DROP COLUMN slowed_at;
ALTER TABLE sender DROP COLUMN slowed_to;
";
