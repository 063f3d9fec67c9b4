//! `OutlierDetection`: when an endpoint is ejected.

use http::StatusCode;

use super::values::{duration, percent};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::traffic::OutlierDetection;
use crate::policy::reader::{Fields, Reader, within};
use crate::policy::source::Node;

/// Reads the block; the detector is on wherever there is one.
pub(super) fn outlier_detection(cx: &Reader<'_>, node: &Node) -> Option<OutlierDetection> {
    let mut fields = cx.mapping(node)?;
    let default = OutlierDetection::default();
    let mut found = OutlierDetection {
        consecutive_5xx: fields
            .optional("consecutive5xxErrors", Reader::u32)
            .unwrap_or(default.consecutive_5xx),
        consecutive_gateway_errors: fields
            .optional("consecutiveGatewayErrors", Reader::u32)
            .unwrap_or(default.consecutive_gateway_errors),
        interval: fields.optional("interval", duration).unwrap_or(default.interval),
        base_ejection: fields
            .optional("baseEjectionTime", duration)
            .unwrap_or(default.base_ejection),
        max_ejection: default.max_ejection,
        // 0 is not "none": it is the value that is not set.
        max_ejected_percent: fields
            .optional("maxEjectionPercent", percent)
            .filter(|percent| *percent > 0)
            .unwrap_or(default.max_ejected_percent),
        min_healthy_percent: fields
            .optional("minHealthPercent", percent)
            .unwrap_or(default.min_healthy_percent),
        ..OutlierDetection::default()
    };
    warn_of_consecutive_errors(cx, &mut fields);
    found.consecutive_local_failures = local_failures(cx, &mut fields);
    found.error_codes = fields.list("outlierDetectionHttpErrorCodes", status);
    fields.finish();
    Some(found)
}

fn status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    StatusCode::from_u16(within(100..=599)(cx, node)?).ok()
}

fn warn_of_consecutive_errors(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    if let Some((key, _)) = fields.entry("consecutiveErrors") {
        let message = "`consecutiveErrors` is deprecated, and has no effect in Istio and here";
        let help = "write `consecutive5xxErrors` or `consecutiveGatewayErrors`";
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help(help));
    }
}

/// Failures in a row that are Envoy's default.
const LOCAL_FAILURES: u32 = 5;

/// Reads whether failures to answer are counted apart, and how many are too many.
fn local_failures(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) -> Option<u32> {
    let is_split = fields.optional("splitExternalLocalOriginErrors", Reader::bool) == Some(true);
    let limit = fields.optional("consecutiveLocalOriginFailures", Reader::u32);
    if let Some((key, _)) = fields.entry("consecutiveLocalOriginFailures").filter(|_| !is_split) {
        let message = "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
    is_split.then(|| limit.unwrap_or(LOCAL_FAILURES))
}
