//! Room in memory for bodies on their way to the database, taken as their bytes arrive.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::Busy;

/// A body up to this size is an ordinary callback, in bytes.
const ORDINARY_BYTES: usize = 256 * 1024;

/// Who sends a body, as far as room is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An address that has signed well lately.
    Known,
    /// Any other: they share a quarter of the room, so that the rest stays free of them.
    Stranger,
}

/// All the room there is.
#[derive(Debug)]
pub(super) struct Rooms {
    /// For ordinary callbacks, and for large ones, which must not keep the others waiting.
    ordinary: Shares,
    large: Shares,
}

#[derive(Debug)]
struct Shares {
    known: Pool,
    strangers: Pool,
}

/// Room that bodies of one kind share.
#[derive(Clone, Debug)]
struct Pool {
    kibibytes: Arc<Semaphore>,
    /// However full the pool is, one body at a time may be finished beyond it: otherwise all
    /// could wait for each other, each holding a part.
    beyond: Arc<Semaphore>,
}

impl Pool {
    fn new(bytes: usize) -> Self {
        Self {
            kibibytes: Arc::new(Semaphore::new(bytes / 1024)),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Shares {
    fn new(bytes: usize) -> Self {
        Self {
            known: Pool::new(bytes / 4 * 3),
            strangers: Pool::new(bytes / 4),
        }
    }
}

impl Rooms {
    /// So many bytes, and four of the largest bodies beyond them at the most.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            ordinary: Shares::new(max_bytes / 4),
            large: Shares::new(max_bytes / 4 * 3),
        }
    }

    /// Room for a body that announces so many bytes. Nothing is taken yet.
    pub(super) fn room(&self, announced: usize, origin: Origin, max_wait: Duration) -> Room {
        let shares = if announced <= ORDINARY_BYTES {
            &self.ordinary
        } else {
            &self.large
        };
        let pool = match origin {
            Origin::Known => &shares.known,
            Origin::Stranger => &shares.strangers,
        };
        Room {
            pool: pool.clone(),
            taken: None,
            beyond: None,
            until: Instant::now() + max_wait,
        }
    }
}

/// Room for one body: what is in memory is bounded, however many connections there are, and
/// what is only announced takes none. Given back however the wait ends, a client that hangs
/// up included.
#[derive(Debug)]
pub struct Room {
    pool: Pool,
    taken: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
    until: Instant,
}

impl Room {
    /// Takes what a body of so many bytes needs beyond what it has; waits until there is room.
    ///
    /// # Errors
    /// [`Busy::Full`] when the longest wait has passed since the room was asked for, and there
    /// is none.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), Busy> {
        let held = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = kibibytes(bytes).saturating_sub(held);
        if missing == 0 || self.beyond.is_some() {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.pool.kibibytes).try_acquire_many_owned(missing);
        if let Ok(more) = free {
            self.add(more);
            return Ok(());
        }
        let waiting = async {
            tokio::select! {
                biased;
                more = Arc::clone(&self.pool.kibibytes).acquire_many_owned(missing) => (more.ok(), None),
                turn = Arc::clone(&self.pool.beyond).acquire_owned() => (None, turn.ok()),
            }
        };
        match timeout_at(self.until, waiting).await {
            Ok((Some(more), _)) => self.add(more),
            Ok((None, Some(turn))) => self.beyond = Some(turn),
            Ok((None, None)) => return Err(Busy::Failed),
            Err(_) => return Err(Busy::Full),
        }
        Ok(())
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
    }
}

/// Room is counted in KiB.
const fn kibibytes(bytes: usize) -> usize {
    if bytes == 0 { 1 } else { bytes.div_ceil(1024) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Busy, Origin, Rooms};

    const MEBIBYTE: usize = 1024 * 1024;
    const NO_WAIT: Duration = Duration::ZERO;

    #[tokio::test]
    async fn what_is_announced_and_does_not_come_takes_hardly_any_room() {
        let rooms = Rooms::new(32 * MEBIBYTE);
        let mut idle = Vec::new();
        for _ in 0..200 {
            let mut room = rooms.room(256 * 1024, Origin::Stranger, NO_WAIT);
            room.grow(1).await.unwrap();
            idle.push(room);
        }
        let mut good = rooms.room(1024, Origin::Stranger, NO_WAIT);
        good.grow(1024).await.unwrap();
        let mut large = rooms.room(256 * 1024, Origin::Stranger, NO_WAIT);
        large.grow(256 * 1024).await.unwrap();
    }

    #[tokio::test]
    async fn strangers_leave_room_for_known_senders() {
        let rooms = Rooms::new(4 * MEBIBYTE);
        let mut held = Vec::new();
        let refused = loop {
            let mut room = rooms.room(64 * 1024, Origin::Stranger, NO_WAIT);
            match room.grow(64 * 1024).await {
                Ok(()) => held.push(room),
                Err(reason) => break reason,
            }
        };
        assert_eq!(refused, Busy::Full);
        let mut good = rooms.room(64 * 1024, Origin::Known, NO_WAIT);
        good.grow(64 * 1024).await.unwrap();
    }

    #[tokio::test]
    async fn bodies_that_hold_parts_of_a_full_pool_are_finished_one_by_one() {
        let rooms = Rooms::new(4 * MEBIBYTE);
        let wait = Duration::from_secs(20);
        let bodies = (0..20).map(|_| async {
            let mut room = rooms.room(2 * MEBIBYTE, Origin::Known, wait);
            for part in 1..=32 {
                room.grow(part * 64 * 1024).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Busy>(())
        });
        let ended = futures_util::future::join_all(bodies).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    }
}
