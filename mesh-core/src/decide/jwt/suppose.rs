//! Questions of the kind "what if": claims that a token is supposed to have, and tokens without a request.

use serde_json::{Map, Value};

use super::claims::{self, VerifiedToken};
use super::rules::{Accepted, Means, Rejected, TokenRules};
use super::{Borne, Refusal};

impl TokenRules {
    /// What rules see of a genuine token with these claims; `None` where no rule looks at tokens. Where all rules are for one
    /// issuer, the claims need not name it. Time is not asked for.
    ///
    /// # Errors
    ///
    /// [`Rejected`] where no rule takes such a token: its issuer, its audience, or the type of a claim.
    pub fn suppose(&self, mut claims: Map<String, Value>) -> Result<Option<VerifiedToken>, Rejected<'_>> {
        if self.is_empty() {
            return Ok(None);
        }
        if let Some(issuer) = self.only_issuer().filter(|_| !claims.contains_key("iss")) {
            claims.insert("iss".into(), issuer.into());
        }
        let unread = Rejected::unread;
        let audiences = claims::audiences(&claims).map_err(unread)?;
        let issuer = claims::text_claim(&claims, "iss").map_err(unread)?;
        claims::text_claim(&claims, "sub").map_err(unread)?;
        let mut rejected = unread(Refusal::UnknownIssuer);
        for rule in self.rules().iter().filter(|rule| rule.is_for(issuer)) {
            match rule.check_audience(&audiences).and_then(|()| self.is_enough(rule)) {
                Ok(()) => return Ok(Some(VerifiedToken::supposed(claims, &rule.lists))),
                Err(refusal) => {
                    rejected = Rejected {
                        refusal,
                        rule: Some(rule),
                    }
                }
            }
        }
        Err(rejected)
    }

    /// Verifies a token, wherever rules would look for it.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_text(&self, token: &str, means: Means<'_>) -> Result<Accepted, Rejected<'_>> {
        let mut rejected = Rejected::unread(Refusal::BadFormat);
        for at in self.all_places() {
            let borne = Borne {
                token: token.into(),
                at,
            };
            match self.verify(&borne, means) {
                Ok(accepted) => return Ok(accepted),
                Err(other) if other.refusal >= rejected.refusal => rejected = other,
                Err(_) => {}
            }
        }
        Err(rejected)
    }

    fn only_issuer(&self) -> Option<&str> {
        let mut issuers = self.rules().iter().map(|rule| rule.issuer.as_deref());
        let first = issuers.next()??;
        issuers.all(|other| other == Some(first)).then_some(first)
    }
}
