//! Which rule of a server's routes takes a request that several match.
//!
//! Linkerd compares the host, the length of the path, the number of headers, that of query parameters, and the method; the
//! older route goes first among equals, then the first by name, then the rule that was written first.

use std::cmp::Reverse;

use crate::policy::model::Meta;
use crate::policy::model::route::{HostPattern, StringMatch};
use crate::policy::model::server::ServerRule;

/// Less goes first.
pub(super) type Rank = (
    (u8, Reverse<usize>),
    (u8, Reverse<usize>),
    Reverse<usize>,
    Reverse<usize>,
    bool,
    (u64, String, usize),
);

/// The rank of the rule at `position` of a route.
pub(super) fn rank(rule: &ServerRule, meta: &Meta, position: usize) -> Rank {
    (
        host(rule.hosts.first()),
        path(rule.matches.path.as_ref()),
        Reverse(rule.matches.headers.len()),
        Reverse(rule.matches.query.len()),
        rule.matches.method.is_none(),
        (meta.created, meta.name.clone(), position),
    )
}

/// Rules are for one host each, so that the more precise of two can go first.
fn host(host: Option<&HostPattern>) -> (u8, Reverse<usize>) {
    match host.map(|host| host.host.as_str()) {
        Some(pattern) if pattern.starts_with('*') => (1, Reverse(pattern.len())),
        Some(name) => (0, Reverse(name.len())),
        None => (2, Reverse(0)),
    }
}

/// An exact path and a regex are as long as the request's.
fn path(path: Option<&StringMatch>) -> (u8, Reverse<usize>) {
    match path {
        Some(StringMatch::Exact(_) | StringMatch::Regex(_)) => (0, Reverse(0)),
        Some(StringMatch::Prefix(text) | StringMatch::SegmentPrefix(text)) => {
            (1, Reverse(text.trim_end_matches('/').len()))
        }
        _ => (2, Reverse(0)),
    }
}
