//! The two forms of a line: Istio's text format, and JSON with Istio's field names.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Version};
use mesh_core::decide::authz::Verdict;
use mesh_core::policy::model::AccessLogEncoding;
use serde::Serialize;

use super::record::{AccessRecord, Text};

/// Appends a record's line, with its line end, to `out`.
pub(super) fn write_line(record: &AccessRecord, encoding: AccessLogEncoding, out: &mut String) {
    let start = out.len();
    let written = match encoding {
        AccessLogEncoding::Json => serde_json::to_string(&JsonLine::new(record))
            .map(|line| out.push_str(&line))
            .is_ok(),
        _ => write_text(record, out).is_ok(),
    };
    // Neither form can fail on a record; half a line would be worse than none.
    if written {
        out.push('\n');
    } else {
        out.truncate(start);
    }
}

/// Istio's text format, with what the mesh knows beyond it as `key=value` at the end.
fn write_text(record: &AccessRecord, out: &mut String) -> fmt::Result {
    write!(
        out,
        "[{}] \"{} {} {}\" {} {} {} - \"{}\" {} {} {} {} ",
        Rfc3339(record.started()),
        Escaped(record.method.as_str().as_bytes()),
        Escaped(record.path.as_bytes()),
        protocol_name(record.protocol),
        record.response_code,
        record.response_flags,
        record.response_code_details,
        Dash(record.upstream_transport_failure_reason.as_deref().map(escaped)),
        record.bytes_received,
        record.bytes_sent,
        record.duration.as_millis(),
        Dash(record.upstream_service_time.map(|time| time.as_millis())),
    )?;
    write!(
        out,
        "\"{}\" \"{}\" \"{}\" \"{}\" \"{}\" {} - {} {} {} {}",
        Dash(header(record.x_forwarded_for.as_ref())),
        Dash(header(record.user_agent.as_ref())),
        Dash(header(record.request_id.as_ref())),
        Dash(record.authority.as_ref().map(|text| Escaped(text.as_bytes()))),
        Dash(record.upstream_host),
        Dash(record.upstream_cluster.as_deref().map(escaped)),
        Dash(record.downstream_local_address),
        Dash(record.downstream_remote_address),
        Dash(record.requested_server_name.as_deref().map(escaped)),
        Dash(record.route_name.as_deref().map(escaped)),
    )?;
    write_judgement(record, out)
}

/// What the mesh knows beyond Istio's format: who is on both sides, and what policy made of the request.
fn write_judgement(record: &AccessRecord, out: &mut String) -> fmt::Result {
    write!(
        out,
        " reporter={} attempts={} source_principal={} destination_principal={} policy_origin=\"{}\" policy_generation={} audited_by={} trial={} authorizer={} authorizer_result={} request_principal={} trace_id={} forwarded_client={}",
        record.reporter.as_str(),
        record.attempts,
        Dash(record.source_principal.as_deref().map(escaped)),
        Dash(record.destination_principal.as_deref().map(escaped)),
        Dash(
            record
                .policy_origin
                .as_ref()
                .map(ToString::to_string)
                .as_deref()
                .map(escaped)
        ),
        record.policy_generation,
        Dash(
            record
                .audited_by
                .as_ref()
                .map(|rule| rule.policy.to_string())
                .as_deref()
                .map(escaped)
        ),
        Dash(record.trial.map(Verdict::as_str)),
        Dash(record.asked.as_ref().map(|(name, _)| escaped(name))),
        Dash(record.asked.as_ref().map(|(_, result)| result.as_str())),
        Dash(record.request_principal.as_deref().map(escaped)),
        Dash(record.trace_id.map(TraceId)),
        Dash(record.forwarded_client.as_deref().map(escaped)),
    )
}

