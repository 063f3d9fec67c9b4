//! What filters of Envoy decide.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::policy::source::Node;
use regex::Regex;

use crate::documents::{items, text};
use crate::requests::Asked;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    False,
    Unknown,
    True,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What of an unknown value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It matches nothing, as in Envoy.
    Differs,
    /// It is neither true nor false.
    Stays,
}

/// Whether patterns count that match everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stars {
    Count,
    Skipped,
}

/// What is decided: whether it is allowed, and whether what is on trial would allow it.
pub(crate) type Verdict = (bool, Option<bool>);

/// What of a filter is asked, where it is not all of it: the conditions of one field in the second rule.
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) list: &'static str,
    pub(crate) place: usize,
    pub(crate) part: Part,
    pub(crate) action: Option<&'static str>,
}

/// Values, not-values, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Both,
    Values,
    NotValues,
}

/// Filters of Envoy, and how they are read.
#[derive(Clone, Copy)]
pub(crate) struct Oracle<'g> {
    pub(crate) filters: &'g [Node],
    pub(crate) unknown: Unknown,
    pub(crate) stars: Stars,
    pub(crate) slice: Option<Slice>,
    pub(crate) regexes: &'g RefCell<BTreeMap<String, Regex>>,
}

impl Slice {
    /// Conditions of a field stand together: its values, then its not-values.
    fn keeps(self, list: &str, index: usize) -> bool {
        let is_part = match self.part {
            Part::Both => true,
            Part::Values => index.is_multiple_of(2),
            Part::NotValues => !index.is_multiple_of(2),
        };
        list == self.list && index / 2 == self.place && is_part
    }
}

