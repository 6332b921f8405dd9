//! Ids of attempts, which travel to the provider and come back with its statuses.
//!
//! The last 32 bits of an id are a digest of the others under the installation's id. So an
//! installation recognizes its own ids even after a restore removed their rows. An id of another
//! program looks like ours with a chance of one in four thousand million.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What travels with a message and comes back with its statuses: the attempt, and its
/// notification, whose row has all that a status changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReference {
    pub attempt: Uuid,
    /// Absent in one that was not written by this version: it is looked up.
    pub notification: Option<Uuid>,
}

impl fmt::Display for AttemptReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.attempt)?;
        self.notification
            .map_or(Ok(()), |notification| write!(formatter, ".{notification}"))
    }
}

impl FromStr for AttemptReference {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (attempt, notification) = match text.split_once('.') {
            Some((attempt, notification)) => (attempt, Some(notification.parse()?)),
            None => (text, None),
        };
        Ok(Self {
            attempt: attempt.parse()?,
            notification,
        })
    }
}

/// The bits of an id that are the digest.
const MARK: u128 = 0xffff_ffff;

/// Adds the installation's mark to an id.
pub fn marked(installation: Uuid, id: Uuid) -> Uuid {
    let id = id.as_u128() & !MARK;
    Uuid::from_u128(id | digest(installation, id))
}

/// Whether an id has the mark of this installation.
pub fn is_ours(installation: Uuid, id: Uuid) -> bool {
    marked(installation, id) == id
}

fn digest(installation: Uuid, id: u128) -> u128 {
    let digest = Sha256::new()
        .chain_update(b"herald attempt id")
        .chain_update(installation.as_bytes())
        .chain_update(id.to_be_bytes())
        .finalize();
    digest
        .iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{AttemptReference, is_ours, marked};

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        let attempt = Uuid::from_u128(0x0197_7777_7777_7777_8888_0000_0000_1234);
        for notification in [None, Some(Uuid::from_u128(5))] {
            let reference = AttemptReference {
                attempt,
                notification,
            };
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        for wrong in ["", ".", "7", &format!("{attempt}."), &format!(".{attempt}")] {
            assert!(wrong.parse::<AttemptReference>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_is_known_again_by_its_installation_and_by_no_other() {
        let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let plain = Uuid::from_u128(0x0197_7777_7777_7777_8888_0000_0000_1234);
        let id = marked(ours, plain);
        assert!(is_ours(ours, id) && !is_ours(theirs, id) && !is_ours(ours, plain));
        assert_eq!(id.as_u128() >> 32, plain.as_u128() >> 32, "its time stays");
        assert_eq!(marked(ours, id), id);
    }

    #[test]
    fn ids_that_differ_only_in_their_sequence_stay_different() {
        let ours = Uuid::from_u128(9);
        let mut all: Vec<Uuid> = (0..1000)
            .map(|step| marked(ours, Uuid::from_u128(0x0197 << 112 | step << 32)))
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }
}
