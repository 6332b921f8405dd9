//! Policies for unknown outcomes: calls whose answer was lost.

use crate::domain::category::Category;

/// The reaction to an unknown outcome after the configured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// The message may be lost, visibly.
    GiveUp,
    /// The message may arrive twice.
    Resend,
}

/// The policy of each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicies {
    usual: UnknownPolicy,
    authentication: Option<UnknownPolicy>,
    utility: Option<UnknownPolicy>,
    marketing: Option<UnknownPolicy>,
    service: Option<UnknownPolicy>,
}

impl Default for UnknownPolicies {
    fn default() -> Self {
        Self::all(UnknownPolicy::GiveUp)
    }
}

impl UnknownPolicies {
    /// The same policy for all categories.
    pub const fn all(usual: UnknownPolicy) -> Self {
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
        let mut policies = Self::all(UnknownPolicy::parse(parts.next()?)?);
        for part in parts {
            let (category, policy) = part.split_once('=')?;
            let policy = Some(UnknownPolicy::parse(policy.trim())?);
            match Category::parse(category.trim())? {
                Category::Authentication => policies.authentication = policy,
                Category::Utility => policies.utility = policy,
                Category::Marketing => policies.marketing = policy,
                Category::Service => policies.service = policy,
            }
        }
        Some(policies)
    }

    /// The policy of a category.
    pub fn of(&self, category: Category) -> UnknownPolicy {
        let own = match category {
            Category::Authentication => self.authentication,
            Category::Utility => self.utility,
            Category::Marketing => self.marketing,
            Category::Service => self.service,
        };
        own.unwrap_or(self.usual)
    }
}

impl UnknownPolicy {
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
    use super::{UnknownPolicies, UnknownPolicy};
    use crate::domain::category::Category;

    #[test]
    fn a_category_may_have_its_own() {
        let policies = UnknownPolicies::parse("give_up, utility=resend,service = resend").unwrap();
        assert_eq!(policies.of(Category::Utility), UnknownPolicy::Resend);
        assert_eq!(policies.of(Category::Service), UnknownPolicy::Resend);
        assert_eq!(policies.of(Category::Authentication), UnknownPolicy::GiveUp);
        assert_eq!(
            UnknownPolicies::parse("resend"),
            Some(UnknownPolicies::all(UnknownPolicy::Resend))
        );
        for wrong in [
            "",
            "maybe",
            "give_up,",
            "give_up, news=resend",
            "utility=resend",
        ] {
            assert_eq!(UnknownPolicies::parse(wrong), None, "{wrong}");
        }
    }
}