/// One JSON object. What is not known is `null`, as Istio writes it.
#[derive(Serialize)]
struct JsonLine<'a> {
    start_time: String,
    method: &'a str,
    path: String,
    protocol: &'static str,
    response_code: u16,
    response_flags: &'a str,
    response_code_details: &'a str,
    grpc_status: Option<u8>,
    upstream_transport_failure_reason: Option<&'a str>,
    bytes_received: u64,
    bytes_sent: u64,
    duration: u64,
    upstream_service_time: Option<u64>,
    x_forwarded_for: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
    authority: Option<String>,
    upstream_host: Option<String>,
    upstream_cluster: Option<&'a str>,
    downstream_local_address: Option<String>,
    downstream_remote_address: Option<String>,
    requested_server_name: Option<&'a str>,
    route_name: Option<&'a str>,
    reporter: &'static str,
    attempts: u32,
    source_principal: Option<&'a str>,
    forwarded_client: Option<&'a str>,
    destination_principal: Option<&'a str>,
    policy_origin: Option<String>,
    policy_generation: u64,
    audited_by: Option<String>,
    trial: Option<&'static str>,
    authorizer: Option<&'a str>,
    authorizer_result: Option<&'static str>,
    request_principal: Option<&'a str>,
    trace_id: Option<String>,
}

impl<'a> JsonLine<'a> {
    fn new(record: &'a AccessRecord) -> Self {
        Self {
            start_time: Rfc3339(record.started()).to_string(),
            method: record.method.as_str(),
            path: lossy(&record.path),
            protocol: protocol_name(record.protocol),
            response_code: record.response_code,
            response_flags: record.response_flags,
            response_code_details: record.response_code_details,
            grpc_status: record.grpc_status,
            upstream_transport_failure_reason: record.upstream_transport_failure_reason.as_deref(),
            bytes_received: record.bytes_received,
            bytes_sent: record.bytes_sent,
            duration: millis(record.duration),
            upstream_service_time: record.upstream_service_time.map(millis),
            x_forwarded_for: record.x_forwarded_for.as_ref().map(lossy_header),
            user_agent: record.user_agent.as_ref().map(lossy_header),
            request_id: record.request_id.as_ref().map(lossy_header),
            authority: record.authority.as_ref().map(lossy),
            upstream_host: record.upstream_host.map(|address| address.to_string()),
            upstream_cluster: record.upstream_cluster.as_deref(),
            downstream_local_address: record.downstream_local_address.map(|address| address.to_string()),
            downstream_remote_address: record.downstream_remote_address.map(|address| address.to_string()),
            requested_server_name: record.requested_server_name.as_deref(),
            route_name: record.route_name.as_deref(),
            reporter: record.reporter.as_str(),
            attempts: record.attempts,
            source_principal: record.source_principal.as_deref(),
            forwarded_client: record.forwarded_client.as_deref(),
            destination_principal: record.destination_principal.as_deref(),
            policy_origin: record.policy_origin.as_ref().map(ToString::to_string),
            policy_generation: record.policy_generation,
            audited_by: record.audited_by.as_ref().map(|rule| rule.policy.to_string()),
            trial: record.trial.map(Verdict::as_str),
            authorizer: record.asked.as_ref().map(|(name, _)| &**name),
            authorizer_result: record.asked.as_ref().map(|(_, result)| result.as_str()),
            request_principal: record.request_principal.as_deref(),
            trace_id: record.trace_id.map(|id| TraceId(id).to_string()),
        }
    }
}

fn lossy(text: &Text) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

fn lossy_header(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn header(value: Option<&HeaderValue>) -> Option<Escaped<'_>> {
    value.map(|value| Escaped(value.as_bytes()))
}

fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The protocol as Envoy's `%PROTOCOL%` has it.
pub(super) fn protocol_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Bytes that a client chose, made harmless: quotes, backslashes, controls and what is not ASCII become escapes.
pub(super) struct Escaped<'a>(pub(super) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// A value, or Envoy's `-`.
struct Dash<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Dash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_char('-'),
        }
    }
}

/// A trace id, as `traceparent` has it.
struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A point in time in UTC, to the millisecond: `2026-03-01T12:00:00.000Z`.
pub(super) struct Rfc3339(pub(super) SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = since.as_secs();
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let millis = since.subsec_millis();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// The date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013).
const fn civil_date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let january_or_february = if month <= 2 { 1 } else { 0 };
    (year_of_era + era * 400 + january_or_february, month, day_of_month)
}
