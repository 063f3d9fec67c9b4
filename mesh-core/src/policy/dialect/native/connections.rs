//! `mesh.live`, `mesh.tls` and `mesh.request_ids`: how long old connections live, how TLS is spoken, what requests bear.

use super::form::{DurOrZero, choices, form};
use crate::policy::model::RequestIds;
use crate::policy::model::connections::{InDoubt, LiveSettings, Recheck, Resumption, Revocation, TlsSettings};

choices! {
    /// For which requests ids are made.
    RequestIdsForm of RequestIds; {
        "recorded" RequestIds::Recorded;
        "always" RequestIds::Always;
    }
}

choices! {
    /// What is authorized again when the rules change.
    RecheckForm of Recheck; {
        "off" Recheck::Off;
        "upgrades" Recheck::Upgrades;
        "requests" Recheck::Requests;
    }
}

form! {
    /// What becomes of open connections and requests when policy or trust changes.
    Live of LiveSettings; {
        "drain" drain: DurOrZero;
        "recheck" recheck: RecheckForm;
    }
}

choices! {
    /// Whether TLS sessions are resumed.
    ResumptionForm of Resumption; {
        "off" Resumption::Off;
        "on" Resumption::On;
    }
}

choices! {
    /// What to do where it is not known whether a certificate is good.
    InDoubtForm of InDoubt; {
        "deny" InDoubt::Deny;
        "allow" InDoubt::Allow;
    }
}

form! {
    /// What certificates are taken for whose revocation is in doubt.
    RevocationForm of Revocation; {
        "unknown" unknown: InDoubtForm;
        "expired" expired: InDoubtForm;
    }
}

form! {
    /// How TLS is spoken within the mesh.
    Tls of TlsSettings; {
        "resumption" resumption: ResumptionForm;
        "revocation" revocation: RevocationForm;
    }
}
