//! `mesh.path_normalization` and `mesh.forwarding`: what is made of paths, and what is believed of earlier hops.

use super::access_pattern::Principal;
use super::form::{Count, List, choices, form};
use crate::policy::model::forwarding::{ClientCertHeader, Forwarding};
use crate::request::PathNormalization;

choices! {
    /// How far paths are normalised before they are matched and forwarded.
    Normalization of PathNormalization; {
        "base" PathNormalization::Base;
        "merge_slashes" PathNormalization::MergeSlashes;
        "decode_and_merge_slashes" PathNormalization::DecodeAndMergeSlashes;
        "none" PathNormalization::None;
    }
}

choices! {
    /// What becomes of `x-forwarded-client-cert`.
    ClientCert of ClientCertHeader; {
        "strip" ClientCertHeader::Strip;
        "forward" ClientCertHeader::Forward;
        "append" ClientCertHeader::Append;
        "set" ClientCertHeader::Set;
        "always_forward" ClientCertHeader::AlwaysForward;
    }
}

form! {
    /// What is believed of the hops before the caller.
    ForwardingForm of Forwarding; {
        "client_cert" client_cert: ClientCert;
        "trusted_callers" trusted_callers: List<Principal>;
        "trusted_proxies" trusted_proxies: Count;
    }
}
