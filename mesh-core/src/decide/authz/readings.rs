//! Requests whose path may be taken for several.

use super::Decision;
use crate::request::RequestView;

/// What is decided of the path that is forwarded, unless a path that it may be taken for is denied.
///
/// One decision for nearly every request: only a path with `//`, or one that is forwarded as it came, has readings.
pub(super) fn strictest<'a>(
    request: &RequestView<'_>,
    decide: impl Fn(&RequestView<'_>) -> Decision<'a>,
) -> Decision<'a> {
    let mut decision = decide(request);
    for path in request.readings {
        let reading = RequestView {
            path,
            readings: &[],
            ..*request
        };
        decision = decision.and(decide(&reading));
    }
    decision
}
