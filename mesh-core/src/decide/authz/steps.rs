//! One value for each action, in the order in which they are asked.

use crate::policy::model::authz::Action;

/// One value for each [`Action`].
#[derive(Clone, Debug, Default)]
pub(super) struct Steps<T> {
    custom: T,
    deny: T,
    allow: T,
    audit: T,
}

impl<T> Steps<T> {
    pub(super) fn new(value: impl Fn(Action) -> T) -> Self {
        Self {
            custom: value(Action::Custom),
            deny: value(Action::Deny),
            allow: value(Action::Allow),
            audit: value(Action::Audit),
        }
    }

    pub(super) const fn of(&self, action: Action) -> &T {
        match action {
            Action::Custom => &self.custom,
            Action::Deny => &self.deny,
            Action::Allow => &self.allow,
            Action::Audit => &self.audit,
        }
    }
}
