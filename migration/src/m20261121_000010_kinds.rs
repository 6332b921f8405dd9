//! Messages of every kind: templates with more than a body, answers to a
//! message, and a template to fall back to.

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

-- Header, footer and buttons, as the catalogue says them (JSON).
ALTER TABLE template ADD COLUMN extras {text};

-- How long the provider tries to deliver it, in seconds.
ALTER TABLE template ADD COLUMN ttl_seconds bigint;

-- The provider's id of the message that this one answers.
ALTER TABLE notification ADD COLUMN reply_to {text};

-- The template that takes its place, once, should the window be closed (JSON).
ALTER TABLE notification ADD COLUMN fallback {text};

-- What was answered, where that cannot be found out again (JSON).
ALTER TABLE idempotency ADD COLUMN answer {text};
";

const DOWN: &str = r"
ALTER TABLE idempotency DROP COLUMN answer;
ALTER TABLE notification DROP COLUMN fallback;
ALTER TABLE notification DROP COLUMN reply_to;
ALTER TABLE template DROP COLUMN ttl_seconds;
ALTER TABLE template DROP COLUMN extras;
";
