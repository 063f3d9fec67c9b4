//! `authorizers`: who is asked about requests beside the policies.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value as Json, json};

use super::form::{
    Created, Dur, Form, Given, Name, NewPath, NonEmpty, Opt, Pairs, Place, Port, Schema, Tree, choices, form, one_of,
};
use super::item::Shelf;
use super::scope::Scope;
use crate::policy::dialect::authorizer_values::{BODY_LIMIT, body_limit, failure_status, header_pattern, header_value};
use crate::policy::dialect::header_text::changed_header;
use crate::policy::model::authorizer::{
    BodyForm, CheckedBody, ExternalAuthorizer, HttpCheck, LargerBody, OnFailure, Protocol,
};
use crate::policy::model::authz::Pattern;
use crate::policy::reader::Reader;
use crate::policy::source::{Key, Node};

pub(super) const SHELF: Shelf<ExternalAuthorizer> = Shelf {
    kind: "authorizer",
    push: |policy, one| policy.authorizers.push(one),
};

form! {
    /// A service that decides on the requests of `custom` rules.
    AuthorizerForm of ExternalAuthorizer; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "protocol" [required] protocol: ProtocolForm;
        "service" [required] service: ServiceName;
        "port" [required] port: Port;
        "timeout" timeout: Dur;
        "on_failure" on_failure: OnFailureForm;
        "failure_status" failure_status: FailureStatus;
        "body" body: Opt<BodyPart>;
    }
}

one_of! {
    /// What is spoken with it.
    ProtocolForm of Protocol; {
        "http" Protocol::Http(check) => check, Protocol::Http, HttpForm;
        "grpc" _ => &true, |_| Protocol::Grpc, Given;
    }
}

form! {
    /// What is sent, and what an answer changes.
    HttpForm of HttpCheck; {
        "path_prefix" path_prefix: NewPath;
        "request_headers" request_headers: NonEmpty<HeaderNames>;
        "extra_headers" extra_headers: Pairs<ExtraHeader, ExtraValue>;
        "to_server_on_allow" to_server_on_allow: NonEmpty<HeaderNames>;
        "to_caller_on_allow" to_caller_on_allow: NonEmpty<HeaderNames>;
        "to_caller_on_deny" to_caller_on_deny: NonEmpty<HeaderNames>;
    }
}

choices! {
    /// What becomes of a request of which there is no answer.
    OnFailureForm of OnFailure; {
        "deny" OnFailure::Deny;
        "allow" OnFailure::Allow;
    }
}

form! {
    /// The part of a body that is sent.
    BodyPart of CheckedBody = CheckedBody::new(0); {
        "limit" [required] limit: BodyLimit;
        "larger" larger: LargerForm;
        "form" form: BodyFormForm;
    }
}

choices! {
    /// What becomes of a larger body.
    LargerForm of LargerBody; {
        "refuse" LargerBody::Refuse;
        "part" LargerBody::Part;
    }
}

choices! {
    /// How gRPC carries it.
    BodyFormForm of BodyForm; {
        "text" BodyForm::Text;
        "bytes" BodyForm::Bytes;
    }
}

/// A form of one function that reads, one that prints, and a schema.
macro_rules! value {
    ($(#[$doc:meta])* $form:ident of $of:ty ; $read:expr, $write:expr, $schema:expr) => {
        $(#[$doc])*
        struct $form;

        impl Form for $form {
            type Of = $of;

            fn read(cx: &Reader<'_>, node: &Node, scope: Scope<'_>) -> Option<$of> {
                let read: fn(&Reader<'_>, &Node, Scope<'_>) -> Option<$of> = $read;
                read(cx, node, scope)
            }

            fn write(value: &$of) -> Tree {
                let write: fn(&$of) -> Tree = $write;
                write(value)
            }

            fn schema(_: &mut Schema) -> Json {
                $schema
            }
        }
    };
}

value! { /// A service by its name, short or full.
ServiceName of String; |cx, node, scope| scope.service(cx, node), |host| write_service(host), json!({ "type": "string" }) }
value! { /// The name of a header, which may begin or end with `*`.
HeaderNames of Pattern; |cx, node, _| header_pattern(cx, node), |pattern| Tree::text(pattern.to_string()), json!({ "type": "string", "minLength": 1 }) }
value! { /// The value of a header.
ExtraValue of HeaderValue; |cx, node, _| header_value(cx, node), |value| Tree::text(value.to_str().unwrap_or_default()), json!({ "type": ["string", "number", "boolean"] }) }
value! { /// A status that says no.
FailureStatus of StatusCode; |cx, node, _| failure_status(cx, node), |status| Tree::number(status.as_u16()), json!({ "type": "integer", "minimum": 400, "maximum": 599 }) }
value! { /// The most bytes of a body.
BodyLimit of u32; |cx, node, _| body_limit(cx, node), |limit| Tree::number(*limit), json!({ "type": "integer", "minimum": 1, "maximum": BODY_LIMIT }) }

/// A name without a dot would be completed: one at its end says that it is complete.
fn write_service(host: &str) -> Tree {
    Tree::text(if host.contains('.') {
        host.into()
    } else {
        format!("{host}.")
    })
}

/// The name of a header that each check has.
struct ExtraHeader;

impl Place for ExtraHeader {
    type Of = HeaderName;

    fn read_key(cx: &Reader<'_>, key: &Key) -> Option<HeaderName> {
        changed_header(cx, key)
    }

    fn write_key(key: &HeaderName) -> String {
        key.as_str().to_owned()
    }
}
