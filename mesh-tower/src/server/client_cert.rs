//! `x-forwarded-client-cert`: what callers claim is removed, and what policy wants said is said.
//!
//! | `client_cert` | plain text | a caller with a certificate | a trusted caller |
//! |---|---|---|---|
//! | `strip` | removed | removed | removed |
//! | `forward` | removed | removed | kept |
//! | `append` | removed | its certificate | kept, its certificate behind it |
//! | `set` | removed | its certificate | its certificate |
//! | `always_forward` | kept | kept | kept |

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use mesh_core::identity::SpiffeId;
use mesh_core::policy::model::forwarding::ClientCertHeader;
use mesh_core::request::{CLIENT_CERT, ClientCert, lines, strip_mesh_managed};
use mesh_core::snapshot::ClientCerts;
use mesh_tls::peer::PeerIdentity;

use super::connection::Connection;
use crate::brought::Brought;

/// The client of a trusted caller, as that caller tells it: in the extensions of requests that came with
/// `x-forwarded-client-cert` from a caller in `mesh.forwarding.trusted_callers`. Cheap to clone.
///
/// Data for the application and the log: the mesh authorizes by the certificate of the connection, which is
/// [`Peer`](super::Peer)'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedClient {
    cert: Arc<ClientCert>,
}

impl ForwardedClient {
    /// All that is told of its certificate.
    #[must_use]
    pub fn cert(&self) -> &ClientCert {
        &self.cert
    }

    /// Its identity, where the one URI that is told is one.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        match self.cert.uris.as_slice() {
            [uri] => SpiffeId::parse(uri).ok(),
            _ => None,
        }
    }

    pub(super) fn uri(&self) -> Option<&str> {
        self.cert.uris.first().map(String::as_str)
    }

    /// What the trusted caller has added: nothing where the last element says that another hop wrote it.
    fn added_by(caller: &SpiffeId, last: ClientCert) -> Option<Self> {
        let is_its_own = last.by.is_empty() || last.by.iter().any(|by| by == caller.as_str());
        is_its_own.then(|| Self { cert: Arc::new(last) })
    }
}

/// Removes the headers that only the mesh may set, but for what policy keeps, and says what it wants said.
pub(super) fn settle(
    certs: &ClientCerts,
    connection: &Connection,
    brought: Brought,
    headers: &mut HeaderMap,
) -> Option<ForwardedClient> {
    if certs.mode == ClientCertHeader::Strip {
        if brought.managed {
            strip_mesh_managed(headers);
        }
        return None;
    }
    let caller = connection.security.identity().map(PeerIdentity::id);
    let told = caller
        .filter(|caller| keeps_trusted(certs.mode) && certs.trusts(caller))
        .and_then(|caller| Some((caller, well_formed(headers, caller)?)));
    let keeps = told.is_some() || certs.mode == ClientCertHeader::AlwaysForward;
    let kept = joined(headers).filter(|_| keeps);
    strip_mesh_managed(headers);
    let own = || connection.client_cert.get_or_init(|| element(connection)).clone();
    let value = match certs.mode {
        ClientCertHeader::Append => appended(kept, own()),
        ClientCertHeader::Set => own(),
        _ => kept,
    };
    if let Some(value) = value {
        headers.insert(CLIENT_CERT, value);
    }
    told.and_then(|(caller, last)| ForwardedClient::added_by(caller, last))
}

const fn keeps_trusted(mode: ClientCertHeader) -> bool {
    matches!(
        mode,
        ClientCertHeader::Forward | ClientCertHeader::Append | ClientCertHeader::AlwaysForward
    )
}

/// The last element. A header that is malformed anywhere is not kept: an open quote would swallow what is added to it.
fn well_formed(headers: &HeaderMap, caller: &SpiffeId) -> Option<ClientCert> {
    match ClientCert::last(headers) {
        Ok(last) => last,
        Err(error) => {
            tracing::debug!(%caller, %error, "nothing is known of the client of a trusted caller");
            None
        }
    }
}

/// All lines of the header as one.
fn joined(headers: &HeaderMap) -> Option<HeaderValue> {
    let all: Vec<&[u8]> = lines(headers, &CLIENT_CERT).collect();
    match all.as_slice() {
        [] => None,
        [_] => headers.get(&CLIENT_CERT).cloned(),
        several => HeaderValue::from_bytes(&several.join(&b","[..])).ok(),
    }
}

fn appended(kept: Option<HeaderValue>, own: Option<HeaderValue>) -> Option<HeaderValue> {
    match (kept, own) {
        (Some(kept), Some(own)) => HeaderValue::from_bytes(&[kept.as_bytes(), own.as_bytes()].join(&b","[..])).ok(),
        (kept, own) => kept.or(own),
    }
}

/// The caller's certificate as this process has seen it; the same for all requests of the connection.
fn element(connection: &Connection) -> Option<HeaderValue> {
    let peer = connection.security.identity()?;
    let described = peer.describe();
    let own = connection.shared.identity.as_ref();
    let mut cert = ClientCert::default();
    cert.by = own
        .map(|own| own.current().svid().id().to_string())
        .into_iter()
        .collect();
    cert.hash = Some(described.sha256);
    cert.subject = Some(described.subject);
    cert.uris = vec![peer.id().to_string()];
    cert.dns = described.dns_names;
    HeaderValue::try_from(cert.to_string()).ok()
}
