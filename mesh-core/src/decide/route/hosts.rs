//! A table by host name: exact names first, then the longest wildcard.

use rustc_hash::FxHashMap;

/// Values by host: exact, `*.suffix`, `*-suffix` and `*`.
///
/// An exact name costs one hash look-up; a `*.suffix` one more for each label of the name, whatever
/// the number of hosts. Other forms of wildcard, which are rare, are tried one by one, longest first.
#[derive(Debug)]
pub struct HostTable<T> {
    values: Vec<T>,
    exact: FxHashMap<Box<str>, usize>,
    /// By the text behind `*`, which starts with a dot.
    suffixes: FxHashMap<Box<str>, usize>,
    /// Other patterns by the text behind `*`, longest first.
    partial: Vec<(Box<str>, usize)>,
    any: Option<usize>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            exact: FxHashMap::default(),
            suffixes: FxHashMap::default(),
            partial: Vec::new(),
            any: None,
        }
    }
}

impl<T> HostTable<T> {
    /// Adds a value under several names and patterns; a name that is taken stays with its first value.
    pub fn insert<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, value: T) {
        let index = self.values.len();
        self.values.push(value);
        for name in names {
            self.name(name, index);
        }
    }

    /// Gives memory back that nothing is in.
    pub fn shrink(&mut self) {
        self.values.shrink_to_fit();
        self.exact.shrink_to_fit();
        self.suffixes.shrink_to_fit();
    }

    fn name(&mut self, name: &str, index: usize) {
        match name.strip_prefix('*') {
            None => {
                self.exact.entry(name.into()).or_insert(index);
            }
            Some("") => {
                self.any.get_or_insert(index);
            }
            Some(suffix) if suffix.starts_with('.') => {
                self.suffixes.entry(suffix.into()).or_insert(index);
            }
            Some(suffix) => self.add_partial(suffix, index),
        }
    }

    fn add_partial(&mut self, suffix: &str, index: usize) {
        if self.partial.iter().all(|(known, _)| &**known != suffix) {
            self.partial.push((suffix.into(), index));
            self.partial.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        }
    }

    /// Whether a name or pattern is in the table, as it is written.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match name.strip_prefix('*') {
            None => self.exact.contains_key(name),
            Some("") => self.any.is_some(),
            Some(suffix) if suffix.starts_with('.') => self.suffixes.contains_key(suffix),
            Some(suffix) => self.partial.iter().any(|(known, _)| &**known == suffix),
        }
    }

    /// The value for a host name in lower case.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<&T> {
        let index = self.exact.get(host).copied().or_else(|| self.wildcard(host))?;
        self.values.get(index)
    }

    /// Out of line, since most hosts have their own entry.
    #[inline(never)]
    fn wildcard(&self, host: &str) -> Option<usize> {
        let partial = self.partial.iter().find(|(suffix, _)| covers(suffix, host));
        match (self.suffix(host), partial) {
            (Some((dotted, index)), Some((partial, _))) if dotted >= partial.len() => Some(index),
            (_, Some((_, index))) => Some(*index),
            (Some((_, index)), None) => Some(index),
            (None, None) => self.any,
        }
    }

    /// The longest `*.suffix` that covers `host`, with its length.
    fn suffix(&self, host: &str) -> Option<(usize, usize)> {
        if self.suffixes.is_empty() {
            return None;
        }
        let dots = host.match_indices('.').map(|(at, _)| at).filter(|at| *at > 0);
        dots.filter_map(|at| host.get(at..))
            .find_map(|suffix| self.suffixes.get(suffix).map(|index| (suffix.len(), *index)))
    }

    /// All values, in the order of insertion.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

/// Whether `host` ends with `suffix` and has at least one character before it.
fn covers(suffix: &str, host: &str) -> bool {
    host.len() > suffix.len() && host.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::route::string::{host_matches, more_specific};

    fn table() -> HostTable<&'static str> {
        let mut table = HostTable::default();
        for name in ["a.foo.com", "*.foo.com", "*.bar.foo.com", "*-x.foo.com", "*"] {
            table.insert([name], name);
        }
        table
    }

    #[test]
    fn exact_then_longest_wildcard_then_any() {
        let table = table();
        for (host, found) in [
            ("a.foo.com", "a.foo.com"),
            ("b.foo.com", "*.foo.com"),
            ("c.bar.foo.com", "*.bar.foo.com"),
            ("d.c.bar.foo.com", "*.bar.foo.com"),
            ("y-x.foo.com", "*-x.foo.com"),
            ("foo.com", "*"),
            ("-x.foo.com", "*.foo.com"),
            ("other", "*"),
        ] {
            assert_eq!(table.find(host), Some(&found), "{host}");
        }
    }

    #[test]
    fn the_first_value_of_a_name_keeps_it() {
        let mut table = HostTable::default();
        table.insert(["a", "b"], 1);
        table.insert(["b", "c"], 2);
        assert_eq!(
            [table.find("a"), table.find("b"), table.find("c"), table.find("d")],
            [Some(&1), Some(&1), Some(&2), None]
        );
    }

    fn names() -> impl Strategy<Value = String> {
        let label = prop::sample::select(vec!["a", "b", "x-a", "-a", "c"]);
        prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
    }

    fn patterns() -> impl Strategy<Value = String> {
        let wildcard = names().prop_map(|name| format!("*.{name}"));
        let partial = names().prop_map(|name| format!("*{name}"));
        prop_oneof![names(), wildcard, partial, Just("*".to_owned())]
    }

    proptest! {
        /// The table finds what a walk over all patterns by `host_matches` and `more_specific` finds.
        #[test]
        fn a_look_up_finds_the_most_specific_pattern(
            patterns in prop::collection::vec(patterns(), 0..12),
            host in names(),
        ) {
            let mut table = HostTable::default();
            for pattern in &patterns {
                table.insert([pattern.as_str()], pattern.clone());
            }
            let matching = patterns.iter().filter(|pattern| host_matches(pattern, &host));
            prop_assert_eq!(table.find(&host), matching.min_by(|a, b| more_specific(a, b)));
        }
    }
}
