//! What everything that is done in one transaction has in common.

use super::Engine;
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// A transaction that is under way, of which engine, and when.
#[derive(Clone, Copy, Debug)]
pub struct TransactionContext<'a> {
    pub engine: &'a Engine,
    pub tx: &'a DatabaseTransaction,
    pub now: Timestamp,
}
