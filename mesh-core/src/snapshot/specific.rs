//! Rules that compete by how specific they are (Gateway API), over all tables of a host.

use std::cmp::Reverse;

use super::outbound::Compiled;
use crate::policy::model::Meta;
use crate::policy::model::route::{RouteMatch, RouteTable, RuleOrder, StringMatch};

/// The place of a match among those of other rules: less goes first.
///
/// The longest path (exact before prefix, regex last), then a method, then more headers, then more query parameters, then
/// the oldest table, the first by `namespace/name`, the first that was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    path: (u8, Reverse<usize>),
    has_no_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    table: (u64, String, String),
    position: (usize, usize),
}

impl Rank {
    /// The rank of the match at `position` (rule, match) of a table.
    pub(super) fn new(table: &Meta, conditions: &RouteMatch, position: (usize, usize)) -> Self {
        Self {
            path: path(conditions.path.as_ref()),
            has_no_method: conditions.method.is_none(),
            headers: Reverse(conditions.headers.len()),
            query: Reverse(conditions.query.len()),
            table: (table.created, table.namespace.clone(), table.name.clone()),
            position,
        }
    }
}

fn path(path: Option<&StringMatch>) -> (u8, Reverse<usize>) {
    match path {
        Some(StringMatch::Exact(text)) => (0, Reverse(text.len())),
        // A final slash says nothing in a prefix of segments.
        Some(StringMatch::SegmentPrefix(text)) => (1, Reverse(text.trim_end_matches('/').len().max(1))),
        Some(StringMatch::Prefix(text)) => (1, Reverse(text.len())),
        Some(StringMatch::Regex(text)) => (2, Reverse(text.len())),
        // A rule of gRPC without a method comes behind one with a regex on it.
        Some(StringMatch::Present) | None => (3, Reverse(0)),
    }
}

/// Puts the rules of specific tables in order; they go before those of other tables, which keep theirs.
pub(super) fn sort(rules: &mut [Compiled]) {
    rules.sort_by(|left, right| match (&left.rank, &right.rank) {
        (Some(left), Some(right)) => left.cmp(right),
        (left, right) => right.is_some().cmp(&left.is_some()),
    });
}

/// The ports that all rules of these tables are limited to; `None` where one is for every port.
pub(super) fn ports(tables: &[&RouteTable]) -> Option<Vec<u16>> {
    let matches = tables
        .iter()
        .flat_map(|table| &table.rules)
        .flat_map(|rule| match rule.matches.as_slice() {
            [] => vec![None],
            matches => matches.iter().map(|one| one.port).collect(),
        });
    let mut ports: Vec<u16> = matches.collect::<Option<_>>()?;
    ports.sort_unstable();
    ports.dedup();
    Some(ports).filter(|ports| !ports.is_empty())
}

/// Whether the rules of a table compete with those of others.
pub(super) fn competes(table: &RouteTable) -> bool {
    table.order == RuleOrder::Specific
}
