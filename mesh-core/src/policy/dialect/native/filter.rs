//! What a rule does with requests and responses: `rewrite`, `headers`, `redirect`, `respond`, `fault`, `mirrors`, `cors`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::form::{
    Authority, BodyText, ChangedHeader, CorsHeader, CorsMethod, Dur, Flag, Form, HeaderValue, NewPath, NonEmpty, Opt,
    Pairs, Port, RedirectStatus, Schema, SchemeName, Seconds, Share, Status, Text, Tree, choices, form, one_of, pair,
    warn_of_empty,
};
use super::route::DestinationForm;
use super::route_match::Comparison;
use super::scope::Scope;
use crate::policy::diagnostic::{Code, Diagnostic, listed, quoted};
use crate::policy::dialect::filter_values::{bounded_body, check_groups};
use crate::policy::model::Origin;
use crate::policy::model::filter::{
    Abort, Answer, Cors, Credentials, DirectResponse, Fault, Fraction, HeaderChanges, HeaderOrder, HeaderRules, Mirror,
    OriginMatch, PathRewrite, Redirect, RedirectPort, Rewrite, UnmatchedPreflight,
};
use crate::policy::model::route::{Destination, RouteRule, StringMatch};
use crate::policy::reader::{Fields, Reader, choice, within};
use crate::policy::source::{Key, Node, Value};

form! {
    /// The fields of a rule that shape its requests and responses.
    Filters of RouteRule; {
        "rewrite" rewrite: Opt<RewriteForm>;
        "headers" headers: Headers;
        "header_order" header_order: Order;
        "fault" fault: Opt<FaultForm>;
        "mirrors" mirrors: NonEmpty<MirrorForm>;
        "cors" cors: Opt<CorsForm>;
        "timeout" timeout: Opt<Dur>;
    }
}

form! {
    /// What is removed, set and added, in this order.
    Changes of HeaderChanges, check warn_of_empty; {
        "remove" remove: NonEmpty<ChangedHeader>;
        "set" set: Pairs<ChangedHeader, HeaderValue>;
        "add" add: Pairs<ChangedHeader, HeaderValue>;
    }
}

form! {
    /// Changes of headers.
    Headers of HeaderRules, check warn_of_empty; {
        "request" request: Changes;
        "response" response: Changes;
    }
}

choices! {
    /// Whether the headers of the rule or those of the destination are changed last.
    Order of HeaderOrder; {
        "destination_last" HeaderOrder::DestinationLast;
        "rule_last" HeaderOrder::RuleLast;
    }
}

form! {
    /// What the endpoint gets in place of the request's own.
    RewriteForm of Rewrite, check warn_of_empty; {
        "authority" authority: Opt<Authority>;
        "path" path: Opt<Path>;
    }
}

/// A regex and what stands in its place.
type Replace = (String, String);

pair! {
    /// A regex and what stands in its place, with `\1` for its groups.
    Substitution; "pattern" super::form::Regex, "with" Text
}

/// The same, with no group that the regex does not have.
struct Replacement;

impl Form for Replacement {
    type Of = Replace;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Replace> {
        let found = Substitution::read(cx, node, scope)?;
        if let Some(with) = node.get("with") {
            check_groups(cx, ("with", with), &found.0, &found.1);
        }
        Some(found)
    }

    fn write(value: &Replace) -> Tree {
        Substitution::write(value)
    }

    fn schema(schema: &mut Schema) -> Json {
        Substitution::schema(schema)
    }
}

fn replacement(path: &PathRewrite) -> Replace {
    match path {
        PathRewrite::Regex { pattern, substitution } => (pattern.clone(), substitution.clone()),
        _ => Replace::default(),
    }
}

one_of! {
    /// What becomes of a path.
    Path of PathRewrite; {
        "full" PathRewrite::Full(text) => text, PathRewrite::Full, NewPath;
        "prefix" PathRewrite::Prefix(text) => text, PathRewrite::Prefix, Text;
        "segment_prefix" PathRewrite::SegmentPrefix(text) => text, PathRewrite::SegmentPrefix, NewPath;
        "regex" regex @ PathRewrite::Regex { .. } => &replacement(regex),
            |(pattern, substitution)| PathRewrite::Regex { pattern, substitution }, Replacement;
    }
}

one_of! {
    /// What becomes of a path in the address of a redirect, where the whole path may bring a query.
    NewLocation of PathRewrite; {
        "full" PathRewrite::Full(text) => text, PathRewrite::Full, Text;
        "prefix" PathRewrite::Prefix(text) => text, PathRewrite::Prefix, Text;
        "segment_prefix" PathRewrite::SegmentPrefix(text) => text, PathRewrite::SegmentPrefix, NewPath;
        "regex" regex @ PathRewrite::Regex { .. } => &replacement(regex),
            |(pattern, substitution)| PathRewrite::Regex { pattern, substitution }, Replacement;
    }
}

const PORTS: &[(&str, RedirectPort)] = &[
    ("request", RedirectPort::Request),
    ("protocol_default", RedirectPort::ProtocolDefault),
    ("scheme_or_request", RedirectPort::SchemeOrRequest),
];

