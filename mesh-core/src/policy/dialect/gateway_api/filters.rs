//! Filters: what a rule or a backend does to requests and responses.

use http::{HeaderName, StatusCode};

use super::backend::{Route, backend_target};
use super::http_match::path_text;
use super::values::{bounded, header_name, hostname, precise_hostname};
use super::{at_most, unexpected};
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::filter::{
    Answer, Cors, Credentials, DirectResponse, Fraction, HeaderChanges, HeaderRules, HeaderText, Mirror, OriginMatch,
    PathRewrite, Redirect, RedirectPort, Rewrite, UnmatchedPreflight,
};
use crate::policy::model::route::StringMatch;
use crate::policy::reader::{Fields, Reader, choice, list_of, within};
use crate::policy::source::{Node, Spanned};

/// The filters of a rule or a backend, taken together.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) headers: HeaderRules,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) answer: Option<Answer>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) cors: Option<Cors>,
    /// Where a prefix is replaced: the rule must have one match, by prefix.
    pub(super) replaces_prefix: Option<crate::policy::source::SourceSpan>,
}

/// A kind of filter, with the field that has its settings.
struct Kind {
    name: &'static str,
    field: &'static str,
    /// Whether it may be given several times.
    repeats: bool,
}

const fn kind(name: &'static str, field: &'static str, repeats: bool) -> Kind {
    Kind { name, field, repeats }
}

const KINDS: &[Kind] = &[
    kind("RequestHeaderModifier", "requestHeaderModifier", false),
    kind("ResponseHeaderModifier", "responseHeaderModifier", false),
    kind("RequestRedirect", "requestRedirect", false),
    kind("URLRewrite", "urlRewrite", false),
    kind("CORS", "cors", false),
    kind("RequestMirror", "requestMirror", true),
    kind("ExtensionRef", "extensionRef", true),
    kind("ExternalAuth", "externalAuth", false),
];

/// Reads `filters`.
pub(super) fn filters(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<Filters> {
    at_most(cx, node, 16);
    let mut found = Filters::default();
    let mut seen: Vec<Spanned<&'static str>> = Vec::new();
    for item in node.items() {
        let Some(kind) = filter(cx, item, route, &mut found) else {
            continue;
        };
        let earlier = seen.iter().find(|other| excludes(other.value, kind));
        if let Some(first) = earlier {
            let message = match first.value == kind.name {
                true => format!("filter {} is given twice", quoted(kind.name)),
                false => format!(
                    "filters {} and {} exclude each other",
                    quoted(first.value),
                    quoted(kind.name)
                ),
            };
            let diagnostic = Diagnostic::new(Code::CONFLICTING_FIELDS, item.span, message);
            cx.report(diagnostic.with_label(first.span, "given here already"));
        }
        seen.push(Spanned {
            value: kind.name,
            span: item.span,
        });
    }
    Some(found)
}

fn excludes(first: &str, second: &Kind) -> bool {
    let pair = ["RequestRedirect", "URLRewrite"];
    (first == second.name && !second.repeats)
        || (first != second.name && pair.contains(&first) && pair.contains(&second.name))
}

/// Reads one filter: its settings stand in the field that its type names, and in no other.
fn filter(cx: &Reader<'_>, node: &Node, route: Route<'_>, found: &mut Filters) -> Option<&'static Kind> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("type", Reader::string);
    let kind = KINDS.iter().find(|kind| Some(kind.name) == name.as_deref());
    if let (None, Some(name), Some(node)) = (kind, &name, fields.node("type")) {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let expected = crate::policy::diagnostic::listed(&names);
        unexpected::<()>(cx, node, &expected, name);
    }
    for other in KINDS
        .iter()
        .filter(|other| kind.is_some_and(|kind| kind.field != other.field))
    {
        if let Some((key, _)) = fields.entry(other.field) {
            let message = format!(
                "field {} is for filters of the type {}",
                quoted(&key.name),
                quoted(other.name)
            );
            cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
        }
    }
    if let Some(kind) = kind {
        settings(&mut fields, kind, route, found);
    } else {
        fields.skip(&KINDS.each_field());
    }
    fields.finish();
    kind
}

