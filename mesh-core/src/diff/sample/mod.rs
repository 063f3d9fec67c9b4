//! Texts that a condition takes, and texts that it just does not.

mod regex;

use crate::policy::model::authz::{Condition, Pattern};
use crate::policy::model::route::StringMatch;

/// Texts to ask a condition with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Samples {
    /// Those that it takes, the plainest first; never empty.
    pub(super) hits: Vec<String>,
    /// Those that are near, and that it does not take.
    pub(super) misses: Vec<String>,
}

/// What stands for any text.
pub(super) const ANY: &str = "x";

/// Texts for a condition of a route.
pub(super) fn of_match(condition: &StringMatch) -> Samples {
    let (hits, misses) = match condition {
        StringMatch::Exact(text) => (vec![text.clone()], vec![longer(text)]),
        StringMatch::Prefix(text) => (vec![text.clone(), longer(text)], Vec::new()),
        StringMatch::SegmentPrefix(text) => {
            let text = text.trim_end_matches('/');
            let whole = if text.is_empty() { "/" } else { text };
            (vec![whole.to_owned(), format!("{text}/{ANY}")], vec![longer(whole)])
        }
        StringMatch::Regex(text) => (regex::samples(text), Vec::new()),
        StringMatch::Present => (vec![ANY.to_owned()], Vec::new()),
    };
    Samples { hits, misses }
}

/// Texts for a regex on a whole text.
pub(super) fn of_regex(text: &str) -> Vec<String> {
    regex::samples(text)
}

/// Texts for a condition of an authorization rule: those of its patterns, and of those that it excludes.
pub(super) fn of_patterns(condition: &Condition<Pattern>) -> Vec<String> {
    let patterns = condition.any_of.iter().chain(&condition.none_of);
    let mut texts: Vec<String> = patterns.flat_map(of_pattern).collect();
    texts.dedup();
    texts
}

/// Texts for one pattern, and one that it may not take.
pub(super) fn of_pattern(pattern: &Pattern) -> Vec<String> {
    match pattern {
        Pattern::Exact(text) => vec![text.clone(), longer(text)],
        Pattern::Prefix(text) => vec![text.clone(), longer(text)],
        Pattern::Suffix(text) => vec![format!("{ANY}{text}")],
        Pattern::Present => vec![ANY.to_owned()],
        Pattern::Glob(text) => vec![text.replace('*', ANY)],
        Pattern::Template(text) => vec![
            text.replace("{**}", ANY).replace("{*}", ANY),
            text.replace("{**}", "x/y").replace("{*}", ANY),
        ],
        Pattern::Regex(text) => regex::samples(text),
    }
}

fn longer(text: &str) -> String {
    format!("{text}{ANY}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_asked_with_what_they_take_and_what_they_just_do_not() {
        let samples = |condition| {
            let Samples { hits, misses } = of_match(&condition);
            (hits.join(" "), misses.join(" "))
        };
        assert_eq!(samples(StringMatch::Exact("/a".into())), ("/a".into(), "/ax".into()));
        assert_eq!(
            samples(StringMatch::Prefix("/a".into())),
            ("/a /ax".into(), String::new())
        );
        assert_eq!(
            samples(StringMatch::SegmentPrefix("/a/".into())),
            ("/a /a/x".into(), "/ax".into())
        );
        assert_eq!(
            samples(StringMatch::SegmentPrefix("/".into())),
            ("/ /x".into(), "/x".into())
        );
    }
}
