//! Faults, mirrors and CORS of a route.

use super::scope::Scope;
use super::string_match::of_origin;
use super::values::duration;
use super::virtual_service::destination;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::dialect::filter_values::{cors_header, cors_method, status, whole_seconds};
use crate::policy::model::filter::{
    Abort, Cors, Credentials, Fault, Fraction, Mirror, OriginMatch, UnmatchedPreflight,
};
use crate::policy::model::route::StringMatch;
use crate::policy::reader::{Fields, Reader, choice, list_of, within};
use crate::policy::source::Node;

/// Reads `fault`.
pub(super) fn fault(cx: &Reader<'_>, node: &Node) -> Option<Fault> {
    let mut fields = cx.mapping(node)?;
    if fields.node("delay").is_none() && fields.node("abort").is_none() {
        fields.missing(&["delay", "abort"]);
    }
    let delay = fields.optional("delay", delay);
    let abort = fields.optional("abort", abort);
    fields.finish();
    Some(Fault {
        delay,
        abort: abort.flatten(),
    })
}

fn delay(cx: &Reader<'_>, node: &Node) -> Option<(std::time::Duration, Fraction)> {
    let mut fields = cx.mapping(node)?;
    let share = share(cx, &mut fields, node);
    fields.refuse(
        "exponentialDelay",
        Code::NOT_IN_PROCESS,
        "no version of Istio has put it in force",
    );
    let pause = fields.required("fixedDelay", duration);
    fields.finish();
    Some((pause?, share))
}

/// gRPC statuses by name.
const GRPC: &[(&str, u8)] = &[
    ("OK", 0),
    ("CANCELLED", 1),
    ("UNKNOWN", 2),
    ("INVALID_ARGUMENT", 3),
    ("DEADLINE_EXCEEDED", 4),
    ("NOT_FOUND", 5),
    ("ALREADY_EXISTS", 6),
    ("PERMISSION_DENIED", 7),
    ("RESOURCE_EXHAUSTED", 8),
    ("FAILED_PRECONDITION", 9),
    ("ABORTED", 10),
    ("OUT_OF_RANGE", 11),
    ("UNIMPLEMENTED", 12),
    ("INTERNAL", 13),
    ("UNAVAILABLE", 14),
    ("DATA_LOSS", 15),
    ("UNAUTHENTICATED", 16),
];

/// `None` in it for an abort without an error, which never happens.
fn abort(cx: &Reader<'_>, node: &Node) -> Option<Option<(Abort, Fraction)>> {
    let mut fields = cx.mapping(node)?;
    let share = share(cx, &mut fields, node);
    fields.refuse(
        "http2Error",
        Code::NOT_IN_PROCESS,
        "no version of Istio has put it in force",
    );
    let given = fields.one_of(&["httpStatus", "grpcStatus"]);
    fields.finish();
    let answer = match given {
        None => {
            let message = "`abort` has no effect: it names no error";
            let help = "give `httpStatus` or `grpcStatus`";
            cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
            return Some(None);
        }
        Some((name @ "httpStatus", node)) => Abort::Http(cx.in_field(Some(name), || status(cx, node))?),
        Some((name, node)) => Abort::Grpc(cx.in_field(Some(name), || choice(GRPC)(cx, node))?),
    };
    Some(Some((answer, share)))
}

/// A share of the requests: none where it is left out, as in Istio.
fn share(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, node: &Node) -> Fraction {
    let exact = fields.optional("percentage", |cx, node| percentage(cx, node, SMALLEST));
    let whole = fields.optional("percent", within::<u8>(0..=100));
    if let Some((key, _)) = fields.entry("percent") {
        let message = "field `percent` is deprecated";
        cx.report(Diagnostic::new(Code::DEPRECATED, key.span, message).with_help("write `percentage: { value: … }`"));
    }
    if fields.node("percentage").is_none() && fields.node("percent").is_none() {
        let message = "the fault has no effect: without `percentage` it is for no request";
        let help = "write `percentage: { value: 100 }` for every request";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message).with_help(help));
    }
    exact
        .or_else(|| whole.map(|whole| Fraction::from_percent(whole.into())))
        .unwrap_or_default()
}

/// The smallest share of a fault that is not 0, in percent.
const SMALLEST: f64 = 0.0001;

/// Reads `{ value: 12.5 }`: 0, or at least `least`.
fn percentage(cx: &Reader<'_>, node: &Node, least: f64) -> Option<Fraction> {
    if let Some(number) = node
        .as_text()
        .filter(|text| text.trim_end_matches('%').parse::<f64>().is_ok())
    {
        let help = format!("write `{{ value: {} }}`", number.trim_end_matches('%'));
        return cx.wrong_type_with(node, "a mapping", Some(help));
    }
    let mut fields = cx.mapping(node)?;
    let value = fields.optional("value", |cx, node| {
        let value = cx.f64(node)?;
        if value == 0.0 || (least..=100.0).contains(&value) {
            return Some(value);
        }
        let expected = match least > 0.0 {
            true => format!("0, or {least} to 100"),
            false => "0 to 100".into(),
        };
        cx.invalid(node, format!("expected {expected}, found `{value}`"))
    });
    fields.finish();
    Some(Fraction::from_percent(value.unwrap_or_default()))
}

