//! Decides which of a person's statements of opt-out and consent are in force.

use std::collections::BTreeMap;

use crate::domain::{preference::Scope, time::Timestamp};

/// One statement of a person: STOP, START, or the like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    pub scope: Scope,
    /// By the provider's clock.
    pub at: Timestamp,
    /// False: an opt-out.
    pub is_wanted: bool,
    /// Its source: `word`, `user_preferences`, `131050`.
    pub source: String,
}

/// The newest statement for each scope; of two with the same time, the opt-out.
pub fn newest<'a>(
    statements: impl IntoIterator<Item = &'a Statement>,
) -> BTreeMap<Scope, &'a Statement> {
    let mut newest: BTreeMap<Scope, &Statement> = BTreeMap::new();
    for statement in statements {
        let key = |it: &'a Statement| (it.at, !it.is_wanted, std::cmp::Reverse(&it.source));
        newest
            .entry(statement.scope)
            .and_modify(|known| {
                if key(known) < key(statement) {
                    *known = statement;
                }
            })
            .or_insert(statement);
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::{Statement, newest};
    use crate::domain::{preference::Scope, time::Timestamp};

    #[test]
    fn the_newest_statement_holds_and_a_tie_goes_to_the_refusal() {
        let said = |scope, at, is_wanted| Statement {
            scope,
            at: Timestamp::from_unix_seconds(at),
            is_wanted,
            source: "word".to_owned(),
        };
        let mut all = vec![
            said(Scope::All, 1, false),
            said(Scope::All, 3, true),
            said(Scope::All, 3, false),
            said(Scope::Marketing, 2, false),
            said(Scope::Marketing, 4, true),
        ];
        for _ in 0..2 {
            let holds = newest(&all);
            assert_eq!(holds.get(&Scope::All).map(|it| it.is_wanted), Some(false));
            assert_eq!(
                holds.get(&Scope::Marketing).map(|it| it.is_wanted),
                Some(true)
            );
            all.reverse();
        }
    }
}
