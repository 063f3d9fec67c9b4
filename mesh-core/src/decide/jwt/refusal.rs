//! Why a request is refused for its token.

use http::StatusCode;

/// Why a token is not valid. Words and statuses are Envoy's where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The request bears more than one token, so that nobody can say whose it is.
    SeveralTokens,
    /// Not three parts with dots between them, or too long.
    BadFormat,
    /// The header is not base64url.
    HeaderEncoding,
    /// The header is no JSON object.
    HeaderJson,
    /// The header brings a key of its own, or demands what is not understood.
    HeaderKey,
    /// The header names no algorithm.
    NoAlgorithm,
    /// The algorithm is none that is taken.
    UnknownAlgorithm,
    /// The name of the key is no text, or too long.
    KeyId,
    /// The payload is not base64url.
    PayloadEncoding,
    /// The payload is no JSON object.
    PayloadJson,
    /// A claim that has a meaning of its own is not of its type.
    ClaimType,
    /// The signature is not base64url.
    SignatureEncoding,
    /// No rule is for the issuer.
    UnknownIssuer,
    /// It is not valid yet.
    NotYetValid,
    /// It is not valid any more.
    Expired,
    /// The keys of the issuer are not known, or have been too old for too long.
    NoKeys,
    /// The issuer has no such key.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// It names no audience where the rule asks for one.
    NoAudience,
    /// It is for others.
    Audience,
    /// The request bears no token that a rule demands.
    Missing,
}

/// The fixed words of a refusal; one row a variant.
struct Words {
    label: &'static str,
    text: &'static str,
    details: &'static str,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 21] = [
        Self::SeveralTokens,
        Self::BadFormat,
        Self::HeaderEncoding,
        Self::HeaderJson,
        Self::HeaderKey,
        Self::NoAlgorithm,
        Self::UnknownAlgorithm,
        Self::KeyId,
        Self::PayloadEncoding,
        Self::PayloadJson,
        Self::ClaimType,
        Self::SignatureEncoding,
        Self::UnknownIssuer,
        Self::NotYetValid,
        Self::Expired,
        Self::NoKeys,
        Self::UnknownKey,
        Self::Signature,
        Self::NoAudience,
        Self::Audience,
        Self::Missing,
    ];

    #[rustfmt::skip]
    const fn words(self) -> Words {
        const fn row(label: &'static str, text: &'static str, details: &'static str) -> Words {
            Words { label, text, details }
        }
        match self {
            Self::SeveralTokens => row("several_tokens", "The request bears several Jwts", "jwt_authn_access_denied{The_request_bears_several_Jwts}"),
            Self::BadFormat => row("malformed", "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections", "jwt_authn_access_denied{Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_and_3_sections}"),
            Self::HeaderEncoding => row("malformed", "Jwt header is an invalid Base64url encoded", "jwt_authn_access_denied{Jwt_header_is_an_invalid_Base64url_encoded}"),
            Self::HeaderJson => row("malformed", "Jwt header is an invalid JSON", "jwt_authn_access_denied{Jwt_header_is_an_invalid_JSON}"),
            Self::HeaderKey => row("malformed", "Jwt header brings a key or an extension", "jwt_authn_access_denied{Jwt_header_brings_a_key_or_an_extension}"),
            Self::NoAlgorithm => row("algorithm", "Jwt header [alg] field is required and must be a string", "jwt_authn_access_denied{Jwt_header_[alg]_field_is_required_and_must_be_a_string}"),
            Self::UnknownAlgorithm => row("algorithm", "Jwt header [alg] is not supported", "jwt_authn_access_denied{Jwt_header_[alg]_is_not_supported}"),
            Self::KeyId => row("malformed", "Jwt header [kid] field is not a string", "jwt_authn_access_denied{Jwt_header_[kid]_field_is_not_a_string}"),
            Self::PayloadEncoding => row("malformed", "Jwt payload is an invalid Base64url encoded", "jwt_authn_access_denied{Jwt_payload_is_an_invalid_Base64url_encoded}"),
            Self::PayloadJson => row("malformed", "Jwt payload is an invalid JSON", "jwt_authn_access_denied{Jwt_payload_is_an_invalid_JSON}"),
            Self::ClaimType => row("malformed", "Jwt payload has a claim of the wrong type", "jwt_authn_access_denied{Jwt_payload_has_a_claim_of_the_wrong_type}"),
            Self::SignatureEncoding => row("malformed", "Jwt signature is an invalid Base64url encoded", "jwt_authn_access_denied{Jwt_signature_is_an_invalid_Base64url_encoded}"),
            Self::UnknownIssuer => row("issuer", "Jwt issuer is not configured", "jwt_authn_access_denied{Jwt_issuer_is_not_configured}"),
            Self::NotYetValid => row("not_yet_valid", "Jwt not yet valid", "jwt_authn_access_denied{Jwt_not_yet_valid}"),
            Self::Expired => row("expired", "Jwt is expired", "jwt_authn_access_denied{Jwt_is_expired}"),
            Self::NoKeys => row("no_keys", "Jwks remote fetch is failed", "jwt_authn_access_denied{Jwks_remote_fetch_is_failed}"),
            Self::UnknownKey => row("unknown_key", "Jwks doesn't have key to match kid or alg from Jwt", "jwt_authn_access_denied{Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt}"),
            Self::Signature => row("signature", "Jwt verification fails", "jwt_authn_access_denied{Jwt_verification_fails}"),
            Self::NoAudience => row("audience", "Jwt names no audience", "jwt_authn_access_denied{Jwt_names_no_audience}"),
            Self::Audience => row("audience", "Audiences in Jwt are not allowed", "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}"),
            Self::Missing => row("missing", "Jwt is missing", "jwt_authn_access_denied{Jwt_is_missing}"),
        }
    }

    /// The label of metrics: one of few.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.words().label
    }

    /// What the caller reads.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.words().text
    }

    /// `response_code_details` of logs.
    #[must_use]
    pub const fn details(self) -> &'static str {
        self.words().details
    }

    /// `WWW-Authenticate` of the answer (RFC 6750 §3): the caller may come again with another token.
    #[must_use]
    pub const fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Audience => None,
            Self::Missing => Some("Bearer"),
            _ => Some("Bearer error=\"invalid_token\""),
        }
    }

    /// 401; 403 for a token that is genuine and for others.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Audience => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn details_are_the_text_without_blanks() {
        for refusal in Refusal::ALL {
            let expected = format!("jwt_authn_access_denied{{{}}}", refusal.text().replace(' ', "_"));
            assert_eq!(refusal.details(), expected);
        }
    }
}
