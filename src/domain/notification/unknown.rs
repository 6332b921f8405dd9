//! Policies for unknown outcomes: calls whose answer was lost.

use crate::domain::category::MessageCategory;

/// The reaction to an unknown outcome after the configured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcomePolicy {
    /// The message may be lost, visibly.
    GiveUp,
    /// The message may arrive twice.
    Resend,
}

/// The policy of each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownOutcomePolicies {
    usual: UnknownOutcomePolicy,
    authentication: Option<UnknownOutcomePolicy>,
    utility: Option<UnknownOutcomePolicy>,
    marketing: Option<UnknownOutcomePolicy>,
    service: Option<UnknownOutcomePolicy>,
}

impl Default for UnknownOutcomePolicies {
    fn default() -> Self {
        Self::all(UnknownOutcomePolicy::GiveUp)
    }
}

impl UnknownOutcomePolicies {
    /// The same policy for all categories.
    pub const fn all(usual: UnknownOutcomePolicy) -> Self {
        Self {
            usual,
            authentication: None,
            utility: None,
            marketing: None,
            service: None,
        }
    }

    /// Parses `give_up`, or `give_up, utility=resend`: the first applies to all categories that are
    /// not named. `None` if it cannot be parsed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim);
        let mut policies = Self::all(UnknownOutcomePolicy::parse(parts.next()?)?);
        for part in parts {
            let (category, policy) = part.split_once('=')?;
            let policy = Some(UnknownOutcomePolicy::parse(policy.trim())?);
            match MessageCategory::parse(category.trim())? {
                MessageCategory::Authentication => policies.authentication = policy,
                MessageCategory::Utility => policies.utility = policy,
                MessageCategory::Marketing => policies.marketing = policy,
                MessageCategory::Service => policies.service = policy,
            }
        }
        Some(policies)
    }

    /// The policy of a category.
    pub fn of(&self, category: MessageCategory) -> UnknownOutcomePolicy {
        let own = match category {
            MessageCategory::Authentication => self.authentication,
            MessageCategory::Utility => self.utility,
            MessageCategory::Marketing => self.marketing,
            MessageCategory::Service => self.service,
        };
        own.unwrap_or(self.usual)
    }
}

impl UnknownOutcomePolicy {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "give_up" => Some(Self::GiveUp),
            "resend" => Some(Self::Resend),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{UnknownOutcomePolicies, UnknownOutcomePolicy};
    use crate::domain::category::MessageCategory;

    #[test]
    fn a_category_may_have_its_own() {
        let policies =
            UnknownOutcomePolicies::parse("give_up, utility=resend,service = resend").unwrap();
        assert_eq!(
            policies.of(MessageCategory::Utility),
            UnknownOutcomePolicy::Resend
        );
        assert_eq!(
            policies.of(MessageCategory::Service),
            UnknownOutcomePolicy::Resend
        );
        assert_eq!(
            policies.of(MessageCategory::Authentication),
            UnknownOutcomePolicy::GiveUp
        );
        assert_eq!(
            UnknownOutcomePolicies::parse("resend"),
            Some(UnknownOutcomePolicies::all(UnknownOutcomePolicy::Resend))
        );
        for wrong in [
            "",
            "maybe",
            "give_up,",
            "give_up, news=resend",
            "utility=resend",
        ] {
            assert_eq!(UnknownOutcomePolicies::parse(wrong), None, "{wrong}");
        }
    }
}