trait EachField {
    fn each_field(&self) -> Vec<&'static str>;
}

impl EachField for [Kind] {
    fn each_field(&self) -> Vec<&'static str> {
        self.iter().map(|kind| kind.field).collect()
    }
}

fn settings(fields: &mut Fields<'_, '_, '_>, kind: &Kind, route: Route<'_>, found: &mut Filters) {
    match kind.name {
        "RequestHeaderModifier" => found.headers.request = fields.required(kind.field, changes).unwrap_or_default(),
        "ResponseHeaderModifier" => found.headers.response = fields.required(kind.field, changes).unwrap_or_default(),
        "RequestRedirect" => {
            let replaces = &mut found.replaces_prefix;
            found.answer = fields
                .required(kind.field, |cx, node| redirect(cx, node, replaces))
                .map(Answer::Redirect);
        }
        "URLRewrite" => {
            let replaces = &mut found.replaces_prefix;
            found.rewrite = fields.required(kind.field, |cx, node| rewrite(cx, node, replaces));
        }
        "CORS" => found.cors = fields.required(kind.field, cors),
        "RequestMirror" => found
            .mirrors
            .extend(fields.required(kind.field, |cx, node| mirror(cx, node, route))),
        "ExternalAuth" => {
            fields.required(kind.field, external_auth);
            fields.refuse(kind.field, Code::NOT_YET_IN_FORCE, "no authorizer is asked");
        }
        _ => {
            fields.required(kind.field, extension);
            // A filter that is not there is never skipped.
            found.answer = Some(Answer::Direct(DirectResponse::new(StatusCode::INTERNAL_SERVER_ERROR)));
        }
    }
}

/// A reference to an object of the implementation's own; there are none here.
fn extension(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    fields.required("group", Reader::any_text);
    fields.required("kind", Reader::name);
    fields.required("name", Reader::name);
    fields.finish();
    let message = "`extensionRef` refers to nothing that is known here: requests of the rule are answered with 500";
    cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
    None
}

fn external_auth(cx: &Reader<'_>, node: &Node) -> Option<()> {
    let mut fields = cx.mapping(node)?;
    let protocol = fields.required("protocol", choice(&[("HTTP", "http"), ("GRPC", "grpc")]));
    fields.required("backendRef", |_, _| Some(()));
    for name in ["http", "grpc"] {
        let settings = fields.entry(name);
        if let (Some((key, _)), true) = (settings, protocol.is_some_and(|protocol| protocol != name)) {
            let message = format!("field {} is for the other protocol", quoted(&key.name));
            cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
        }
    }
    fields.optional("http", |cx, node| {
        let mut http = cx.mapping(node)?;
        http.optional("path", path_text);
        http.skip(&["allowedHeaders", "allowedResponseHeaders"]);
        http.finish();
        Some(())
    });
    fields.skip(&["forwardBody"]);
    fields.finish();
    None
}

/// Reads a header modifier.
fn changes(cx: &Reader<'_>, node: &Node) -> Option<HeaderChanges> {
    let mut fields = cx.mapping(node)?;
    let mut found = HeaderChanges::default();
    for (name, list) in [("set", &mut found.set), ("add", &mut found.add)] {
        *list = fields.optional(name, values).unwrap_or_default();
    }
    found.remove = fields.optional("remove", removed).unwrap_or_default();
    fields.finish();
    Some(found)
}

fn values(cx: &Reader<'_>, node: &Node) -> Option<Vec<(HeaderName, HeaderText)>> {
    at_most(cx, node, 16);
    let mut found: Vec<(HeaderName, HeaderText)> = Vec::new();
    for item in node.items() {
        let Some((name, value)) = value(cx, item) else { continue };
        if found.iter().any(|(known, _)| *known == name) {
            twice(cx, item, &name);
        }
        found.push((name, HeaderText::literal(value)));
    }
    Some(found)
}

fn value(cx: &Reader<'_>, node: &Node) -> Option<(HeaderName, String)> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", header_name);
    let value = fields.required("value", bounded(4096));
    fields.finish();
    let value = value?;
    if http::HeaderValue::from_str(&value).is_err() || value.starts_with(' ') || value.ends_with(' ') {
        return unexpected(cx, node, "a value that a header can have", &value);
    }
    Some((name?, value))
}

