use proptest::prelude::*;
use uuid::Uuid;

use super::{ComputedIdentities, IdentityEvidence, replay};
use crate::domain::{
    identity::{
        AliasDecision, AliasVerdict, ContactAlias, ContactAliasFact, ContactAliasKind,
        ContactAliasObservation,
    },
    time::Timestamp,
};

const PATIENCE: i64 = 1000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn phone(number: u8) -> ContactAlias {
    ContactAlias {
        kind: ContactAliasKind::Phone,
        value: format!("+120255501{number:02}"),
    }
}

fn id(number: u8) -> ContactAlias {
    ContactAlias {
        kind: ContactAliasKind::UserId,
        value: format!("US.{number}"),
    }
}

fn seen(alias: ContactAlias, seconds: i64) -> ContactAliasObservation {
    of(ContactAliasFact::Seen(alias), seconds, seconds)
}

fn of(fact: ContactAliasFact, first: i64, last: i64) -> ContactAliasObservation {
    ContactAliasObservation {
        fact,
        scope: "A".to_owned(),
        first: at(first),
        last: at(last),
    }
}

fn together(number: u8, user: u8, first: i64, last: i64) -> ContactAliasObservation {
    let fact = ContactAliasFact::Together {
        phone: phone(number),
        id: id(user),
    };
    of(fact, first, last)
}

fn moved(from: u8, to: u8, seconds: i64) -> ContactAliasObservation {
    let fact = ContactAliasFact::Moved {
        from: phone(from),
        to: phone(to),
    };
    of(fact, seconds, seconds)
}

fn replaced(old: u8, new: u8, seconds: i64) -> ContactAliasObservation {
    let fact = ContactAliasFact::Replaced {
        old: id(old),
        new: id(new),
    };
    of(fact, seconds, seconds)
}

fn identities(
    observations: Vec<ContactAliasObservation>,
    decisions: Vec<AliasDecision>,
    now: i64,
) -> ComputedIdentities {
    let evidence = IdentityEvidence {
        observations,
        decisions,
        others: vec![phone(90)],
    };
    replay(&evidence, PATIENCE, at(now))
}

fn are_one(
    found: &ComputedIdentities,
    one: &ContactAlias,
    other: &ContactAlias,
    seconds: i64,
) -> bool {
    let of = |alias| found.person_at(alias, at(seconds)).unwrap();
    of(one) == of(other)
}

#[test]
fn a_number_and_the_first_id_that_is_seen_with_it_are_one_person() {
    let found = identities(vec![seen(id(1), 1), together(1, 1, 5, 5)], vec![], 10);
    assert!(are_one(&found, &phone(1), &id(1), 0));
    assert!(found.questions.is_empty());
    assert_eq!(found.person_at(&phone(91), at(1)), None);
}

#[test]
fn an_unexplained_new_id_is_a_question_until_something_decides() {
    let both = vec![together(1, 1, 1, 1), together(1, 2, 5, 6)];
    let open = identities(both.clone(), vec![], 10);
    assert!(are_one(&open, &phone(1), &id(1), 9) && !are_one(&open, &phone(1), &id(2), 9));
    assert_eq!(open.questions.len(), 1);

    // It was replaced: one person.
    let mut rotated = both.clone();
    rotated.push(replaced(1, 2, 4));
    let rotated = identities(rotated, vec![], 10);
    assert!(are_one(&rotated, &id(1), &id(2), 9) && rotated.questions.is_empty());

    // Both are alive: two persons, and the number is the second one's since they were seen with it.
    let mut alive = both.clone();
    alive.push(seen(id(1), 8));
    let alive = identities(alive, vec![], 10);
    assert!(are_one(&alive, &phone(1), &id(1), 4) && are_one(&alive, &phone(1), &id(2), 5));
    assert!(alive.questions.is_empty() && alive.inheritances.is_empty());

    // An operator decides.
    let decided = |verdict| vec![AliasDecision { at: at(7), verdict }];
    let link = identities(both.clone(), decided(AliasVerdict::Link(id(2), id(1))), 10);
    assert!(are_one(&link, &id(1), &id(2), 9) && link.questions.is_empty());
    let apart = identities(both.clone(), decided(AliasVerdict::Apart(id(1), id(2))), 10);
    assert!(are_one(&apart, &phone(1), &id(2), 9) && apart.questions.is_empty());

    // Time decides, and opt-outs apply to both.
    let late = identities(both, vec![], 5 + PATIENCE);
    assert!(are_one(&late, &phone(1), &id(2), 5) && late.questions.is_empty());
    assert_eq!(late.inheritances.len(), 1);
}

#[test]
fn a_person_who_moves_leaves_the_number_to_others() {
    let found = identities(
        vec![
            together(1, 1, 1, 1),
            moved(1, 2, 5),
            together(1, 3, 8, 8),
            seen(phone(1), 7),
        ],
        vec![],
        10,
    );
    assert!(are_one(&found, &id(1), &phone(2), 9));
    assert!(are_one(&found, &phone(1), &id(1), 4));
    assert!(are_one(&found, &phone(1), &id(3), 7) && !are_one(&found, &id(3), &id(1), 9));
    assert!(found.questions.is_empty());
}

#[test]
fn whoever_had_the_new_number_loses_it_and_who_was_never_seen_there_is_the_same() {
    let theirs = identities(vec![together(2, 2, 1, 1), moved(1, 2, 5)], vec![], 10);
    assert!(!are_one(&theirs, &id(2), &phone(2), 5));
    let written_down = identities(vec![together(1, 1, 1, 1), moved(1, 2, 5)], vec![], 10);
    assert!(are_one(&written_down, &phone(2), &id(1), 0));
}

