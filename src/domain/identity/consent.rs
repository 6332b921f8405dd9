//! Decides which of a person's statements of opt-out and consent are in force.

use std::collections::BTreeMap;

use crate::domain::{preference::ConsentScope, time::Timestamp};

/// One statement of a person: STOP, START, or the like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentStatement {
    pub scope: ConsentScope,
    /// By the provider's clock.
    pub at: Timestamp,
    /// False: an opt-out.
    pub is_wanted: bool,
    /// Its source: `word`, `user_preferences`, `131050`.
    pub source: String,
}

/// The newest statement for each scope; of two with the same time, the opt-out.
pub fn newest<'a>(
    statements: impl IntoIterator<Item = &'a ConsentStatement>,
) -> BTreeMap<ConsentScope, &'a ConsentStatement> {
    let mut newest: BTreeMap<ConsentScope, &ConsentStatement> = BTreeMap::new();
    for statement in statements {
        let key = |it: &'a ConsentStatement| (it.at, !it.is_wanted, std::cmp::Reverse(&it.source));
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
    use super::{ConsentStatement, newest};
    use crate::domain::{preference::ConsentScope, time::Timestamp};

    #[test]
    fn the_newest_statement_holds_and_a_tie_goes_to_the_refusal() {
        let said = |scope, at, is_wanted| ConsentStatement {
            scope,
            at: Timestamp::from_unix_seconds(at),
            is_wanted,
            source: "word".to_owned(),
        };
        let mut all = vec![
            said(ConsentScope::All, 1, false),
            said(ConsentScope::All, 3, true),
            said(ConsentScope::All, 3, false),
            said(ConsentScope::Marketing, 2, false),
            said(ConsentScope::Marketing, 4, true),
        ];
        for _ in 0..2 {
            let holds = newest(&all);
            assert_eq!(
                holds.get(&ConsentScope::All).map(|it| it.is_wanted),
                Some(false)
            );
            assert_eq!(
                holds.get(&ConsentScope::Marketing).map(|it| it.is_wanted),
                Some(true)
            );
            all.reverse();
        }
    }
}