fn removed(cx: &Reader<'_>, node: &Node) -> Option<Vec<HeaderName>> {
    at_most(cx, node, 16);
    let mut found: Vec<HeaderName> = Vec::new();
    for item in node.items() {
        let Some(name) = header_name(cx, item) else { continue };
        if found.contains(&name) {
            twice(cx, item, &name);
        }
        found.push(name);
    }
    Some(found)
}

fn twice(cx: &Reader<'_>, node: &Node, name: &HeaderName) {
    let message = format!("header {} is given twice", quoted(name.as_str()));
    cx.report(Diagnostic::new(Code::DUPLICATE_DEFINITION, node.span, message));
}

type Replaces = Option<crate::policy::source::SourceSpan>;

fn redirect(cx: &Reader<'_>, node: &Node, replaces: &mut Replaces) -> Option<Redirect> {
    const CODES: [u16; 5] = [301, 302, 303, 307, 308];
    let mut fields = cx.mapping(node)?;
    let status = fields.optional("statusCode", |cx, node| {
        let code = within::<u16>(0..=599)(cx, node)?;
        match CODES.contains(&code) {
            true => StatusCode::from_u16(code).ok(),
            false => unexpected(cx, node, "301, 302, 303, 307 or 308", &code.to_string()),
        }
    });
    let mut found = Redirect::new(status.unwrap_or(StatusCode::FOUND));
    found.scheme = fields
        .optional("scheme", choice(&[("http", "http"), ("https", "https")]))
        .map(Into::into);
    found.authority = fields.optional("hostname", precise_hostname);
    found.path = fields.optional("path", |cx, node| path_rewrite(cx, node, replaces));
    let port = fields.optional("port", Reader::port);
    found.port = port.map_or(RedirectPort::SchemeOrRequest, RedirectPort::Number);
    fields.finish();
    Some(found)
}

fn rewrite(cx: &Reader<'_>, node: &Node, replaces: &mut Replaces) -> Option<Rewrite> {
    let mut fields = cx.mapping(node)?;
    let found = Rewrite {
        authority: fields.optional("hostname", precise_hostname),
        path: fields.optional("path", |cx, node| path_rewrite(cx, node, replaces)),
    };
    fields.finish();
    Some(found)
}

fn path_rewrite(cx: &Reader<'_>, node: &Node, replaces: &mut Replaces) -> Option<PathRewrite> {
    const FIELDS: [(&str, &str); 2] = [
        ("ReplaceFullPath", "replaceFullPath"),
        ("ReplacePrefixMatch", "replacePrefixMatch"),
    ];
    let mut fields = cx.mapping(node)?;
    let kind = fields.required("type", choice(&FIELDS));
    for (name, field) in FIELDS
        .iter()
        .filter(|(_, field)| kind.is_some_and(|kind| kind != *field))
    {
        if let Some((key, _)) = fields.entry(field) {
            let message = format!("field {} is for the type {}", quoted(&key.name), quoted(name));
            cx.report(Diagnostic::new(Code::CONFLICTING_FIELDS, key.span, message));
        }
    }
    let text = kind.and_then(|kind| fields.required(kind, Reader::any_text));
    fields.finish();
    let text = text?;
    if text.len() > 1024 {
        return cx.invalid(node, "expected at most 1024 characters");
    }
    if kind == Some("replaceFullPath") {
        return Some(PathRewrite::Full(text));
    }
    *replaces = Some(node.span);
    Some(PathRewrite::SegmentPrefix(text))
}

fn mirror(cx: &Reader<'_>, node: &Node, route: Route<'_>) -> Option<Mirror> {
    let mut fields = cx.mapping(node)?;
    let to = fields.required("backendRef", |cx, node| backend_target(cx, node, route));
    let share = match fields.one_of(&["percent", "fraction"]) {
        Some(("percent", node)) => {
            within::<u8>(0..=100)(cx, node).map(|percent| Fraction::from_percent(percent.into()))
        }
        Some((_, node)) => fraction(cx, node),
        None => Some(Fraction::ALL),
    };
    fields.finish();
    let (to, origin) = (to?, cx.origin(node.span));
    if let Some(reason) = &to.unresolved {
        let message = format!("the mirror gets no copies: {reason}");
        cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
        return None;
    }
    let mut mirror = Mirror::new(to, origin);
    mirror.fraction = share?;
    Some(mirror)
}

