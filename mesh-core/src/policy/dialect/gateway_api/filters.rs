//! `filters`: what a rule, or one of its backends, does to requests and responses.

use http::{HeaderName, StatusCode};

use super::backend::bare;
use super::cors::cors;
use super::external_auth::external_auth;
use super::names::{self, precise_hostname};
use super::values::{Defaults, bounded, contradiction, given_or, object_ref, text_within};
use super::{NOT_YET, Scope};
use crate::decide::shape::is_fixed;
use crate::policy::diagnostic::{Code, Diagnostic, quoted};
use crate::policy::model::attachment::RouteKind;
use crate::policy::model::filter::{
    Cors, Fraction, HeaderChanges, HeaderRules, HeaderText, Mirror, PathRewrite, Redirect, RedirectPort, Rewrite,
};
use crate::policy::reader::{Fields, Reader, choice, spanned, within};
use crate::policy::source::{Node, SourceSpan, Spanned};

/// The most filters of a rule, or of a backend.
const FILTERS: usize = 16;
/// The most headers that one list of a modifier names.
const HEADERS: usize = 16;
/// The longest value of a header.
const HEADER_LENGTH: usize = 4096;
/// The longest path that one is replaced by.
const PATH_LENGTH: usize = 1024;

/// All filters of a rule, or of a backend.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) headers: HeaderRules,
    pub(super) redirect: Option<Spanned<Redirect>>,
    /// Whether there is a redirect, right or wrong.
    pub(super) redirects: bool,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) cors: Option<Cors>,
    /// Why nothing may be served, where a filter cannot be applied.
    pub(super) unresolved: Option<String>,
    /// Where `replacePrefixMatch` is used.
    pub(super) prefixes: Vec<SourceSpan>,
}

/// Whose filters they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Rule(RouteKind),
    Backend(RouteKind),
}

impl Place {
    const fn kind(self) -> RouteKind {
        match self {
            Self::Rule(kind) | Self::Backend(kind) => kind,
        }
    }
}

/// A type of filter, with the field that holds its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    RequestHeaders,
    ResponseHeaders,
    Mirror,
    Redirect,
    Rewrite,
    Cors,
    Auth,
    Extension,
}

const HTTP_TYPES: &[(&str, Type)] = &[
    ("RequestHeaderModifier", Type::RequestHeaders),
    ("ResponseHeaderModifier", Type::ResponseHeaders),
    ("RequestMirror", Type::Mirror),
    ("RequestRedirect", Type::Redirect),
    ("URLRewrite", Type::Rewrite),
    ("CORS", Type::Cors),
    ("ExternalAuth", Type::Auth),
    ("ExtensionRef", Type::Extension),
];
const GRPC_TYPES: &[(&str, Type)] = &[
    ("RequestHeaderModifier", Type::RequestHeaders),
    ("ResponseHeaderModifier", Type::ResponseHeaders),
    ("RequestMirror", Type::Mirror),
    ("ExtensionRef", Type::Extension),
];

const FIELDS: &[(Type, &str)] = &[
    (Type::RequestHeaders, "requestHeaderModifier"),
    (Type::ResponseHeaders, "responseHeaderModifier"),
    (Type::Mirror, "requestMirror"),
    (Type::Redirect, "requestRedirect"),
    (Type::Rewrite, "urlRewrite"),
    (Type::Cors, "cors"),
    (Type::Auth, "externalAuth"),
    (Type::Extension, "extensionRef"),
];

impl Type {
    /// Whether a rule may have several.
    const fn is_repeatable(self) -> bool {
        matches!(self, Self::Mirror | Self::Extension)
    }
}

/// Reads `filters`.
pub(super) fn filters(fields: &mut Fields<'_, '_, '_>, scope: Scope<'_>, place: Place) -> Filters {
    let mut all = Filters::default();
    let types = bounded(
        fields,
        "filters",
        FILTERS,
        spanned(|cx, node| filter(cx, node, scope, place, &mut all)),
    );
    let given = fields.node("filters");
    if let Some(node) = given {
        fields.optional("filters", |cx, _| {
            check_types(cx, node, &types);
            Some(())
        });
    }
    all
}

