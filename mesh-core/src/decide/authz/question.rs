//! What has to be asked of an external authorizer, and why.

use std::fmt;
use std::sync::Arc;

use super::RuleInfo;

/// That an external authorizer has to be asked; its text says to people by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    rule: &'a Arc<RuleInfo>,
}

impl<'a> Question<'a> {
    pub(super) const fn new(rule: &'a Arc<RuleInfo>) -> Self {
        Self { rule }
    }

    /// The rule that demands it.
    #[must_use]
    pub const fn rule(&self) -> &'a Arc<RuleInfo> {
        self.rule
    }

    /// Who is asked.
    #[must_use]
    pub fn provider(&self) -> &'a str {
        self.rule.policy.provider.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, provider) = (self.rule, self.provider());
        write!(f, "rule {} of policy `{}` asks `{provider}`", rule.index, rule.policy)
    }
}