#[test]
fn ids_of_two_portfolios_at_one_number_are_one_person() {
    let of_b = ContactAliasObservation {
        scope: "B".to_owned(),
        ..together(1, 2, 2, 2)
    };
    let found = identities(vec![together(1, 1, 1, 3), of_b.clone()], vec![], 10);
    assert!(are_one(&found, &id(1), &id(2), 9) && found.questions.is_empty());
    // Two accounts that have an id in common are of one portfolio.
    let common = ContactAliasObservation {
        scope: "B".to_owned(),
        ..seen(id(1), 1)
    };
    let asked = identities(vec![together(1, 1, 1, 1), of_b, common], vec![], 10);
    assert_eq!(asked.questions.len(), 1);
}

#[test]
fn an_address_that_was_corrected_takes_along_what_the_provider_said_of_it() {
    let group = Uuid::from_u128(1);
    let cut = |alias| AliasDecision {
        at: at(5),
        verdict: AliasVerdict::Cut { alias, group },
    };
    let found = identities(
        vec![together(1, 1, 1, 9), moved(1, 2, 5)],
        vec![cut(phone(1)), cut(id(1))],
        10,
    );
    assert!(are_one(&found, &phone(1), &id(1), 9));
    assert!(!are_one(&found, &phone(1), &phone(2), 9));
    assert_eq!(
        found.person_at(&id(1), at(4)),
        found.person_at(&phone(2), at(9))
    );
}

#[test]
fn what_a_person_has_parted_stays_apart() {
    let apart = |one, other| AliasDecision {
        at: at(5),
        verdict: AliasVerdict::Apart(one, other),
    };
    let found = identities(
        vec![together(1, 1, 1, 9), replaced(1, 2, 3)],
        vec![apart(phone(1), id(1)), apart(phone(1), id(2))],
        10,
    );
    assert!(!are_one(&found, &phone(1), &id(1), 9) && are_one(&found, &id(1), &id(2), 9));
    assert_eq!(found.contradictions.len(), 1);
}

#[test]
fn two_spellings_of_a_number_are_one_line() {
    let variant = ContactAliasFact::Variant {
        sent: phone(1),
        answered: phone(2),
    };
    let found = identities(vec![of(variant, 3, 3), together(2, 1, 1, 1)], vec![], 10);
    assert!(are_one(&found, &phone(1), &id(1), 0));
}

fn fact() -> impl Strategy<Value = ContactAliasFact> {
    let number = 0..3_u8;
    prop_oneof![
        number
            .clone()
            .prop_map(|it| ContactAliasFact::Seen(phone(it))),
        number.clone().prop_map(|it| ContactAliasFact::Seen(id(it))),
        (number.clone(), number.clone()).prop_map(|(one, other)| ContactAliasFact::Together {
            phone: phone(one),
            id: id(other)
        }),
        (number.clone(), number.clone()).prop_map(|(one, other)| ContactAliasFact::Replaced {
            old: id(one),
            new: id(other)
        }),
        (number.clone(), number).prop_map(|(one, other)| ContactAliasFact::Moved {
            from: phone(one),
            to: phone(other)
        }),
    ]
}

fn observation() -> impl Strategy<Value = ContactAliasObservation> {
    (fact(), 0..20_i64, 0..5_i64).prop_map(|(fact, first, more)| of(fact, first, first + more))
}

proptest! {
    #[test]
    fn any_order_gives_the_same_persons(
        observations in prop::collection::vec(observation(), 0..30).prop_shuffle(),
        now in 0..2000_i64,
    ) {
        let found = identities(observations.clone(), vec![], now);
        let mut reversed = observations.clone();
        reversed.reverse();
        reversed.extend(observations);
        prop_assert_eq!(&found, &identities(reversed, vec![], now));
        // Every alias has exactly one owner at any time.
        for alias in found.aliases() {
            prop_assert!(found.person_at(alias, at(-1)).is_some());
        }
    }

    #[test]
    fn once_a_move_is_decided_the_next_owner_is_somebody_else(
        observations in prop::collection::vec(observation(), 0..30),
    ) {
        let found = identities(observations, vec![], 10);
        for question in &found.questions {
            prop_assert_ne!(question.owner, question.claimant);
        }
        for (person, held) in found.persons() {
            for holding in held.iter().filter(|holding| holding.alias.is_phone()) {
                if let Some(until) = holding.until {
                    prop_assert_ne!(found.person_at(&holding.alias, until), Some(person));
                }
            }
        }
    }
}

#[test]
fn a_number_that_is_said_not_to_be_somebodys_is_not_given_to_them() {
    let apart = |seconds| AliasDecision {
        at: at(seconds),
        verdict: AliasVerdict::Apart(phone(1), id(2)),
    };
    // By an earlier item that names both: it belonged to another person from then on.
    let both = vec![together(1, 1, 1, 1), together(1, 2, 5, 5)];
    let before = identities(both.clone(), vec![apart(7)], 10);
    assert!(are_one(&before, &phone(1), &id(1), 4));
    assert!(!are_one(&before, &phone(1), &id(1), 9) && !are_one(&before, &phone(1), &id(2), 9));
    // After a decision, evidence changes nothing.
    let after = identities(both, vec![apart(3)], 10);
    assert!(are_one(&after, &phone(1), &id(1), 9) && !are_one(&after, &phone(1), &id(2), 9));
    assert_eq!(after.contradictions.len(), 1);
    // Nor does a move to it.
    let mover = vec![together(1, 1, 1, 1), together(2, 2, 2, 2), moved(2, 1, 5)];
    let after_move = identities(mover, vec![apart(3)], 10);
    assert!(
        are_one(&after_move, &phone(1), &id(1), 9) && !are_one(&after_move, &phone(1), &id(2), 9)
    );
}