fn fraction(cx: &Reader<'_>, node: &Node) -> Option<Fraction> {
    let mut fields = cx.mapping(node)?;
    let numerator = fields.required("numerator", within::<u32>(0..=i32::MAX.into()));
    let denominator = fields
        .optional("denominator", within::<u32>(1..=i32::MAX.into()))
        .unwrap_or(100);
    fields.finish();
    let numerator = numerator?;
    if numerator > denominator {
        return cx.invalid(
            node,
            format!("expected a part of a whole, found `{numerator}/{denominator}`"),
        );
    }
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator);
    u32::try_from(millionths).ok().map(Fraction::from_millionths)
}

fn cors(cx: &Reader<'_>, node: &Node) -> Option<Cors> {
    let mut fields = cx.mapping(node)?;
    let allow_origins = fields.optional("allowOrigins", origins).unwrap_or_default();
    let found = Cors {
        allow_origins,
        allow_methods: fields.optional("allowMethods", lone_star).unwrap_or_default(),
        allow_headers: fields.optional("allowHeaders", lone_star).unwrap_or_default(),
        expose_headers: fields.optional("exposeHeaders", lone_star).unwrap_or_default(),
        max_age: Some(std::time::Duration::from_secs(
            fields
                .optional("maxAge", within::<u64>(1..=i32::MAX.into()))
                .unwrap_or(5),
        )),
        credentials: match fields.optional("allowCredentials", Reader::bool) {
            Some(true) => Credentials::Allow,
            _ => Credentials::Omit,
        },
        unmatched: UnmatchedPreflight::Answer,
    };
    fields.finish();
    Some(found)
}

/// Reads names; `*` must stand alone.
fn lone_star(cx: &Reader<'_>, node: &Node) -> Option<Vec<String>> {
    at_most(cx, node, 64);
    let names = list_of(Reader::any_text)(cx, node)?;
    if names.len() > 1 && names.iter().any(|name| name == "*") {
        return cx.invalid(node, "`*` must stand alone");
    }
    Some(names)
}

fn origins(cx: &Reader<'_>, node: &Node) -> Option<Vec<OriginMatch>> {
    let texts = lone_star(cx, node)?;
    let items = node.items().iter().zip(&texts);
    Some(items.filter_map(|(node, text)| origin(cx, node, text)).collect())
}

/// `scheme://host[:port]`; `*.` covers any number of labels, and the port of the scheme may be written or not.
fn origin(cx: &Reader<'_>, node: &Node, text: &str) -> Option<OriginMatch> {
    if text == "*" {
        return Some(OriginMatch::Any);
    }
    let Some((scheme, authority)) = text.split_once("://").filter(|(_, authority)| !authority.is_empty()) else {
        return unexpected(cx, node, "an origin such as `https://shop.example`, or `*`", text);
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    let default = match scheme {
        "http" => Some("80"),
        "https" => Some("443"),
        _ => None,
    };
    let port = match (port, default) {
        (None, Some(default)) => format!("(:{default})?"),
        (Some(port), Some(default)) if port == default => format!("(:{port})?"),
        (Some(port), _) => format!(":{port}"),
        (None, None) => String::new(),
    };
    let host = match host.strip_prefix("*.") {
        Some(rest) => format!("([^./:]+\\.)+{}", regex::escape(rest)),
        None if host == "*" => "[^/:]+".into(),
        None => regex::escape(host),
    };
    let scheme = if scheme == "*" {
        "[a-z][a-z0-9+.-]*".into()
    } else {
        regex::escape(scheme)
    };
    Some(OriginMatch::Text(StringMatch::Regex(format!(
        "{scheme}://{host}{port}"
    ))))
}

/// Reads host names.
pub(super) fn hostnames(cx: &Reader<'_>, node: &Node) -> Option<Vec<Spanned<String>>> {
    at_most(cx, node, 16);
    list_of(crate::policy::reader::spanned(hostname))(cx, node)
}
