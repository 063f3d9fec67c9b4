//! Did you mean?

/// Findings of one sort that get the nearest name as help; each costs a look at all names.
pub(in crate::policy) const HELPED: usize = 50;

/// The candidate that is most like a misspelt word, where one is like it.
///
/// Like means: at most a third of the letters (at least one) changed, inserted, left out or swapped with their
/// neighbour (optimal string alignment distance); capitals and `_`, `-` do not count.
/// O(candidates × length²); of equals the first is taken.
///
/// ```
/// use mesh_core::policy::diagnostic::nearest;
///
/// assert_eq!(nearest("retrys", ["name", "timeout", "retries"]), Some("retries"));
/// assert_eq!(nearest("per_try_timeout", ["perTryTimeout"]), Some("perTryTimeout"));
/// assert_eq!(nearest("colour", ["name", "timeout"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = letters(word);
    if word.len() > LONGEST {
        return None;
    }
    let allowed = (word.len() / 3).max(1);
    let candidates: Vec<(Vec<char>, &str)> = candidates.into_iter().map(|one| (letters(one), one)).collect();
    // A letter more or less is a change: words of other lengths need no comparison.
    let may_be = candidates
        .iter()
        .filter(|(known, _)| known.len().abs_diff(word.len()) <= allowed);
    let distances = may_be.map(|(known, name)| (distance(&word, known), *name));
    distances
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or_else(|| related(&word, &candidates))
}

/// Letters that names have in common which are taken for forms of one word.
const STEM: usize = 4;

/// The only candidate that begins or ends as the word does: `retries` for `retry`, `PathPrefix` for `Prefix`.
fn related<'a>(word: &[char], candidates: &[(Vec<char>, &'a str)]) -> Option<&'a str> {
    let is_related = |known: &&(Vec<char>, &str)| {
        let common = word
            .iter()
            .zip(&known.0)
            .take_while(|(left, right)| left == right)
            .count();
        let is_form = common >= STEM && common + 3 >= word.len().max(known.0.len());
        is_form || (word.len() >= STEM && known.0.ends_with(word))
    };
    let mut found = candidates.iter().filter(is_related);
    let (_, name) = found.next()?;
    found.next().is_none().then_some(name)
}

/// Longer words are not compared.
const LONGEST: usize = 64;

fn letters(word: &str) -> Vec<char> {
    let significant = word.chars().filter(|c| !matches!(c, '_' | '-'));
    significant.flat_map(char::to_lowercase).take(LONGEST + 1).collect()
}

/// Optimal string alignment distance: insert, delete, change, swap neighbours.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut swapped_left = None;
    for (row, l) in left.iter().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row + 1);
        let mut swapped_right = None;
        for (column, r) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let change = at(&above, column) + usize::from(l != r);
            let mut best = change.min(at(&above, column + 1) + 1).min(at(&current, column) + 1);
            if swapped_left == Some(r) && swapped_right == Some(l) {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
            swapped_right = Some(r);
        }
        before = std::mem::replace(&mut above, current);
        swapped_left = Some(l);
    }
    above.last().copied().unwrap_or(0)
}
