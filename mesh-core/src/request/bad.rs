//! Why a request is refused before any rule looks at it.

use http::StatusCode;
use thiserror::Error;

/// Why a request has no canonical form; its text goes to logs and to `mesh explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The path has no unambiguous form.
    #[error("path: {0}")]
    Path(#[from] BadPath),
    /// The host has no unambiguous form.
    #[error("host: {0}")]
    Host(#[from] BadHost),
    /// `get` for `GET`.
    #[error("method: a standard method must be written in upper case")]
    MethodCase,
    /// Neither registered nor allowed by [`Methods::Any`](super::Methods::Any).
    #[error("method: not a registered HTTP method")]
    UnknownMethod,
    /// `TRACE` and `TRACK` answer with the credentials that they got.
    #[error("method: `TRACE` and `TRACK` are refused")]
    Trace,
    /// gRPC knows `POST` only.
    #[error("method: a gRPC request must be a `POST`")]
    GrpcMethod,
    /// A server might read it otherwise.
    #[error("header `grpc-timeout`: malformed, or given more than once")]
    GrpcTimeout,
    /// `CONNECT` to a path, or to nothing.
    #[error("method: the target of `CONNECT` must be a host and a port")]
    ConnectTarget,
    /// `CONNECT` with a path (RFC 8441).
    #[error("method: `CONNECT` with a path (extended CONNECT) is not enabled")]
    ExtendedConnect,
    /// A body in another coding than `chunked` would be forwarded half decoded.
    #[error("header `transfer-encoding`: only `chunked` is taken")]
    TransferCoding,
}

impl BadRequest {
    /// The status of the answer: 400, 405 or 501.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Trace | Self::GrpcMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnknownMethod | Self::ExtendedConnect | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The gRPC status of the answer: `INVALID_ARGUMENT` (3), or `UNIMPLEMENTED` (12) for what the mesh does not do.
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        match self {
            Self::UnknownMethod | Self::ExtendedConnect | Self::TransferCoding => 12,
            _ => 3,
        }
    }
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BadPath {
    /// Empty, `*`, or without a slash at the start.
    #[error("must start with `/`")]
    NotAbsolute,
    /// A control character, a space or raw non-ASCII.
    #[error("holds a character that a path cannot hold")]
    Character,
    /// An escaped `\`, or one in the text of a rule: a separator to some servers.
    #[error("holds a backslash")]
    Backslash,
    /// `%` without two hexadecimal digits.
    #[error("holds a malformed escape")]
    MalformedEscape,
    /// `%2F`: a separator to some servers.
    #[error("holds an escaped slash")]
    EscapedSlash,
    /// `%00` to `%1F` and `%7F`.
    #[error("holds an escaped control character")]
    EscapedControl,
    /// `%25` before `2F`, `5C`, `2E` or `25`: another path to who decodes twice.
    #[error("holds a doubled escape")]
    DoubledEscape,
    /// Escapes that are not UTF-8.
    #[error("is not UTF-8 once decoded")]
    NotUtf8,
    /// `..;x`, `.;x` or `;x`: a dot segment or none to who strips parameters.
    #[error("holds an empty or dot segment with parameters")]
    DotParameters,
    /// `;` while authorization rules look at paths.
    #[error("holds `;` while authorization rules look at paths")]
    Parameters,
    /// Must be rewritten where rewriting is off, or in a gRPC request.
    #[error("is not in canonical form")]
    NotCanonical,
}

/// Why a host has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BadHost {
    /// Neither an authority in the target nor a `Host` line.
    #[error("missing")]
    Missing,
    /// More than one `Host` line.
    #[error("more than one `host` line")]
    Repeated,
    /// The target's authority and the `Host` line name different hosts.
    #[error("the target and the `host` line differ")]
    Differing,
    /// `user@host`.
    #[error("holds user information")]
    UserInfo,
    /// The name is empty, too long, or holds what a host name cannot hold.
    #[error("is not a host name or an address")]
    Malformed,
    /// The port is not a number up to 65535.
    #[error("has no valid port")]
    Port,
}
