//! The compiled rules of each policy, which the authorizers before and after a reload have in common.

use std::cmp::Ordering;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::rule::CompiledRule;
use super::{InvalidRule, PolicyInfo};
use crate::policy::model::Shared;
use crate::policy::model::authz::{Action, AuthorizationPolicy, Rule};

/// The rules of all policies, in order.
#[derive(Debug)]
pub(super) struct Rules(pub(super) Box<[Part]>);

/// The rules of one policy. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) info: Arc<PolicyInfo>,
    pub(super) looks_at_paths: bool,
    pub(super) rules: Arc<[CompiledRule]>,
}

/// A rule by its place: that of its policy, and its own among the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleId {
    rule: u32,
    part: u32,
}

impl RuleId {
    /// Both as one number, which is compared at once.
    const fn key(self) -> u64 {
        (self.part as u64) << 32 | self.rule as u64
    }
}

impl Ord for RuleId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for RuleId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    #[inline]
    fn le(&self, other: &Self) -> bool {
        self.key() <= other.key()
    }
}

impl Rules {
    /// A rule, which is one step further away than it would be in one list: that is what sharing costs a request.
    #[inline]
    pub(super) fn get(&self, id: RuleId) -> Option<&CompiledRule> {
        self.0.get(id.part as usize)?.rules.get(id.rule as usize)
    }

    /// The rules of one action, in order.
    pub(super) fn of(&self, action: Action) -> impl Iterator<Item = (RuleId, &CompiledRule)> {
        let parts = (0..).zip(&self.0).filter(move |(_, part)| part.info.action == action);
        parts.flat_map(|(part, of)| {
            (0..)
                .zip(&*of.rules)
                .map(move |(rule, one)| (RuleId { part, rule }, one))
        })
    }
}

impl Part {
    /// Compiles the rules of a policy, which may be for the requests of one route alone.
    pub(super) fn compile(policy: &AuthorizationPolicy, route: Option<u32>, invalid: &mut Vec<InvalidRule>) -> Self {
        let info = Arc::new(PolicyInfo::new(policy));
        let mut rules = Vec::with_capacity(policy.rules.len());
        for (index, rule) in policy.rules.iter().enumerate() {
            match CompiledRule::new(&info, (&policy.ports, route), (index, rule)) {
                Ok(rule) => rules.push(rule),
                Err(reason) => invalid.push(InvalidRule::new(&info, rule, reason)),
            }
        }
        Self {
            looks_at_paths: rules.iter().any(CompiledRule::looks_at_paths),
            rules: rules.into(),
            info,
        }
    }
}

/// What was made of the policies of the last authorizer, for the next one.
#[derive(Debug, Default)]
pub(crate) struct KnownRules {
    /// By the address of the list of rules, which is its own as long as the list is kept.
    last: FxHashMap<usize, Known>,
    now: FxHashMap<usize, Known>,
}

/// A list of rules, and what was made of it.
#[derive(Debug)]
struct Known {
    list: Shared<Rule>,
    ports: Box<[u16]>,
    part: Part,
}

impl Known {
    /// Whether it is what would be made of a policy that has the list.
    fn is_of(&self, policy: &AuthorizationPolicy) -> bool {
        self.list.is(&policy.rules) && *self.ports == *policy.ports && self.part.info.is_of(policy)
    }
}

impl KnownRules {
    /// Compiles the rules of a policy, unless they are known.
    pub(super) fn compile(&mut self, policy: &AuthorizationPolicy, invalid: &mut Vec<InvalidRule>) -> Part {
        let address = policy.rules.address();
        let known = self.last.get(&address).filter(|known| known.is_of(policy));
        let part = match known {
            Some(known) => known.part.clone(),
            None => Part::compile(policy, None, invalid),
        };
        self.now.entry(address).or_insert_with(|| Known {
            list: policy.rules.clone(),
            ports: policy.ports.as_slice().into(),
            part: part.clone(),
        });
        part
    }

    /// Forgets what the policies did not have; where some could not be compiled, they are forgotten instead.
    pub(super) fn end(&mut self, are_valid: bool) {
        let now = std::mem::take(&mut self.now);
        if are_valid {
            self.last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::{Meta, Origin};

    fn policy(name: &str) -> AuthorizationPolicy {
        let meta = Meta {
            name: name.into(),
            ..Meta::default()
        };
        let mut policy = AuthorizationPolicy::new(meta, Action::Allow);
        policy.rules = vec![Rule::default(), Rule::default()].into();
        policy
    }

    /// Whether the rules of the second policy are those that were made for the first.
    fn are_shared(first: &AuthorizationPolicy, second: &AuthorizationPolicy) -> bool {
        let mut known = KnownRules::default();
        let mut compile = |policy| {
            let part = known.compile(policy, &mut Vec::new());
            known.end(true);
            part
        };
        let parts = [compile(first), compile(second)];
        assert_eq!(*parts[1].info, PolicyInfo::new(second));
        Arc::ptr_eq(&parts[0].rules, &parts[1].rules)
    }

    #[test]
    fn the_same_list_of_the_same_policy_is_compiled_once() {
        let first = policy("a");
        assert!(are_shared(&first, &first.clone()));
        // Equal is not enough: nobody compares long lists.
        assert!(!are_shared(&first, &policy("a")));
    }

    #[test]
    fn what_decisions_tell_of_a_policy_makes_it_another_one() {
        let first = policy("a");
        let changes: [fn(&mut AuthorizationPolicy); 6] = [
            |policy| policy.meta.name = "b".into(),
            |policy| policy.meta.namespace = "shop".into(),
            |policy| {
                policy.meta.origin = Origin {
                    line: 7,
                    ..Origin::default()
                }
            },
            |policy| policy.action = Action::Deny,
            |policy| policy.provider = Some("one".into()),
            |policy| policy.ports = vec![80],
        ];
        for change in changes {
            let mut second = first.clone();
            change(&mut second);
            assert!(!are_shared(&first, &second), "{second:?}");
        }
    }

    #[test]
    fn rules_that_are_gone_are_forgotten_and_those_before_a_mistake_are_not() {
        let (first, other) = (policy("a"), policy("b"));
        let mut known = KnownRules::default();
        let part = known.compile(&first, &mut Vec::new());
        known.end(true);
        known.compile(&other, &mut Vec::new());
        known.end(false);
        assert!(Arc::ptr_eq(&part.rules, &known.compile(&first, &mut Vec::new()).rules));
        known.end(true);
        assert_eq!(known.last.len(), 1);
    }
}
