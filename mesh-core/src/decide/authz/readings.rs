//! Requests whose path may be taken for several.

use super::Decision;
use crate::request::RequestView;

/// What is decided of the path that is forwarded, unless a path that it may be taken for is denied.
///
/// One decision for nearly every request: only a path with `//`, or one that is forwarded as it came, has readings.
#[inline]
pub(super) fn strictest<'a>(
    request: &RequestView<'_>,
    decide: impl Fn(&RequestView<'_>) -> Decision<'a>,
) -> Decision<'a> {
    match request.readings.is_empty() {
        true => decide(request),
        false => strictest_of_all(request, decide),
    }
}

#[cold]
#[inline(never)]
fn strictest_of_all<'a>(request: &RequestView<'_>, decide: impl Fn(&RequestView<'_>) -> Decision<'a>) -> Decision<'a> {
    let mut decision = decide(request);
    for path in request.readings {
        decision = decision.and(decide(&reading(request, path)));
    }
    decision
}

/// What the first path gives that gives anything: the one that is forwarded, then those that it may be taken for.
pub(super) fn first<T>(request: &RequestView<'_>, find: impl Fn(&RequestView<'_>) -> Option<T>) -> Option<T> {
    let taken_for = || request.readings.iter().find_map(|path| find(&reading(request, path)));
    find(request).or_else(taken_for)
}

fn reading<'a>(request: &RequestView<'a>, path: &'a str) -> RequestView<'a> {
    RequestView {
        path,
        readings: &[],
        ..*request
    }
}