/// A port, or from where it is taken.
struct PortOfRedirect;

impl Form for PortOfRedirect {
    type Of = RedirectPort;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<RedirectPort> {
        match node
            .as_text()
            .is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
        {
            true => Port::read(cx, node, scope).map(RedirectPort::Number),
            false => choice(PORTS)(cx, node),
        }
    }

    fn write(value: &RedirectPort) -> Tree {
        match value {
            RedirectPort::Number(port) => Port::write(port),
            _ => PORTS
                .iter()
                .find(|(_, known)| known == value)
                .map_or(Tree::Nothing, |(name, _)| Tree::text(*name)),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        json!({ "oneOf": [Port::schema(schema), { "enum": ["request", "protocol_default", "scheme_or_request"] }] })
    }
}

form! {
    /// An answer that sends the caller elsewhere.
    RedirectForm of Redirect = Redirect::new(StatusCode::MOVED_PERMANENTLY), check leads_elsewhere; {
        "status" status: RedirectStatus;
        "scheme" scheme: Opt<SchemeName>;
        "authority" authority: Opt<Authority>;
        "port" port: PortOfRedirect;
        "path" path: Opt<NewLocation>;
    }
}

/// A redirect to the address of the request itself would never end.
fn leads_elsewhere(cx: &Reader<'_>, node: &Node, _: &Redirect) {
    // A misspelt field is told already.
    let is_nothing = |(key, value): &(Key, Node)| &*key.name == "status" || value.is_null();
    if node.entries().iter().all(is_nothing) {
        let message = format!("missing field {}", listed(&["scheme", "authority", "port", "path"]));
        cx.report(Diagnostic::new(Code::MISSING_FIELD, node.span, message));
    }
}

form! {
    /// An answer of its own.
    Respond of DirectResponse = DirectResponse::new(StatusCode::OK); {
        "status" [required] status: Status;
        "body" body: Opt<Body>;
    }
}

/// Text, or `{ base64: … }`.
struct Body;

impl Form for Body {
    type Of = Bytes;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Bytes> {
        if !matches!(node.value, Value::Mapping(_)) {
            return BodyText::read(cx, node, scope);
        }
        let mut fields = cx.mapping(node)?;
        let bytes = fields.required("base64", |cx, node| {
            let text = cx.text(node)?;
            match STANDARD.decode(text) {
                Ok(bytes) => bounded_body(cx, node, bytes).map(Bytes::from),
                Err(error) => cx.invalid(node, format!("expected base64: {error}")),
            }
        });
        fields.finish();
        bytes
    }

    fn write(value: &Bytes) -> Tree {
        if let Ok(text) = std::str::from_utf8(value) {
            return Tree::text(text);
        }
        let mut map = Tree::map();
        map.put("base64", Tree::text(STANDARD.encode(value)));
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        let long = schema.object("Body", |schema, object| {
            object.property("base64", Text::schema(schema), true)
        });
        json!({ "oneOf": [{ "type": "string" }, long] })
    }
}

/// The names of answers.
pub(super) const ANSWERS: [&str; 2] = ["redirect", "respond"];

/// Reads `redirect` or `respond`.
pub(super) fn answer(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>) -> Option<Answer> {
    fields.one_of(&["redirect", "respond", "to"]);
    let redirect = fields.optional("redirect", |cx, node| RedirectForm::read(cx, node, scope));
    let direct = fields.optional("respond", |cx, node| Respond::read(cx, node, scope));
    redirect.map(Answer::Redirect).or_else(|| direct.map(Answer::Direct))
}

/// An answer takes the place of what a rule does with requests that it forwards; faults come before it.
pub(super) fn check_answer(cx: &Reader<'_>, fields: &mut Fields<'_, '_, '_>) {
    for name in ANSWERS {
        if fields.entry(name).is_none() {
            continue;
        }
        fields.one_of(&[name, "rewrite"]);
        for other in ["timeout", "retry", "mirrors"] {
            if let Some((key, _)) = fields.entry(other) {
                let message = format!("{} has no effect: the rule forwards no request", quoted(&key.name));
                cx.report(Diagnostic::new(Code::NO_EFFECT, key.span, message));
            }
        }
    }
}

/// Prints it.
pub(super) fn write_answer(answer: Option<&Answer>, map: &mut Tree) {
    match answer {
        Some(Answer::Redirect(redirect)) => map.put("redirect", RedirectForm::write(redirect)),
        Some(Answer::Direct(direct)) => map.put("respond", Respond::write(direct)),
        None => {}
    }
}

pair! {
    /// A pause before the request is sent.
    Delay; "duration" Dur, "percent" Share = Fraction::ALL
}

/// An answer in place of the service's: `{ status, percent }` or `{ grpc_status, percent }`.
struct AbortForm;

impl Form for AbortForm {
    type Of = (Abort, Fraction);

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Self::Of> {
        let mut fields = cx.mapping(node)?;
        fields.required_one_of(&["status", "grpc_status"]);
        let status = fields.optional("status", |cx, node| Status::read(cx, node, scope));
        let grpc = fields.optional("grpc_status", within(0..=16));
        let percent = fields.optional("percent", |cx, node| Share::read(cx, node, scope));
        fields.finish();
        let abort = status.map(Abort::Http).or_else(|| grpc.map(Abort::Grpc))?;
        Some((abort, percent.unwrap_or(Fraction::ALL)))
    }

