//! When callbacks last named each number: `sender.last_seen` is written at most every 30 seconds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keyring::REVISION;
use crate::{
    domain::{bounded_map::BoundedMap, horizon, time::Timestamp},
    engine::Engine,
    store::{StoreError, sender, setting},
};

/// Minimum time between two writes for one number, in microseconds.
const AGAIN_MICROS: i64 = 30_000_000;

/// The most numbers that are remembered: callbacks may name any.
const MOST: usize = 10_000;

/// A number that a callback named.
#[derive(Clone, Copy, Debug)]
pub struct SenderNumberMention<'a> {
    /// The provider's id of the number.
    pub number: &'a str,
    pub account: Option<&'a str>,
    /// The displayed number, digits only.
    pub display_number: Option<&'a str>,
}

/// The owned form of [`SenderNumberMention`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OwnedSenderNumberMention {
    number: String,
    account: Option<String>,
    display_number: Option<String>,
}

/// The time at which each number was last written.
#[derive(Debug, Default)]
pub struct SenderLastSeen {
    at: Mutex<BoundedMap<String, Timestamp, MOST>>,
}

impl SenderLastSeen {
    /// Records that callbacks named these numbers, with their accounts.
    pub async fn note<'a>(
        &self,
        engine: &Engine,
        numbers: impl Iterator<Item = SenderNumberMention<'a>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let due = self.due(numbers, now);
        if due.is_empty() {
            return Ok(());
        }
        let ring = engine.keyring();
        engine
            .store
            .write(async |tx| {
                for due in &due {
                    // Ignore an account id that belongs to a different app.
                    let account = due
                        .account
                        .as_deref()
                        .filter(|account| ring.may_be_in(&due.number, account));
                    let display_number = due.display_number.as_deref();
                    if sender::set_last_seen(tx, &due.number, account, display_number, now).await? {
                        setting::count_up(tx, REVISION, now).await?;
                    }
                }
                Ok(())
            })
            .await?;
        self.remember(due.into_iter().map(|due| due.number), now);
        Ok(())
    }

    /// The numbers that were not written recently.
    fn due<'a>(
        &self,
        numbers: impl Iterator<Item = SenderNumberMention<'a>>,
        now: Timestamp,
    ) -> Vec<OwnedSenderNumberMention> {
        let heard = self.lock();
        let mut due: Vec<OwnedSenderNumberMention> = Vec::new();
        for mention in numbers {
            let lately = heard
                .get(mention.number)
                .is_some_and(|at| horizon::is_recent(*at, now, AGAIN_MICROS));
            if !lately && due.last().is_none_or(|last| last.number != mention.number) {
                due.push(OwnedSenderNumberMention {
                    number: mention.number.to_owned(),
                    account: mention.account.map(str::to_owned),
                    display_number: mention.display_number.map(str::to_owned),
                });
            }
        }
        due.sort_unstable();
        due.dedup();
        due
    }

    fn remember(&self, numbers: impl ExactSizeIterator<Item = String>, now: Timestamp) {
        self.lock().insert_all(numbers.map(|number| (number, now)));
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<String, Timestamp, MOST>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, SenderLastSeen, SenderNumberMention};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_number_is_due_once_in_half_a_minute() {
        let heard = SenderLastSeen::default();
        let now = Timestamp::from_unix_seconds(1);
        let mention = |number, account| SenderNumberMention {
            number,
            account,
            display_number: None,
        };
        let numbers = || {
            [
                mention("1", None),
                mention("1", None),
                mention("2", Some("a")),
            ]
            .into_iter()
        };
        assert_eq!(heard.due(numbers(), now).len(), 2);
        heard.remember(["1".to_owned()].into_iter(), now);
        assert_eq!(heard.due(numbers(), now.plus_seconds(29)).len(), 1);
        assert_eq!(heard.due(numbers(), now.plus_seconds(30)).len(), 2);
    }

    #[test]
    fn however_many_numbers_are_named_few_are_remembered() {
        let heard = SenderLastSeen::default();
        let now = Timestamp::from_unix_seconds(1);
        for number in 0..MOST * 2 + 5 {
            heard.remember([number.to_string()].into_iter(), now);
            assert!(heard.lock().len() <= MOST);
        }
        let many: Vec<String> = (0..MOST * 2).map(|number| number.to_string()).collect();
        heard.remember(many.into_iter(), now);
        assert_eq!(heard.lock().len(), MOST);
    }
}
