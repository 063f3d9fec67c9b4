//! Gateways: front doors that take traffic from outside the mesh.

use super::{Labels, Meta, Origin};

/// A front door, served by the processes whose labels it selects.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Gateway {
    /// Name and place.
    pub meta: Meta,
    /// Labels of the processes that serve it; empty selects all.
    pub selector: Labels,
    /// Its ports.
    pub servers: Vec<GatewayServer>,
    /// How servers of one port share it.
    pub listeners: Listeners,
}

/// How the servers of one port share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are kept apart or they are not")]
pub enum Listeners {
    /// Their routes are one list (Istio).
    #[default]
    Merged,
    /// A request belongs to the server with the most specific host alone (Gateway API). Processes of the gateway's own
    /// namespace serve it.
    Isolated,
}

/// One port of a gateway.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GatewayServer {
    /// The port's number.
    pub port: u16,
    /// The port's name.
    pub port_name: String,
    /// The hosts that it takes.
    pub hosts: Vec<GatewayHost>,
    /// TLS, where it ends here.
    pub tls: Option<GatewayTls>,
    /// What becomes of requests in plain text.
    pub plain_text: PlainText,
    /// Where it was written.
    pub origin: Origin,
}

impl GatewayServer {
    /// A plain-text server without hosts on `port`.
    #[must_use]
    pub const fn new(port: u16, port_name: String, origin: Origin) -> Self {
        Self {
            port,
            port_name,
            hosts: Vec::new(),
            tls: None,
            plain_text: PlainText::Serve,
            origin,
        }
    }
}

/// What becomes of requests that reach a gateway in plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "they are served or they are not")]
pub enum PlainText {
    /// They are served.
    #[default]
    Serve,
    /// Their caller is sent to the same place by `https` (Istio's `httpsRedirect`): 301.
    RedirectToHttps,
}

/// A host of a gateway server: `[namespace/]name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayHost {
    /// Route tables of this namespace only; `None` is any. (`.` is resolved.)
    pub namespace: Option<String>,
    /// A full name, `*.suffix` or `*`; lower case.
    pub host: String,
}

/// TLS of a gateway server, mode SIMPLE.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayTls {
    /// The folder with `tls.crt` and `tls.key`, below the process's credentials directory.
    pub credential_name: String,
    /// Where it was written.
    pub origin: Origin,
}

impl GatewayTls {
    /// Mode SIMPLE with the certificate in the folder `credential_name`.
    #[must_use]
    pub const fn simple(credential_name: String, origin: Origin) -> Self {
        Self {
            credential_name,
            origin,
        }
    }
}