/// Reads `mirror`, `mirrors` and the shares of the former.
pub(super) fn mirrors(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Vec<Mirror> {
    let given = fields.one_of(&["mirror", "mirrors"]);
    let exact = fields.optional("mirrorPercentage", |cx, node| percentage(cx, node, 0.0));
    let whole = fields.optional("mirrorPercent", within::<u8>(0..=100));
    if let Some((key, _)) = fields.entry("mirrorPercent") {
        let message = format!("field {} is deprecated", quoted(&key.name));
        cx.report(
            Diagnostic::new(Code::DEPRECATED, key.span, message).with_help("write `mirrorPercentage: { value: … }`"),
        );
    }
    if !matches!(given, Some(("mirror", _))) {
        for name in ["mirrorPercentage", "mirrorPercent"] {
            if let Some((key, _)) = fields.entry(name) {
                let message = format!("{} has no effect without `mirror`", quoted(&key.name));
                cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
            }
        }
    }
    match given {
        Some((name @ "mirror", node)) => {
            let share = exact.or_else(|| whole.map(|whole| Fraction::from_percent(whole.into())));
            let mirror = cx.in_field(Some(name), || one_mirror(cx, node, scope, share));
            mirror.into_iter().collect()
        }
        Some((name, node)) => {
            let listed = || list_of(|cx, node| listed_mirror(cx, node, scope))(cx, node);
            cx.in_field(Some(name), listed).unwrap_or_default()
        }
        None => Vec::new(),
    }
}

fn one_mirror(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, share: Option<Fraction>) -> Option<Mirror> {
    let mut mirror = Mirror::new(destination(cx, node, scope)?, cx.origin(node.span));
    mirror.fraction = share.unwrap_or(Fraction::ALL);
    Some(mirror)
}

fn listed_mirror(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Mirror> {
    let mut fields = cx.mapping(node)?;
    let to = fields.required("destination", |cx, node| destination(cx, node, scope));
    let share = fields.optional("percentage", |cx, node| percentage(cx, node, 0.0));
    fields.finish();
    let mut mirror = Mirror::new(to?, cx.origin(node.span));
    mirror.fraction = share.unwrap_or(Fraction::ALL);
    Some(mirror)
}

/// Reads `corsPolicy`.
pub(super) fn cors(cx: &Reader<'_>, node: &Node) -> Option<Cors> {
    const UNMATCHED: &[(&str, UnmatchedPreflight)] = &[
        ("UNSPECIFIED", UnmatchedPreflight::Forward),
        ("FORWARD", UnmatchedPreflight::Forward),
        ("IGNORE", UnmatchedPreflight::Answer),
    ];
    let mut fields = cx.mapping(node)?;
    let given = fields.one_of(&["allowOrigins", "allowOrigin"]).is_some();
    let mut origins = fields.list("allowOrigins", |cx, node| of_origin(cx, node).map(origin));
    let exact = fields.list("allowOrigin", Reader::name);
    origins.extend(exact.into_iter().map(StringMatch::Exact).map(origin));
    if let Some((key, _)) = fields.entry("allowOrigin") {
        let message = "field `allowOrigin` is deprecated";
        cx.report(
            Diagnostic::new(Code::DEPRECATED, key.span, message).with_help("write `allowOrigins: [{ exact: … }]`"),
        );
    }
    if !given {
        let message = "`corsPolicy` has no effect without `allowOrigins`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
    let found = Cors {
        allow_origins: origins,
        allow_methods: fields.list("allowMethods", cors_method),
        allow_headers: fields.list("allowHeaders", cors_header),
        expose_headers: fields.list("exposeHeaders", cors_header),
        max_age: fields.optional("maxAge", whole_seconds),
        credentials: match fields.optional("allowCredentials", Reader::bool) {
            Some(true) => Credentials::Allow,
            _ => Credentials::Omit,
        },
        unmatched: fields
            .optional("unmatchedPreflights", choice(UNMATCHED))
            .unwrap_or_default(),
    };
    fields.finish();
    Some(found)
}

/// Envoy takes `*` for any origin, and still repeats the one that asks.
fn origin(origin: StringMatch) -> OriginMatch {
    match origin {
        StringMatch::Exact(text) if text == "*" => OriginMatch::Text(StringMatch::Regex(".*".into())),
        origin => OriginMatch::Text(origin),
    }
}
