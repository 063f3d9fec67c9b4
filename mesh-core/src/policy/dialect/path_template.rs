//! Path templates: `{*}` is one segment, `{**}` the rest.

use crate::policy::diagnostic::quoted;

/// Whether a path is meant as a template.
pub(super) fn is_template(path: &str) -> bool {
    path.contains(['{', '}'])
}

/// What is wrong with a template, if anything.
pub(super) fn problem(path: &str) -> Option<String> {
    let Some(rest) = path.strip_prefix('/') else {
        return Some(format!(
            "expected a template that begins with `/`, found {}",
            quoted(path)
        ));
    };
    let mut is_at_rest = false;
    let last = rest.split('/').count().saturating_sub(1);
    for (index, segment) in rest.split('/').enumerate() {
        let is_operator = matches!(segment, "{*}" | "{**}");
        if is_operator && is_at_rest {
            return Some("no `{*}` or `{**}` can follow `{**}`".into());
        }
        is_at_rest |= segment == "{**}";
        let is_end = index == last && segment.is_empty();
        if !is_operator && !is_end && !is_literal(segment) {
            return Some(format!(
                "expected `{{*}}`, `{{**}}` or plain text as a segment, found {}",
                quoted(segment)
            ));
        }
    }
    None
}

/// Whether a segment stands for itself: not empty, and of characters that a path may have.
fn is_literal(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_whole_segments() {
        for path in [
            "/foo/{*}",
            "/foo/{**}",
            "/foo/{**}/",
            "/foo/{*}/bar/{**}",
            "/{*}/a%20b/{*}",
            "/{**}/end",
        ] {
            assert_eq!(problem(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_template_is_told() {
        for path in [
            "/*/baz/{*}",
            "/**/baz/{*}",
            "/{**}/foo/{*}",
            "/foo/{*}.txt",
            "/foo/{buzz}/bar",
            "/foo/{**}buzz/bar",
            "/foo//{*}",
            "foo/{*}",
            "/{**}/{**}",
        ] {
            assert!(problem(path).is_some(), "{path}");
        }
    }
}
