//! The part of the Workload API's contract that is used: messages, and the one call.
//!
//! Of the crate `spiffe` the rules of endpoints and the transport are used, not its client: that one passes over the
//! revocation lists of a response.

use std::fmt;

use prost::Message;
use spiffe::transport::{Endpoint, connect};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::source::{Failure, FailureReason};

/// What each request carries, so that a browser cannot be made to send one for somebody else.
const HEADER: &str = "workload.spiffe.io";
const METHOD: &str = "/SpiffeWorkloadAPI/FetchX509SVID";

#[derive(Clone, PartialEq, Message)]
pub(super) struct X509SvidRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) svids: Vec<X509Svid>,
    /// Revocation lists, DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) crl: Vec<Vec<u8>>,
    /// By the SPIFFE id of the foreign trust domain; certificates in DER, one after the other.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(super) federated_bundles: std::collections::BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(super) spiffe_id: String,
    /// Certificates in DER, one after the other, leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) x509_svid: Vec<u8>,
    /// PKCS#8.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) hint: String,
}

impl fmt::Debug for X509Svid {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

/// Connects and asks; the answers come as long as the stream lives.
pub(super) async fn open(endpoint: &Endpoint) -> Result<Streaming<X509SvidResponse>, Failure> {
    let channel = connect(endpoint).await.map_err(unavailable)?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(unavailable)?;
    let mut request = Request::new(X509SvidRequest {});
    request
        .metadata_mut()
        .insert(HEADER, MetadataValue::from_static("true"));
    let codec = ProstCodec::<X509SvidRequest, X509SvidResponse>::default();
    let answer = client.server_streaming(request, PathAndQuery::from_static(METHOD), codec);
    Ok(answer.await.map_err(|status| refused(&status))?.into_inner())
}

/// What a status says about this process's identity.
pub(super) fn refused(status: &Status) -> Failure {
    let reason = match status.code() {
        Code::PermissionDenied => FailureReason::Denied,
        _ => FailureReason::Unavailable,
    };
    Failure::new(reason, format!("{:?}: {}", status.code(), status.message()))
}

/// The whole chain of causes: a transport's own text is "transport error".
fn unavailable(error: impl std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    Failure::new(FailureReason::Unavailable, text)
}