impl Oracle<'_> {
    pub(crate) fn verdict(&self, asked: &Asked) -> Verdict {
        let (mut is_allowed, mut trial) = (true, None);
        for filter in self.filters {
            let Some(config) = filter.get("typedConfig") else {
                continue;
            };
            if let Some(rules) = config.get("rules") {
                is_allowed &= self.is_allowed(rules, asked);
            }
            let Some(rules) = config.get("shadowRules") else {
                continue;
            };
            // What is asked of an external authorizer is denied: there is none.
            match text(config, &["shadowRulesStatPrefix"]) {
                Some("istio_ext_authz_") => is_allowed &= self.is_allowed(rules, asked),
                _ => trial = Some(trial.unwrap_or(true) && self.is_allowed(rules, asked)),
            }
        }
        (is_allowed, trial)
    }

    fn is_allowed(&self, rules: &Node, asked: &Asked) -> bool {
        let policies = rules.get("policies").map(Node::entries).unwrap_or_default();
        let policy = |policy: &Node| {
            let permissions = self.any(items(policy, &["permissions"]), asked);
            permissions.min(self.any(items(policy, &["principals"]), asked))
        };
        let counted = policies
            .iter()
            .filter(|(key, _)| self.slice.is_none() || key.name.ends_with("rule[1]"));
        let matched = counted.map(|(_, node)| policy(node)).max();
        let matched = matched.unwrap_or(Truth::False);
        let action = self
            .slice
            .map_or_else(|| text(rules, &["action"]), |slice| slice.action);
        match action {
            Some("DENY") => matched == Truth::False,
            None => matched == Truth::True,
            Some(other) => panic!("action {other}"),
        }
    }

    fn any(&self, nodes: &[Node], asked: &Asked) -> Truth {
        let counted = nodes.iter().filter(|node| self.stars == Stars::Count || !is_star(node));
        counted
            .map(|node| self.truth(node, asked))
            .max()
            .unwrap_or(Truth::False)
    }

    /// A permission or a principal: they have the same forms.
    fn truth(&self, node: &Node, asked: &Asked) -> Truth {
        let [(key, value)] = node.entries() else {
            panic!("one condition, not {node:?}")
        };
        let name = &*key.name;
        match name {
            "any" => Truth::True,
            "andRules" => self.all(items(value, &["rules"]), name, asked),
            "andIds" => self.all(items(value, &["ids"]), name, asked),
            "orRules" => self.any(items(value, &["rules"]), asked),
            "orIds" => self.any(items(value, &["ids"]), asked),
            "notRule" | "notId" => match self.truth(value, asked) {
                Truth::False => Truth::True,
                Truth::Unknown => Truth::Unknown,
                Truth::True => Truth::False,
            },
            _ => self.leaf(name, value, asked),
        }
    }

    fn all(&self, nodes: &[Node], list: &str, asked: &Asked) -> Truth {
        // The lists of conditions are long; those of two parts are of one condition.
        let is_kept = |index: usize| match self.slice {
            Some(slice) if nodes.len() > 2 => slice.keeps(list, index),
            _ => true,
        };
        let kept = nodes.iter().enumerate().filter(|(index, _)| is_kept(*index));
        kept.map(|(_, node)| self.truth(node, asked))
            .min()
            .unwrap_or(Truth::True)
    }

    fn leaf(&self, name: &str, value: &Node, asked: &Asked) -> Truth {
        match name {
            "header" => Truth::from(self.header(value, asked)),
            "urlPath" => Truth::from(self.string(value.get("path").unwrap(), &asked.path)),
            "uriTemplate" => {
                let template = text(value, &["typedConfig", "pathTemplate"]).unwrap();
                Truth::from(self.regex(&template_regex(template), &asked.path))
            }
            "destinationPort" => Truth::from(value.as_text() == Some(&asked.port.to_string())),
            "destinationIp" => Truth::from(block(value).contains(&asked.local)),
            "directRemoteIp" => Truth::from(block(value).contains(&asked.address)),
            // No proxy is trusted to say whom it speaks for: the address is the connection's. Envoy has it there without HTTP, too.
            "remoteIp" => Truth::from(block(value).contains(&asked.address)),
            "requestedServerName" => self.known(asked.server_name.as_deref(), |name| self.string(value, name)),
            "authenticated" => self.known(asked.id.as_deref(), |id| {
                let matcher = value.get("principalName").unwrap();
                self.string(matcher, &format!("spiffe://{id}"))
            }),
            "metadata" => self.known(None, |()| false),
            other => panic!("condition {other}"),
        }
    }

    fn known<T>(&self, value: Option<T>, matches: impl FnOnce(T) -> bool) -> Truth {
        match (value, self.unknown) {
            (Some(value), _) => Truth::from(matches(value)),
            (None, Unknown::Differs) => Truth::False,
            (None, Unknown::Stays) => Truth::Unknown,
        }
    }

    fn header(&self, node: &Node, asked: &Asked) -> bool {
        let name = text(node, &["name"]).unwrap();
        let value = match name {
            ":authority" => Some(asked.authority.as_str()),
            ":method" => Some(asked.method.as_str()),
            _ => {
                let header = asked
                    .header
                    .as_ref()
                    .filter(|(given, _)| given.eq_ignore_ascii_case(name));
                header.map(|(_, value)| value.as_str())
            }
        };
        let Some(value) = value else { return false };
        node.get("stringMatch")
            .is_none_or(|matcher| self.string(matcher, value))
    }

    fn string(&self, matcher: &Node, value: &str) -> bool {
        let is_folded = text(matcher, &["ignoreCase"]) == Some("true");
        let fold = |text: &str| {
            if is_folded {
                text.to_ascii_lowercase()
            } else {
                text.to_owned()
            }
        };
        let value = fold(value);
        let given = |name| text(matcher, &[name]).map(fold);
        if let Some(exact) = given("exact") {
            return value == exact;
        }
        if let Some(prefix) = given("prefix") {
            return value.starts_with(&prefix);
        }
        if let Some(suffix) = given("suffix") {
            return value.ends_with(&suffix);
        }
        self.regex(text(matcher, &["safeRegex", "regex"]).unwrap(), &value)
    }

    fn regex(&self, pattern: &str, value: &str) -> bool {
        let mut regexes = self.regexes.borrow_mut();
        let regex = regexes
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(&format!("^(?s:{pattern})$")).unwrap());
        regex.is_match(value)
    }
}

/// Whether a pattern matches every text that is there.
fn is_star(node: &Node) -> bool {
    let regex = ["principalName", "path", "authenticated"];
    let matcher = node.entries().first().map(|(_, value)| value);
    let inner = matcher.map(|matcher| regex.iter().find_map(|name| matcher.get(name)).unwrap_or(matcher));
    let pattern = inner.and_then(|inner| text(inner, &["safeRegex", "regex"]));
    matches!(pattern, Some(".+" | ".*/ns/.*/.*")) || matcher.is_some_and(|one| one.get("presentMatch").is_some())
}

/// Envoy's templates: `*` is one segment, `**` any text.
fn template_regex(template: &str) -> String {
    const REST: &str = "\u{1}";
    let marked = template.replace("**", REST).replace('*', "[^/]+");
    marked.replace(REST, ".*")
}

fn block(node: &Node) -> IpNet {
    let address: IpAddr = text(node, &["addressPrefix"]).unwrap().parse().unwrap();
    let length = text(node, &["prefixLen"]).unwrap().parse().unwrap();
    IpNet::new(address, length).unwrap()
}
