//! `EgressNetwork`: whether a namespace may call what is outside of the mesh.

use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::{OutboundMode, Policy};
use crate::policy::reader::{Reader, choice};

use super::authentication::networks;
use super::{NOT_YET, Object, required_spec};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Traffic {
    Allow,
    Deny,
}

const TRAFFIC: &[(&str, Traffic)] = &[("Allow", Traffic::Allow), ("Deny", Traffic::Deny)];

/// Reads an `EgressNetwork`: where it says what the mesh does anyway, it is in force.
pub(super) fn lower(cx: &Reader<'_>, object: &Object<'_>, policy: &mut Policy) {
    let Some(mut fields) = required_spec(cx, object).and_then(|spec| cx.mapping(spec)) else {
        return;
    };
    fields.optional("networks", networks);
    let traffic = fields.required("trafficPolicy", choice(TRAFFIC));
    let span = fields
        .entry("trafficPolicy")
        .map_or_else(|| fields.span(), |(key, _)| key.span);
    fields.finish();
    let is_so = match traffic {
        Some(Traffic::Allow) => policy.mesh.outbound == OutboundMode::AllowAny,
        Some(Traffic::Deny) => policy.mesh.outbound == OutboundMode::RegistryOnly,
        None => return,
    };
    if is_so {
        return;
    }
    let what = quoted(if traffic == Some(Traffic::Deny) {
        "Deny"
    } else {
        "Allow"
    });
    let message = format!(
        "`trafficPolicy` {what} is {}: the settings of the mesh say otherwise, for all namespaces",
        NOT_YET.title()
    );
    let help = "write `outbound: registry_only` or `allow_any` into the settings of the mesh";
    cx.report(Diagnostic::new(Code::NOT_YET_IN_FORCE, span, message).with_help(help));
}
