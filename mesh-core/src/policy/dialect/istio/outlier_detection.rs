//! `OutlierDetection`: when an endpoint is ejected.

use super::values::{duration, percent};
use super::{NOT_YET, refuse_all};
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::traffic::OutlierDetection;
use crate::policy::reader::{Fields, Reader};
use crate::policy::source::Node;

/// Reads the block; the detector is on wherever there is one.
pub(super) fn outlier_detection(cx: &Reader<'_>, node: &Node) -> Option<OutlierDetection> {
    let mut fields = cx.mapping(node)?;
    let default = OutlierDetection::default();
    let found = OutlierDetection {
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
    refuse_split(cx, &mut fields);
    let reason = "errors are the 5xx";
    refuse_all(&mut fields, NOT_YET, &[("outlierDetectionHttpErrorCodes", reason)]);
    fields.finish();
    Some(found)
}

fn warn_of_consecutive_errors(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    if let Some((key, _)) = fields.entry("consecutiveErrors") {
        let message = "`consecutiveErrors` is deprecated, and has no effect in Istio and here";
        let help = "write `consecutive5xxErrors` or `consecutiveGatewayErrors`";
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help(help));
    }
}

/// Local errors are not counted apart from those of the server.
fn refuse_split(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    let is_split = fields.optional("splitExternalLocalOriginErrors", Reader::bool) == Some(true);
    if is_split {
        let reason = "local errors are counted with those of the server";
        let refused = [
            ("splitExternalLocalOriginErrors", reason),
            ("consecutiveLocalOriginFailures", reason),
        ];
        refuse_all(fields, NOT_YET, &refused);
    } else if let Some((key, _)) = fields.entry("consecutiveLocalOriginFailures") {
        let message = "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors: true`";
        cx.report(Diagnostic::new(Code::INVALID_POLICY, key.span, message));
    }
}