fn check_types(cx: &Reader<'_>, node: &Node, types: &[Spanned<Type>]) {
    for (index, one) in types.iter().enumerate() {
        let earlier = types.iter().take(index).find(|earlier| earlier.value == one.value);
        if let Some(first) = earlier.filter(|_| !one.is_repeatable()) {
            let message = format!("filter {} is given twice", quoted(name(one.value)));
            let told = Diagnostic::new(Code::DUPLICATE_DEFINITION, one.span, message);
            cx.report(told.with_label(first.span, "given here first"));
        }
    }
    let has = |wanted: Type| types.iter().any(|one| one.value == wanted);
    if has(Type::Redirect) && has(Type::Rewrite) {
        contradiction(
            cx,
            node.span,
            "`RequestRedirect` and `URLRewrite` exclude each other: a request that is sent elsewhere is not rewritten",
        );
    }
}

fn name(wanted: Type) -> &'static str {
    HTTP_TYPES
        .iter()
        .find(|(_, known)| *known == wanted)
        .map_or("", |(name, _)| name)
}

fn filter(cx: &Reader<'_>, node: &Node, scope: Scope<'_>, place: Place, all: &mut Filters) -> Option<Type> {
    let mut fields = cx.mapping(node)?;
    let types = if place.kind() == RouteKind::Grpc {
        GRPC_TYPES
    } else {
        HTTP_TYPES
    };
    let found = fields.required("type", choice(types));
    let Some(found) = found else {
        let names: Vec<&'static str> = FIELDS.iter().map(|(_, name)| *name).collect();
        fields.skip(&names);
        fields.finish();
        return None;
    };
    for (other, field) in FIELDS {
        if *other == found {
            fields.required(field, |cx, node| settings(cx, node, found, (scope, place), all));
        } else if let Some((key, _)) = fields.entry(field) {
            let message = format!(
                "`{field}` belongs to filters of another type than {}",
                quoted(name(found))
            );
            contradiction(cx, key.span, message);
        }
    }
    fields.finish();
    Some(found)
}

