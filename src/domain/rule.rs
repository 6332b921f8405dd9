//! Follow-up rules: what to send when a notification reaches a state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    channel::MessageChannel,
    time::Timestamp,
    transition::{NotificationTransition, NotificationTransitionSet},
};

/// Longest chain of rules that react to each other.
pub const MAX_DEPTH: i64 = 5;

/// A timer that is already due fires no sooner than this after its trigger was applied, so that a
/// backlog of callbacks does not cause reminders to people who have read the message.
const SETTLING_SECONDS: i64 = 10 * 60;

/// The message of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowUpRuleMessage {
    /// `same`, `user:NAME`, `group:NAME`, `contact:NAME` or a number.
    pub to: Vec<String>,
    pub template: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default)]
    pub channel: MessageChannel,
    /// Parameter name → Jinja2 text over `notification`, `contact`, `event`, `failure`.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The name of a sender; absent: with `same` the sender of the notification, otherwise the
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The kind of message; absent: the notification's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `template`, `auto` or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_template: Option<String>,
}

/// One version of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUpRule {
    pub name: String,
    pub on: NotificationTransition,
    /// A Jinja2 expression; absent means always.
    pub condition: Option<String>,
    pub after_seconds: i64,
    pub unless: NotificationTransitionSet,
    pub send: FollowUpRuleMessage,
    /// Reacts to messages made by rules, too.
    pub chain: bool,
}

/// Why a rule did not start although its trigger fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUpRuleBlock {
    /// It would react to a message made by a rule.
    MadeByARule,
    TooDeep,
    /// One of its `unless` has happened already.
    Unless,
}

impl FollowUpRuleBlock {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MadeByARule => {
                "a rule made this notification, and this rule does not say `chain = true`"
            }
            Self::TooDeep => "the chain of rules has reached its maximum depth",
            Self::Unless => "one of its `unless` has happened already",
        }
    }
}

impl FollowUpRule {
    /// Whether the rule starts for a notification that is `depth` rules away from an event and has
    /// reached `reached`.
    pub fn starts(
        &self,
        depth: i64,
        reached: NotificationTransitionSet,
    ) -> Result<(), FollowUpRuleBlock> {
        if depth >= MAX_DEPTH {
            Err(FollowUpRuleBlock::TooDeep)
        } else if depth > 0 && !self.chain {
            Err(FollowUpRuleBlock::MadeByARule)
        } else if !self.unless.intersection(reached).is_empty() {
            Err(FollowUpRuleBlock::Unless)
        } else {
            Ok(())
        }
    }

    /// When it is due: `after` from the provider's time of the trigger, but no sooner than
    /// min(`after`, 10 minutes) after it was applied. A provider time in the future counts as now.
    pub fn due(&self, trigger_at: Timestamp, now: Timestamp) -> Timestamp {
        let settled = now.plus_seconds(self.after_seconds.min(SETTLING_SECONDS));
        trigger_at
            .min(now)
            .plus_seconds(self.after_seconds)
            .max(settled)
    }
}

/// Parses `90s`, `30m`, `24h`, `7d`, and nothing else, so that no unit is guessed.
pub fn parse_duration_seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number: i64 = number.parse().ok()?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number
        .checked_mul(unit_seconds)
        .filter(|seconds| *seconds <= 366 * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        FollowUpRule, FollowUpRuleBlock, FollowUpRuleMessage, MessageChannel,
        parse_duration_seconds,
    };
    use crate::domain::{
        time::Timestamp,
        transition::{NotificationTransition, NotificationTransitionSet},
    };

    fn rule(after_seconds: i64) -> FollowUpRule {
        FollowUpRule {
            name: "r".to_owned(),
            on: NotificationTransition::Delivered,
            condition: None,
            after_seconds,
            unless: [
                NotificationTransition::Read,
                NotificationTransition::Replied,
            ]
            .into_iter()
            .collect(),
            send: FollowUpRuleMessage {
                to: vec!["same".to_owned()],
                template: "t".to_owned(),
                language: None,
                channel: MessageChannel::WhatsApp,
                params: std::collections::BTreeMap::new(),
                sender: None,
                kind: None,
                mode: None,
                fallback_template: None,
            },
            chain: false,
        }
    }

    #[test]
    fn a_rule_ignores_what_rules_have_made() {
        assert_eq!(
            rule(0).starts(1, NotificationTransitionSet::NONE),
            Err(FollowUpRuleBlock::MadeByARule)
        );
        let chained = FollowUpRule {
            chain: true,
            ..rule(0)
        };
        assert_eq!(chained.starts(1, NotificationTransitionSet::NONE), Ok(()));
        assert_eq!(
            chained.starts(5, NotificationTransitionSet::NONE),
            Err(FollowUpRuleBlock::TooDeep)
        );
        let read = [NotificationTransition::Read].into_iter().collect();
        assert_eq!(rule(0).starts(0, read), Err(FollowUpRuleBlock::Unless));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration_seconds("24h"), Some(86_400));
        assert_eq!(parse_duration_seconds("90s"), Some(90));
        for bad in [
            "",
            "24",
            "h",
            "1.5h",
            "-1h",
            "1w",
            "99999999999d",
            "9999999999999999999s",
        ] {
            assert_eq!(parse_duration_seconds(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_timer_is_never_due_before_it_has_settled(after in 0_i64..200_000, late in -100_000_i64..200_000) {
            let now = Timestamp::from_unix_seconds(1_000_000_000);
            let due = rule(after).due(now.plus_seconds(-late), now);
            prop_assert!(due >= now.plus_seconds(after.min(600)));
            prop_assert!(due <= now.plus_seconds(after.max(600)));
        }
    }
}
