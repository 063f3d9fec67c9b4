//! `request_authentication`: whose tokens requests may bear.

use super::authorization::TargetForm;
use super::form::{
    Created, Dur, DurOrZero, Given, LabelSet, Name, NonEmpty, Opt, Pairs, Text, TextKey, choices, form, one_of,
};
use super::item::Shelf;
use crate::policy::diagnostic::{Code, Diagnostic};
use crate::policy::model::jwt::{Forward, JwtKeys, JwtRule, Presence, RequestAuthentication};
use crate::policy::reader::Reader;
use crate::policy::source::Node;

pub(super) const SHELF: Shelf<RequestAuthentication> = Shelf {
    kind: "request authentication",
    push: |policy, one| policy.request_authentications.push(one),
};

form! {
    /// Whose tokens are verified.
    RequestAuthenticationForm of RequestAuthentication; {
        "name" [required] meta.name: Name;
        "created" meta.created: Created;
        "selector" selector: LabelSet;
        "targets" targets: NonEmpty<TargetForm>;
        "rules" rules: NonEmpty<JwtForm>;
    }
}

choices! {
    /// Whether the endpoint sees the token.
    ForwardForm of Forward; {
        "remove" Forward::Remove;
        "keep" Forward::Keep;
    }
}

choices! {
    /// Whether requests must bear a token.
    PresenceForm of Presence; {
        "optional" Presence::Optional;
        "required" Presence::Required;
    }
}

one_of! {
    /// From where the issuer's keys are.
    Keys of JwtKeys; {
        "fetched" JwtKeys::Fetched(url) => url, JwtKeys::Fetched, Name;
        "file" JwtKeys::File(path) => path, JwtKeys::File, Name;
        "inline" JwtKeys::Inline(keys) => keys, JwtKeys::Inline, Name;
        "discovered" _ => &true, |_| JwtKeys::Discovered, Given;
    }
}

form! {
    /// Tokens of one issuer.
    JwtForm of JwtRule, origin origin, check has_keys; {
        "issuer" issuer: Name;
        "audiences" audiences: NonEmpty<Name>;
        "keys" keys: Keys;
        "from_headers" from_headers: Pairs<TextKey, Text>;
        "from_params" from_params: NonEmpty<Name>;
        "from_cookies" from_cookies: NonEmpty<Name>;
        "payload_header" payload_header: Opt<Name>;
        "forward" forward: ForwardForm;
        "presence" presence: PresenceForm;
        "claim_headers" claim_headers: Pairs<TextKey, Text>;
        "timeout" timeout: Opt<Dur>;
        "refresh" refresh: Opt<Dur>;
        "stale" stale: Opt<DurOrZero>;
        "leeway" leeway: Opt<Dur>;
        "space_delimited_claims" space_delimited_claims: NonEmpty<Name>;
    }
}

/// Without an issuer nobody says where the keys are, but their address.
fn has_keys(cx: &Reader<'_>, node: &Node, found: &JwtRule) {
    if found.issuer.is_empty()
        && node.get("issuer").is_none()
        && matches!(found.keys, JwtKeys::Discovered | JwtKeys::Inline(_))
    {
        let message = "missing field `issuer`, or `fetched` of `keys`";
        cx.report(Diagnostic::new(Code::MISSING_FIELD, node.span, message));
    }
}