fn settings(
    cx: &Reader<'_>,
    node: &Node,
    found: Type,
    (scope, place): (Scope<'_>, Place),
    all: &mut Filters,
) -> Option<()> {
    let in_backend = matches!(place, Place::Backend(_));
    match found {
        Type::RequestHeaders => all.headers.request = header_changes(cx, node)?,
        Type::ResponseHeaders => all.headers.response = header_changes(cx, node)?,
        Type::Mirror => all.mirrors.push(mirror(cx, node, scope)?),
        Type::Redirect => {
            all.redirects = true;
            let value = redirect(cx, node, all)?;
            all.redirect = Some(Spanned { value, span: node.span });
        }
        Type::Rewrite => all.rewrite = Some(rewrite(cx, node, all)?),
        Type::Cors => all.cors = Some(cors(cx, node)?),
        Type::Auth => external_auth(cx, node, scope)?,
        Type::Extension => all.unresolved = Some(extension(cx, node)?),
    }
    if in_backend && matches!(found, Type::Mirror | Type::Redirect | Type::Cors) {
        let message = format!(
            "filter {} of a backend is {}: give it to the rule",
            quoted(name(found)),
            NOT_YET.title()
        );
        cx.report(Diagnostic::new(NOT_YET, node.span, message));
    }
    Some(())
}

/// A filter of another project is never passed over: the requests that it is for are not served.
fn extension(cx: &Reader<'_>, node: &Node) -> Option<String> {
    let reference = object_ref(Defaults::NONE)(cx, node)?;
    let reason = format!(
        "filter {} of {} is none that a process has",
        quoted(&reference.name),
        quoted(reference.kind)
    );
    let message = format!("{reason}: requests that it is for are answered with 500");
    cx.report(Diagnostic::new(Code::UNRESOLVED_REFERENCE, node.span, message));
    Some(reason)
}

fn header_changes(cx: &Reader<'_>, node: &Node) -> Option<HeaderChanges> {
    let mut fields = cx.mapping(node)?;
    let set = bounded(&mut fields, "set", HEADERS, spanned(header_value));
    let add = bounded(&mut fields, "add", HEADERS, spanned(header_value));
    let remove = bounded(&mut fields, "remove", HEADERS, spanned(changed_header));
    fields.finish();
    let mut named: Vec<(&HeaderName, SourceSpan)> = Vec::new();
    named.extend(set.iter().map(|one| (&one.0, one.span)));
    named.extend(add.iter().map(|one| (&one.0, one.span)));
    named.extend(remove.iter().map(|one| (&one.value, one.span)));
    check_headers(cx, &named);
    Some(HeaderChanges {
        remove: remove.into_iter().map(|one| one.value).collect(),
        set: set.into_iter().map(|one| one.value).collect(),
        add: add.into_iter().map(|one| one.value).collect(),
    })
}

/// A modifier names a header once.
fn check_headers(cx: &Reader<'_>, named: &[(&HeaderName, SourceSpan)]) {
    for (index, (name, span)) in named.iter().enumerate() {
        let earlier = named.iter().take(index).find(|(other, _)| other == name);
        if let Some((_, first)) = earlier {
            let message = format!("header {} is changed twice", quoted(name.as_str()));
            let told = Diagnostic::new(Code::DUPLICATE_DEFINITION, *span, message);
            cx.report(told.with_label(*first, "changed here first"));
        }
    }
}

fn changed_header(cx: &Reader<'_>, node: &Node) -> Option<HeaderName> {
    let name = names::header(cx, node)?;
    if !is_fixed(&name) {
        return Some(name);
    }
    let message = format!(
        "header {} cannot be changed: it says how the message is framed or routed",
        quoted(name.as_str())
    );
    cx.invalid(node, message)
}

fn header_value(cx: &Reader<'_>, node: &Node) -> Option<(HeaderName, HeaderText)> {
    let mut fields = cx.mapping(node)?;
    let name = fields.required("name", changed_header);
    let value = fields.required("value", |cx, node| {
        let text = text_within(HEADER_LENGTH)(cx, node)?;
        if text.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()) {
            return Some(HeaderText::literal(text));
        }
        let found = quoted(text);
        cx.invalid(node, format!("expected printable ASCII characters, found {found}"))
    });
    fields.finish();
    Some((name?, value?))
}

fn mirror(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<Mirror> {
    let mut fields = cx.mapping(node)?;
    let target = fields.required("backendRef", |cx, node| bare(cx, node, scope));
    let share = fields.one_of(&["percent", "fraction"]);
    let fraction = match share {
        None => Some(Fraction::ALL),
        Some(("percent", _)) => fields
            .optional("percent", within::<u32>(0..=100))
            .map(|percent| Fraction::from_millionths(percent * 10_000)),
        Some(_) => fields.optional("fraction", fraction),
    };
    fields.finish();
    let mut mirror = Mirror::new(target?, cx.origin(node.span));
    mirror.fraction = fraction?;
    Some(mirror)
}

fn fraction(cx: &Reader<'_>, node: &Node) -> Option<Fraction> {
    let mut fields = cx.mapping(node)?;
    let numerator = fields.required("numerator", within::<u32>(0..=i32::MAX.into()));
    let denominator = given_or(&mut fields, "denominator", 100, within::<u32>(1..=i32::MAX.into()));
    fields.finish();
    let (numerator, denominator) = (numerator?, denominator?);
    if numerator > denominator {
        return cx.invalid(
            node,
            format!("expected a share of at most 1, found {numerator} of {denominator}"),
        );
    }
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator);
    Some(Fraction::from_millionths(u32::try_from(millionths).unwrap_or(u32::MAX)))
}

const STATUSES: &[u16] = &[301, 302, 303, 307, 308];

