//! Texts that a regular expression matches.
//!
//! One text for each branch, the ends of each class of characters, the shortest and the next longer run of each
//! repetition, one of them at a time: enough to see most edits of an expression, not all of them.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// Texts of one expression at most.
const LIMIT: usize = 16;
/// Bytes of a run at most: longer ones are cut, and then match no more.
const LENGTH: usize = 2048;

/// Texts that match, the plainest first; what is no expression is taken as it is.
pub(super) fn samples(expression: &str) -> Vec<String> {
    let mut texts = match regex_syntax::parse(expression) {
        Ok(hir) => of(&hir),
        Err(_) => vec![expression.to_owned()],
    };
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts.truncate(LIMIT);
    texts
}

fn of(hir: &Hir) -> Vec<String> {
    let mut texts = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => of_class(class),
        HirKind::Repetition(repetition) => of_repetition(repetition),
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Concat(parts) => of_parts(parts),
        HirKind::Alternation(branches) => branches
            .iter()
            .flat_map(|branch| of(branch).into_iter().take(4))
            .collect(),
    };
    texts.truncate(LIMIT);
    texts
}

/// A letter that stands for all, where the class has it; the first and the last one that can be printed.
fn of_class(class: &Class) -> Vec<String> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            let ascii = class.iter().filter(|range| range.end() < 0x80);
            ascii.map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    let has = |letter: char| ranges.iter().any(|(start, end)| (*start..=*end).contains(&letter));
    let mut printed = ('!'..='~').filter(|letter| has(*letter));
    let first = printed.next();
    let last = printed.next_back();
    let any = ['x', '0'].into_iter().find(|letter| has(*letter));
    let letters = [any, first, last].into_iter().flatten();
    let mut texts: Vec<String> = letters.map(String::from).collect();
    if texts.is_empty() {
        texts.extend(ranges.first().map(|(start, _)| start.to_string()));
    }
    texts
}

fn of_repetition(repetition: &Repetition) -> Vec<String> {
    let parts = of(&repetition.sub);
    let plain = parts.first().cloned().unwrap_or_default();
    let times = |part: &str, number: u32| {
        let room = LENGTH / part.len().max(1);
        part.repeat(usize::try_from(number).unwrap_or(room).min(room))
    };
    let mut texts = vec![times(&plain, repetition.min)];
    let more = repetition.min + 1;
    if repetition.max.is_none_or(|max| more <= max) {
        texts.extend(parts.iter().map(|part| times(part, more)));
    } else {
        texts.extend(parts.iter().skip(1).map(|part| times(part, repetition.min)));
    }
    if let Some(max) = repetition.max.filter(|max| *max > more) {
        texts.push(times(&plain, max));
    }
    texts
}

/// The plainest text of all parts, and each other text of one part among them.
fn of_parts(parts: &[Hir]) -> Vec<String> {
    let all: Vec<Vec<String>> = parts.iter().map(of).collect();
    let text = |varied: usize, by: &str| -> String {
        let part = |(index, texts): (usize, &Vec<String>)| match index == varied {
            true => by.to_owned(),
            false => texts.first().cloned().unwrap_or_default(),
        };
        all.iter().enumerate().map(part).collect()
    };
    let mut texts = vec![text(usize::MAX, "")];
    for (index, others) in all.iter().enumerate() {
        texts.extend(others.iter().skip(1).map(|other| text(index, other)));
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_matches_its_expression() {
        for expression in [
            "/v[12]/.*",
            "/(a|b|cd)/?",
            "[0-9]{2,4}",
            "(?i)canary",
            "^/users/[^/]+$",
            ".*",
            "a?b+c*",
            "/x{3}",
            r"\d+\.\w",
            "",
        ] {
            let compiled = regex::Regex::new(&format!("^(?:{expression})$")).unwrap();
            let samples = samples(expression);
            assert!(!samples.is_empty());
            for sample in samples {
                assert!(compiled.is_match(&sample), "{expression}: {sample:?}");
            }
        }
    }

    #[test]
    fn a_class_is_asked_at_both_ends() {
        assert_eq!(samples("/v[1-3]"), ["/v1", "/v3"]);
        assert_eq!(samples("/a(/.*)?"), ["/a", "/a/", "/a/x", "/a/!", "/a/~"]);
    }

    #[test]
    fn no_expression_takes_long() {
        assert!(samples("((a{50}){50}|(b|c|d){1000}){64}").len() <= LIMIT);
        assert_eq!(samples("("), ["("]);
    }
}