    fn write((abort, percent): &Self::Of) -> Tree {
        let mut map = Tree::map();
        match abort {
            Abort::Http(status) => map.put("status", Status::write(status)),
            Abort::Grpc(status) => map.put("grpc_status", Tree::number(*status)),
        }
        if *percent != Fraction::ALL {
            map.put("percent", Share::write(percent));
        }
        map
    }

    fn schema(schema: &mut Schema) -> Json {
        schema.object("Abort", |schema, object| {
            object.property("status", Status::schema(schema), false);
            object.property(
                "grpc_status",
                json!({ "type": "integer", "minimum": 0, "maximum": 16 }),
                false,
            );
            object.property("percent", Share::schema(schema), false);
            object.exclude(&["status", "grpc_status"]);
            object.require_one(&["status", "grpc_status"]);
        })
    }
}

form! {
    /// Failures that are made on purpose.
    FaultForm of Fault, check warn_of_empty; {
        "delay" delay: Opt<Delay>;
        "abort" abort: Opt<AbortForm>;
    }
}

fn no_mirror() -> Mirror {
    Mirror::new(Destination::default(), Origin::default())
}

/// Where a copy goes: a destination in full, without a weight.
struct MirrorTo;

impl Form for MirrorTo {
    type Of = Destination;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Destination> {
        if let Some(weight) = node.get("weight") {
            return cx.invalid(
                weight,
                "a mirror has no `weight`, `percent` says how many requests are copied",
            );
        }
        DestinationForm::read(cx, node, scope)
    }

    fn write(value: &Destination) -> Tree {
        // Whatever its weight, a mirror has one destination.
        DestinationForm::write(&Destination {
            weight: 1,
            ..value.clone()
        })
    }

    fn schema(schema: &mut Schema) -> Json {
        DestinationForm::schema(schema)
    }
}

form! {
    /// A copy of requests, the answers to which are dropped.
    MirrorForm of Mirror = no_mirror(), origin origin; {
        "to" [required] destination: MirrorTo;
        "percent" fraction: Share;
    }
}

/// `*` for any, a text or a comparison.
struct AllowOrigin;

impl Form for AllowOrigin {
    type Of = OriginMatch;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<OriginMatch> {
        match node.as_text() {
            Some("*") => Some(OriginMatch::Any),
            Some("") => cx.invalid(node, "expected an origin, found empty text"),
            _ => Comparison::read(cx, node, scope).map(OriginMatch::Text),
        }
    }

    fn write(value: &OriginMatch) -> Tree {
        match value {
            OriginMatch::Any => Tree::text("*"),
            OriginMatch::Text(StringMatch::Exact(text)) if text == "*" => {
                let mut map = Tree::map();
                map.put("exact", Tree::text(text));
                map
            }
            OriginMatch::Text(text) => Comparison::write(text),
        }
    }

    fn schema(schema: &mut Schema) -> Json {
        Comparison::schema(schema)
    }
}

choices! {
    /// What becomes of a preflight of an origin that is not allowed.
    Unmatched of UnmatchedPreflight; {
        "forward" UnmatchedPreflight::Forward;
        "answer" UnmatchedPreflight::Answer;
    }
}

/// Whether browsers may send credentials.
struct CredentialsForm;

impl Form for CredentialsForm {
    type Of = Credentials;

    fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Credentials> {
        let allows = Flag::read(cx, node, scope)?;
        Some(if allows { Credentials::Allow } else { Credentials::Omit })
    }

    fn write(value: &Credentials) -> Tree {
        Tree::Flag(*value == Credentials::Allow)
    }

    fn schema(schema: &mut Schema) -> Json {
        Flag::schema(schema)
    }
}

form! {
    /// What pages of other origins may do.
    CorsForm of Cors, check allows_some; {
        "allow_origins" allow_origins: NonEmpty<AllowOrigin>;
        "allow_methods" allow_methods: NonEmpty<CorsMethod>;
        "allow_headers" allow_headers: NonEmpty<CorsHeader>;
        "expose_headers" expose_headers: NonEmpty<CorsHeader>;
        "max_age" max_age: Opt<Seconds>;
        "allow_credentials" credentials: CredentialsForm;
        "unmatched_preflights" unmatched: Unmatched;
    }
}

fn allows_some(cx: &Reader<'_>, node: &Node, _: &Cors) {
    if node.get("allow_origins").is_none_or(Node::is_null) {
        let message = "`cors` has no effect without `allow_origins`";
        cx.report(Diagnostic::new(Code::NO_EFFECT, node.span, message));
    }
}
