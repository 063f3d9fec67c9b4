//! Rules that look at paths while paths are not normalised.

use crate::policy::diagnostic::{Code, Diagnostic, Report};
use crate::policy::model::Policy;
use crate::policy::model::authz::{Action, Condition, Operation, Pattern, Rule};
use crate::request::PathNormalization;

/// A denial that a spelling passes by is none: where paths stay as they are sent, no rule may deny by path.
pub(super) fn check(policy: &Policy, report: &mut Report) {
    if policy.mesh.path_normalization != PathNormalization::None {
        return;
    }
    for one in &policy.authorizations {
        for rule in one.rules.iter().filter(|rule| denies_by_path(rule, one.action)) {
            let message = "the rule denies by path, and paths are not normalised: another spelling would pass it";
            let help = "choose another normalisation than `none`, or allow the paths that are meant instead";
            report.push(Diagnostic::new(Code::INVALID_POLICY, &rule.origin, message).with_help(help));
        }
    }
}

fn denies_by_path(rule: &Rule, action: Action) -> bool {
    let denies = |condition: &Condition<Pattern>| match action {
        Action::Deny | Action::Custom => !condition.is_unset(),
        Action::Allow => !condition.none_of.is_empty(),
        Action::Audit => false,
    };
    let by_path = |operation: &Operation| denies(&operation.paths) || denies(&operation.targets);
    rule.to.iter().any(by_path)
}
