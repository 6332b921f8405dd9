//! Which numbers were heard of lately, so that it is written down now and then only.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::{horizon, time::Timestamp},
    engine::{Engine, keyring::REVISION},
    store::{StoreError, sender, setting},
};

/// That a number was heard of is written down once in so many microseconds.
const AGAIN_MICROS: i64 = 30_000_000;

/// So many numbers are remembered: callbacks may name any.
const MOST: usize = 10_000;

/// Numbers with the time at which each was last written down.
#[derive(Debug, Default)]
pub struct Heard {
    at: Mutex<HashMap<String, Timestamp>>,
}

impl Heard {
    /// Notes that these numbers were heard of, with their accounts.
    pub async fn note<'a>(
        &self,
        engine: &Engine,
        numbers: impl Iterator<Item = (&'a str, Option<&'a str>)>,
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
                for (number, account) in &due {
                    // No number walks into an account of another app.
                    let account = account
                        .as_deref()
                        .filter(|account| ring.may_be_in(number, account));
                    if sender::heard(tx, number, account, now).await? {
                        setting::count_up(tx, REVISION, now).await?;
                    }
                }
                Ok(())
            })
            .await?;
        self.remember(due.into_iter().map(|(number, _)| number), now);
        Ok(())
    }

    /// Those that were not written down lately.
    fn due<'a>(
        &self,
        numbers: impl Iterator<Item = (&'a str, Option<&'a str>)>,
        now: Timestamp,
    ) -> Vec<(String, Option<String>)> {
        let heard = self.lock();
        let mut due: Vec<(String, Option<String>)> = Vec::new();
        for (number, account) in numbers {
            let lately = heard
                .get(number)
                .is_some_and(|at| horizon::is_recent(*at, now, AGAIN_MICROS));
            if !lately && due.last().is_none_or(|(last, _)| last != number) {
                due.push((number.to_owned(), account.map(str::to_owned)));
            }
        }
        due.sort_unstable();
        due.dedup();
        due
    }

    fn remember(&self, numbers: impl ExactSizeIterator<Item = String>, now: Timestamp) {
        let mut heard = self.lock();
        if heard.len() + numbers.len() > MOST {
            heard.clear();
        }
        heard.extend(numbers.take(MOST).map(|number| (number, now)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, MOST};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_number_is_due_once_in_half_a_minute() {
        let heard = Heard::default();
        let now = Timestamp::from_unix_seconds(1);
        let numbers = || [("1", None), ("1", None), ("2", Some("a"))].into_iter();
        assert_eq!(heard.due(numbers(), now).len(), 2);
        heard.remember(["1".to_owned()].into_iter(), now);
        assert_eq!(heard.due(numbers(), now.plus_seconds(29)).len(), 1);
        assert_eq!(heard.due(numbers(), now.plus_seconds(30)).len(), 2);
    }

    #[test]
    fn however_many_numbers_are_named_few_are_remembered() {
        let heard = Heard::default();
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
