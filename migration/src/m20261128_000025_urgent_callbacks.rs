//! Callbacks of two classes, what people write and news of accounts before statuses; and events
//! that are being expanded, found without looking at all.

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

// What the version before stores beside this one says nothing of its class: it goes first.
const UP: &str = r"
ALTER TABLE callback ADD COLUMN urgent {bool} NOT NULL DEFAULT true;
CREATE INDEX callback_unapplied ON callback (urgent, leased_until) WHERE processed_at IS NULL;
DROP INDEX callback_waiting;
CREATE INDEX event_expanding ON event (id) WHERE state = 'expanding';
";

const DOWN: &str = r"
DROP INDEX event_expanding;
CREATE INDEX callback_waiting ON callback (leased_until) WHERE processed_at IS NULL;
DROP INDEX callback_unapplied;
ALTER TABLE callback DROP COLUMN urgent;
";
