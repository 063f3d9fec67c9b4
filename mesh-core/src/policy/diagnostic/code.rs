//! The table of all codes.

use std::fmt;

use super::Severity;

/// The kind of a problem: a stable id such as `MESH0101`, with a title and an explanation.
///
/// Ids are never used again for something else. By hundreds: 00 syntax, 01 structure, types and
/// unknown fields, 02 references, 03 meaning, 04 not in force or not supported, 05 warnings.
#[derive(Clone, Copy)]
pub struct Code(&'static Entry);

struct Entry {
    id: &'static str,
    severity: Severity,
    title: &'static str,
    explanation: &'static str,
    text: &'static str,
}

impl Code {
    /// The id: `MESH` and four digits.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.0.id
    }

    /// How bad problems of this kind are.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.0.severity
    }

    /// The kind of problem in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.0.title
    }

    /// What it means and what to do, in a sentence or two.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        self.0.explanation
    }

    /// All about it, as Markdown: what it means, an example that is wrong, one that is right, and why.
    ///
    /// The first two blocks of code are the examples: files of a policy, of which the first gives this code alone and
    /// the second none.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.0.text
    }

    /// The code with this id.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id() == id)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

macro_rules! codes {
    ($($name:ident = $id:literal, $severity:ident, $title:literal, $explanation:literal;)*) => {
        impl Code {
            $(
                #[doc = concat!("`", $id, "`, ", $title, ": ", $explanation)]
                pub const $name: Self = Self(&Entry {
                    id: $id,
                    severity: Severity::$severity,
                    title: $title,
                    explanation: $explanation,
                    text: include_str!(concat!("codes/", $id, ".md")),
                });
            )*

            /// All codes, in the order of their ids.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

// One row a code: name, id, severity, title, explanation; the long text is in `codes/ID.md`. Rows stay in the order of
// the ids.
codes! {
    SYNTAX = "MESH0001", Error, "syntax error",
        "The text is no YAML or JSON. The rest of that document is not read; the documents after it are.";
    DUPLICATE_KEY = "MESH0002", Error, "duplicate key",
        "A mapping gives the same key twice, and only one of the values could be in force.";
    TOO_LARGE = "MESH0003", Error, "too large",
        "The file exceeds 8 MiB or 1,000,000 values, aliases followed. Split it.";
    TOO_DEEP = "MESH0004", Error, "nested too deep",
        "The document nests deeper than 64 levels, aliases followed.";
    NOT_UTF8 = "MESH0005", Error, "not UTF-8",
        "Policies are UTF-8 text. The file is in another encoding, or is no text.";
    NO_DOCUMENT = "MESH0006", Error, "no document",
        "The file is empty or has only comments. An empty policy is never meant as a policy of nothing.";
    TAG = "MESH0007", Error, "tag",
        "YAML tags (`!include`, `!!str`) are not supported: the type of a value is known from its field.";
    MERGE_KEY = "MESH0008", Error, "merge key",
        "Merge keys (`<<`) are no part of YAML 1.2, and what they override is easily overlooked.";
    ALIAS = "MESH0009", Error, "alias",
        "An alias stands inside of what it names, so that it would have no end.";

    UNKNOWN_FIELD = "MESH0101", Error, "unknown field",
        "The field is not part of this object. Nothing is ignored: a misspelt field would be a rule that is not in force.";
    WRONG_TYPE = "MESH0102", Error, "wrong type",
        "The value has another type than the field, such as text where a number belongs.";
    MISSING_FIELD = "MESH0103", Error, "missing field",
        "A field that has no default is not given.";
    INVALID_VALUE = "MESH0104", Error, "invalid value",
        "The value has the right type, but is outside of what the field takes.";
    CONFLICTING_FIELDS = "MESH0105", Error, "conflicting fields",
        "Of these fields only one can be given.";
    UNKNOWN_KIND = "MESH0106", Error, "unknown kind",
        "No dialect knows an object of this `apiVersion` and `kind`.";

    UNKNOWN_REFERENCE = "MESH0201", Error, "unknown reference",
        "A name refers to something that no file of the policy defines.";
    DUPLICATE_DEFINITION = "MESH0202", Error, "duplicate definition",
        "Two items have the same name where only one can be.";

    INVALID_POLICY = "MESH0301", Error, "invalid policy",
        "Each value is valid, but together they cannot mean what they say.";

    NOT_YET_IN_FORCE = "MESH0401", Warning, "not yet in force",
        "The field is understood, but this version does not put it in force. It is checked here; a service that is given it does not start.";
    NOT_IN_PROCESS = "MESH0402", Error, "not supported in a process",
        "The field configures something that a mesh inside of the process does not have, such as a proxy or a node.";
    NOTHING_CONFIGURED = "MESH0403", Warning, "nothing configured",
        "The documents are well formed, and none of them configures a mesh. A service that is given nothing else does not start: an empty policy is never meant as a policy of nothing.";

    ACCEPTED_NOT_IN_FORCE = "MESH0501", Warning, "not yet in force",
        "The field is understood, but this version does not put it in force. The policy loads without it.";
    NON_STANDARD_FIELD = "MESH0502", Warning, "non-standard field",
        "The field is not part of the object's standard; it is taken for what it evidently means.";
    DEPRECATED = "MESH0503", Warning, "deprecated",
        "The field or object has a successor, which should be used instead.";
    IGNORED_OBJECT = "MESH0504", Warning, "ignored object",
        "The object is well formed, but is none that configures a mesh, so that it changes nothing.";
    NO_EFFECT = "MESH0505", Warning, "no effect",
        "The field or object is valid, but beside what else is given it changes nothing.";
    UNRESOLVED_REFERENCE = "MESH0506", Warning, "unresolved reference",
        "A name refers to something that these files do not define. Another place may; here it has no effect.";
    UNREACHABLE_RULE = "MESH0507", Warning, "unreachable rule",
        "Rules are tried in order, and one before this takes every request.";
    SHARED_HOST = "MESH0508", Warning, "host routed twice",
        "Two route tables hold for the same host and callers. Only one is used: the oldest, then the first by name.";
    RETRIES_OUTLAST_TIMEOUT = "MESH0509", Warning, "retries outlast the timeout",
        "The limits of the tries add up to more than that of the whole request, so that the last tries may never happen.";
    INEFFECTIVE_MATCH = "MESH0510", Warning, "ineffective condition",
        "Of the conditions of a rule any may hold, and this one takes nothing that another, or a rule before it, does not take.";
    UNSAFE_RETRY = "MESH0511", Warning, "unsafe retry",
        "A request that changes something is tried again after it may have been done, so that it may be done twice.";
    NEVER_MATCHES = "MESH0512", Warning, "can never match",
        "No request or caller has the text that the rule asks for.";
    TLS_MODES_DIFFER = "MESH0513", Warning, "TLS modes differ",
        "Callers speak plain text to workloads that take only mTLS, or the other way round: every request fails.";
    ALLOWS_ALL = "MESH0514", Warning, "allows everything",
        "A rule of an ALLOW policy has no condition, so that it allows every request of anybody.";
    DENY_BYPASSED = "MESH0515", Warning, "denial can be bypassed",
        "A rule denies a path, and not a near one that servers often take for the same.";
    IDENTITY_NOT_ASSURED = "MESH0516", Warning, "identity not assured",
        "A rule asks for the identity of the caller, and the workloads take plain text, in which callers have none.";
    NEVER_EJECTS = "MESH0517", Warning, "never ejects",
        "Outlier detection may eject a share of the endpoints that is less than one of them, so that it never does.";
    HOST_NOT_COMPLETED = "MESH0518", Warning, "host not completed",
        "A short name of two parts is not completed with a namespace: it means a host of DNS, and no service of the mesh.";
    LITERAL_WILDCARD = "MESH0519", Warning, "literal wildcard",
        "A `*` in the middle of a text, or a second one, is compared as it is.";
    PORT_STANDS_ALONE = "MESH0520", Warning, "port settings stand alone",
        "Settings of a port are used in place of those of the host, not beside them, so that blocks of these are not in force there.";
    SUSPICIOUS_WEIGHTS = "MESH0521", Warning, "suspicious weights",
        "Weights are relative to their sum. One that is nearly a hundred was mostly meant to be a hundred.";
    MODES_OVERLAP = "MESH0522", Warning, "modes overlap",
        "Two mTLS policies select the same workloads. Only one of them counts: the oldest, then the first by name.";
    CLAIMS_NOT_CHECKED = "MESH0523", Warning, "claims not checked",
        "A route asks for claims of a token, and no policy checks tokens, so that no request has claims.";
    EMPTY_SUBSET = "MESH0524", Warning, "empty subset",
        "No endpoint of the host has the labels of the subset, so that requests to it are answered with 503.";
    HOST_NOT_SERVED = "MESH0525", Warning, "host not served",
        "None of the gateways that a route table names serves its host, so that no request reaches these routes.";
    PROTOCOLS_DIFFER = "MESH0526", Warning, "protocols differ",
        "Two documents give the same port of the same host different protocols, and only one can be spoken.";
    SUFFIX_WITHOUT_DOT = "MESH0527", Warning, "suffix without a dot",
        "A pattern of hosts ends in a part of a name: it takes foreign names that end so as well.";
    SEVERAL_AUTHORIZERS = "MESH0528", Warning, "several authorizers",
        "Policies of the same workloads name different external authorizers. Only one can be asked, so that what their rules match is denied.";
    SYSTEM_AUTHORITIES = "MESH0530", Warning, "verified by the system's authorities",
        "TLS to a service trusts every authority of the system, since the policy names none. Whoever has a certificate from one can pose as the service.";
    CUTS_OFF_CALLERS = "MESH0540", Warning, "cuts off callers",
        "A port is to take only mTLS, and callers were seen that speak plain text to it.";
}