fn redirect(cx: &Reader<'_>, node: &Node, all: &mut Filters) -> Option<Redirect> {
    let mut fields = cx.mapping(node)?;
    let scheme = given_or(&mut fields, "scheme", None, |cx, node| {
        choice(&[("http", Some("http")), ("https", Some("https"))])(cx, node)
    });
    let hostname = given_or(&mut fields, "hostname", None, |cx, node| {
        precise_hostname(cx, node).map(Some)
    });
    let path = given_or(&mut fields, "path", None, |cx, node| {
        path(cx, node, all, Query::Possible).map(Some)
    });
    let port = given_or(&mut fields, "port", RedirectPort::SchemeOrRequest, |cx, node| {
        cx.port(node).map(RedirectPort::Number)
    });
    let status = given_or(&mut fields, "statusCode", StatusCode::FOUND, status);
    fields.finish();
    let mut redirect = Redirect::new(status?);
    redirect.scheme = scheme?.map(Into::into);
    redirect.authority = hostname?;
    redirect.path = path?;
    redirect.port = port?;
    Some(redirect)
}

fn status(cx: &Reader<'_>, node: &Node) -> Option<StatusCode> {
    let code = within::<u16>(0..=i64::from(u16::MAX))(cx, node)?;
    if STATUSES.contains(&code) {
        return StatusCode::from_u16(code).ok();
    }
    cx.invalid(node, format!("expected 301, 302, 303, 307 or 308, found `{code}`"))
}

fn rewrite(cx: &Reader<'_>, node: &Node, all: &mut Filters) -> Option<Rewrite> {
    let mut fields = cx.mapping(node)?;
    let authority = given_or(&mut fields, "hostname", None, |cx, node| {
        precise_hostname(cx, node).map(Some)
    });
    let path = given_or(&mut fields, "path", None, |cx, node| {
        path(cx, node, all, Query::Refused).map(Some)
    });
    fields.finish();
    let (authority, path) = (authority?, path?);
    if authority.is_none() && path.is_none() {
        super::no_effect(
            cx,
            node.span,
            "the filter names neither `hostname` nor `path`: it changes nothing",
        );
    }
    Some(Rewrite { authority, path })
}

/// Which part of a path is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaced {
    All,
    Prefix,
}

/// Whether a new path may bring a query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Query {
    /// In a `Location` it is part of the URL.
    Possible,
    /// The query of a request that is sent on stays its own.
    Refused,
}

fn path(cx: &Reader<'_>, node: &Node, all: &mut Filters, query: Query) -> Option<PathRewrite> {
    const FORMS: &[(&str, Replaced)] = &[
        ("ReplaceFullPath", Replaced::All),
        ("ReplacePrefixMatch", Replaced::Prefix),
    ];
    let mut fields = cx.mapping(node)?;
    let form = fields.required("type", choice(FORMS));
    let (field, other) = match form {
        Some(Replaced::Prefix) => ("replacePrefixMatch", "replaceFullPath"),
        _ => ("replaceFullPath", "replacePrefixMatch"),
    };
    if form.is_none() {
        fields.skip(&[field, other]);
        fields.finish();
        return None;
    }
    let query = if form == Some(Replaced::All) {
        query
    } else {
        Query::Refused
    };
    let text = fields.required(field, |cx, node| new_path(cx, node, query));
    if let Some((key, _)) = fields.entry(other) {
        contradiction(cx, key.span, format!("`{other}` does not belong to this `type`"));
    }
    fields.finish();
    if form == Some(Replaced::Prefix) {
        all.prefixes.push(node.span);
        return text.map(PathRewrite::SegmentPrefix);
    }
    text.map(PathRewrite::Full)
}

/// Reads a path that requests get: empty stands for `/`.
fn new_path(cx: &Reader<'_>, node: &Node, query: Query) -> Option<String> {
    let text = cx.text(node)?;
    if text.len() > PATH_LENGTH {
        return cx.invalid(
            node,
            format!("expected at most {PATH_LENGTH} characters, found {}", text.len()),
        );
    }
    let is_path = text.is_empty() || text.starts_with('/');
    let parsed = text.is_empty() || text.parse::<http::uri::PathAndQuery>().is_ok();
    let is_whole = query == Query::Possible || !text.contains('?');
    if is_path && parsed && is_whole && !text.contains('#') {
        return Some(text.into());
    }
    let without = if query == Query::Possible {
        ""
    } else {
        ", without query"
    };
    let found = quoted(text);
    cx.invalid(
        node,
        format!("expected a path that starts with `/`{without}, found {found}"),
    )
}
