//! Requests that an external authorizer is asked about.

use http::StatusCode;
use serde::Serialize;

use super::{Inbound, Place, of_decision};
use crate::decide::authz::{Peer, Question};
use crate::policy::model::authorizer::{ExternalAuthorizer, OnFailure};
use crate::policy::model::identity::MtlsMode;
use crate::request::RequestView;
use crate::snapshot::{AskedAuthorizer, Snapshot};

/// What an external authorizer is taken to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorizerSays {
    /// It allows the request, and changes nothing in it.
    Allow,
    /// It denies it with this status.
    Deny(StatusCode),
    /// It gives no answer.
    Nothing,
}

/// Who is asked about a request, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Asks {
    /// The authorizer's name.
    pub authorizer: String,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// The service that is called, with its port.
    pub service: String,
    /// Where the authorizer is defined.
    pub origin: Option<Place>,
    /// `allow` or `deny`: what becomes of the request where there is no answer.
    pub on_failure: &'static str,
    /// `allow` or `deny`: what the other rules say of the request as it is, once it is allowed.
    pub then: &'static str,
}

impl Asks {
    fn new(authorizer: &AskedAuthorizer, then: &Inbound) -> Self {
        let settings = &authorizer.settings;
        Self {
            authorizer: authorizer.name.to_string(),
            protocol: settings.protocol.as_str(),
            service: format!("{}:{}", settings.service, settings.port),
            origin: Place::new(&settings.meta.origin),
            on_failure: match settings.on_failure {
                OnFailure::Allow => "allow",
                OnFailure::Deny => "deny",
            },
            then: then.decision,
        }
    }
}

/// Explains a request that a rule has somebody asked about; without an answer that is taken for granted, the decision is `ask`.
pub(super) fn explain(
    snapshot: &Snapshot,
    request: &RequestView<'_>,
    peer: Peer<'_>,
    mtls: MtlsMode,
    (question, says): (&Question<'_>, Option<AuthorizerSays>),
) -> Inbound {
    let authorizer = &snapshot.inbound.authorizer;
    let asked = match snapshot.inbound.asked(question) {
        Ok(asked) => asked,
        Err(why) => {
            let mut denied = of_decision(&authorizer.authorize(request, &peer), mtls);
            denied.reason = format!("{question}, and nobody can be asked: {why}");
            return denied;
        }
    };
    let then = of_decision(&authorizer.authorize_allowed(request, &peer), mtls);
    let asks = Asks::new(asked, &then);
    let mut told = match says {
        None => undecided(question, then),
        Some(AuthorizerSays::Allow) => allowed(question, "it allows the request", then),
        Some(AuthorizerSays::Deny(status)) => by_question(question, "deny", status, "it denies the request", then),
        Some(AuthorizerSays::Nothing) => unanswered(question, &asked.settings, then),
    };
    told.asks = Some(asks);
    told
}

fn undecided(question: &Question<'_>, then: Inbound) -> Inbound {
    let status = StatusCode::from_u16(then.status).unwrap_or_default();
    let follows = format!("where it allows the request: {}", then.reason);
    by_question(question, "ask", status, &follows, then)
}

fn unanswered(question: &Question<'_>, settings: &ExternalAuthorizer, then: Inbound) -> Inbound {
    match settings.on_failure {
        OnFailure::Allow => allowed(
            question,
            "it gives no answer, and the policy lets such requests go on",
            then,
        ),
        OnFailure::Deny => by_question(question, "deny", settings.failure_status, "it gives no answer", then),
    }
}

/// The other rules decide.
fn allowed(question: &Question<'_>, why: &str, then: Inbound) -> Inbound {
    Inbound {
        reason: format!("{question}; {why}; {}", then.reason),
        ..then
    }
}

/// The rule that asks decides.
fn by_question(
    question: &Question<'_>,
    decision: &'static str,
    status: StatusCode,
    why: &str,
    then: Inbound,
) -> Inbound {
    let rule = question.rule();
    Inbound {
        decision,
        status: status.as_u16(),
        policy: Some(rule.policy.name.clone()),
        rule: Some(rule.index),
        origin: Place::new(&rule.origin),
        reason: format!("{question}; {why}"),
        ..then
    }
}
