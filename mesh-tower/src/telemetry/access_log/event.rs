//! The record as a `tracing` event, for a subscriber that wants it.

use mesh_core::decide::authz::Verdict;

use super::format::{Escaped, protocol_name};
use super::record::AccessRecord;

/// The target of the events, for filters.
const TARGET: &str = "mesh::access";

pub(super) fn is_enabled() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

pub(super) fn emit(record: &AccessRecord) {
    tracing::info!(
        target: TARGET,
        reporter = record.reporter.as_str(),
        method = record.method.as_str(),
        path = %Escaped(record.path.as_bytes()),
        protocol = protocol_name(record.protocol),
        response_code = record.response_code,
        response_flags = record.response_flags,
        response_code_details = record.response_code_details,
        duration_ms = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
        authority = record.authority.as_ref().map(|text| tracing::field::display(Escaped(text.as_bytes()))),
        upstream_host = record.upstream_host.map(tracing::field::display),
        upstream_cluster = record.upstream_cluster.as_deref(),
        route_name = record.route_name.as_deref(),
        request_id = record.request_id.as_ref().map(|id| tracing::field::display(Escaped(id.as_bytes()))),
        policy_origin = record.policy_origin.as_ref().map(tracing::field::display),
        audited_by = record.audited_by.as_ref().map(|rule| tracing::field::display(&rule.policy)),
        trial = record.trial.map(Verdict::as_str),
        attempts = record.attempts,
        source_principal = record.source_principal.as_deref(),
        forwarded_client = record.forwarded_client.as_deref().map(|text| tracing::field::display(Escaped(text.as_bytes()))),
        destination_principal = record.destination_principal.as_deref(),
        request_principal = record.request_principal.as_deref(),
    );
}
