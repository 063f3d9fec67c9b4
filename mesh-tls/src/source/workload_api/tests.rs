use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http_body::Frame;
use mesh_core::random::SplitMix64;
use proptest::prelude::*;
use prost::Message;
use rcgen::{CertificateRevocationListParams, CertifiedIssuer, KeyIdMethod, KeyPair, SerialNumber};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::http::StatusCode;
use tonic::codegen::{Body, Bytes};
use tonic_prost::ProstDecoder;

use super::contract::X509Svid;
use super::*;
use crate::source::Identity;
use crate::source::renew::Material;
use crate::svid::{TrustBundle, TrustBundles};
use crate::testing::{HOUR, World, authority, bundle, domain, following_clock, id, leaf, signed, start};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A response that grants `orders`.
fn good(world: &World) -> X509SvidResponse {
    good_from(world, start())
}

/// The same, with a certificate that is valid from then on.
fn good_from(world: &World, not_before: SystemTime) -> X509SvidResponse {
    let mut params = leaf("spiffe://td/orders");
    (params.not_before, params.not_after) = (not_before.into(), (not_before + HOUR).into());
    let (chain, key) = signed(&params, &world.ca);
    let svid = X509Svid {
        spiffe_id: "spiffe://td/orders".into(),
        x509_svid: chain[0].to_vec(),
        x509_svid_key: key.secret_der().to_vec(),
        bundle: world.ca.der().to_vec(),
        hint: "first".into(),
    };
    X509SvidResponse {
        svids: vec![svid],
        ..X509SvidResponse::default()
    }
}

#[test]
fn of_equal_hints_the_first_counts() {
    let world = World::new();
    let mut response = good(&world);
    let mut second = response.svids[0].clone();
    second.spiffe_id = "spiffe://td/other".into();
    response.svids.push(second);

    let granted = grant::read(&response, Some("first"), None).unwrap();

    assert_eq!(granted.material.svid.id(), &id("spiffe://td/orders"));
}

#[test]
fn a_name_beside_another_names_certificate_is_refused() {
    let mut response = good(&World::new());
    response.svids[0].spiffe_id = "spiffe://td/admin".into();

    let failure = grant::read(&response, None, None).unwrap_err();

    assert_eq!(failure.reason, FailureReason::Invalid);
    assert!(
        failure
            .message
            .contains("names `spiffe://td/admin` and has the certificate of `spiffe://td/orders`")
    );
}

#[test]
fn no_key_stands_in_what_is_told_of_a_response() {
    let mut response = good(&World::new());
    response.svids[0].x509_svid_key = b"secret key, cut off".to_vec();

    let failure = grant::read(&response, None, None).unwrap_err();

    assert!(!format!("{failure} {failure:?}").contains("secret"), "{failure}");
}

/// The open stream of an API.
struct Sent(mpsc::UnboundedReceiver<X509SvidResponse>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let sent = self.0.poll_recv(cx);
        sent.map(|sent| sent.map(|response| Ok(Frame::data(framed(&response)))))
    }
}

/// As gRPC has it: not compressed, and how long it is.
fn framed(response: &X509SvidResponse) -> Bytes {
    let message = response.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// An identity that follows what is sent, by a clock that moves with the runtime's.
fn followed(world: &World) -> (mpsc::UnboundedSender<X509SvidResponse>, IdentitySource) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let decoder = ProstDecoder::<X509SvidResponse>::default();
    let response = good(world);
    let Material { svid, bundles } = grant::read(&response, None, None).unwrap().material;
    let first = First {
        source: IdentitySource::new(svid, bundles, following_clock(), Origin::Code).unwrap(),
        stream: Streaming::new_response(decoder, Sent(receiver), StatusCode::OK, None, None),
        response,
        is_whole: true,
    };
    let api = WorkloadApi::at("unix:///nowhere/agent.sock").unwrap();
    let followed = first.into_source(api, Box::new(SplitMix64::new(1)));
    let source = followed.source();
    tokio::spawn(followed.watch());
    (sender, source)
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_valid_yet_comes_in_force_in_time() {
    let world = World::new();
    let (sender, source) = followed(&world);
    let second = Duration::from_secs(1);

    sender.send(good_from(&world, start() + 90 * second)).unwrap();
    sleep(80 * second).await;
    assert_eq!(source.generation(), 1);
    assert!(source.status().failing);
    sleep(72 * second).await;

    assert_eq!(
        source.generation(),
        2,
        "within the longest pause after its first second"
    );
    let status = source.status();
    assert!(!status.failing);
    assert_eq!(
        status.failures.map(|(_, count)| count).iter().sum::<u64>(),
        1,
        "told once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_valid_yet_gives_way_to_the_next_response() {
    let world = World::new();
    let (sender, source) = followed(&world);

    sender.send(good_from(&world, start() + HOUR / 2)).unwrap();
    sleep(HOUR / 4).await;
    sender.send(good(&world)).unwrap();
    sleep(HOUR / 2).await;

    assert_eq!(source.generation(), 2);
    assert_eq!(source.current().svid().not_before(), start());
}

/// What is in force where `other` has been trusted.
fn trusting(world: &World, other: &Ca) -> Identity {
    let bundles = world.bundles.with(domain("other"), bundle(other));
    Identity::new(world.svid("orders"), bundles, 1, world.time.clock())
}

/// A list that revokes nothing; one that only tells what is new to another list cannot be used.
fn list(issuer: &Ca, is_delta: bool) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: (start() - HOUR).into(),
        next_update: (start() + HOUR).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let mut der = params.signed_by(issuer).unwrap().der().to_vec();
    let number = der.windows(3).position(|window| window == [0x55, 0x1d, 20]).unwrap();
    if is_delta {
        der[number + 2] = 27;
    }
    der
}

fn authorities(bundles: &TrustBundles, name: &str) -> Option<usize> {
    bundles.bundle(&domain(name)).map(TrustBundle::len)
}

/// A root of `other` without CA:true.
fn broken(world: &World) -> Vec<u8> {
    signed(&leaf("spiffe://other/root"), &world.ca).0[0].to_vec()
}

#[test]
fn a_federated_bundle_that_cannot_be_read_keeps_nothing_else_back() {
    let (world, other, third) = (World::new(), authority("other"), authority("third"));
    let mut response = good(&world);
    let federated = &mut response.federated_bundles;
    federated.insert("spiffe://other".into(), broken(&world));
    federated.insert("spiffe://third".into(), third.der().to_vec());
    federated.insert("spiffe://td".into(), other.der().to_vec());

    let at_start = grant::read(&response, None, None).unwrap();
    let later = grant::read(&response, None, Some(&trusting(&world, &other))).unwrap();

    for (granted, expected) in [(at_start, None), (later, Some(1))] {
        let bundles = &granted.material.bundles;
        assert_eq!(authorities(bundles, "other"), expected, "the last good one");
        assert_eq!(authorities(bundles, "third"), Some(1));
        assert_eq!(granted.material.svid.check(bundles, &world.time.clock()), Ok(()));
        let failure = granted.foreign.unwrap();
        assert_eq!(failure.reason, FailureReason::Invalid);
        assert!(failure.message.contains("the bundle of `other`"), "{failure}");
    }
}

#[test]
fn a_federated_list_that_cannot_be_read_leaves_its_domain_as_it_was() {
    let (world, old, new) = (World::new(), authority("other"), authority("other, new"));
    let mut response = good(&world);
    response.federated_bundles.insert(
        "spiffe://other".into(),
        [old.der().to_vec(), new.der().to_vec()].concat(),
    );
    response.crl = vec![list(&world.ca, false), list(&old, false), list(&new, true)];

    let at_start = grant::read(&response, None, None).unwrap();
    let later = grant::read(&response, None, Some(&trusting(&world, &old))).unwrap();

    for (granted, expected) in [(at_start, None), (later, Some(1))] {
        let bundles = &granted.material.bundles;
        assert_eq!(authorities(bundles, "other"), expected, "the last good one");
        let own = bundles.bundle(&domain("td")).unwrap();
        assert_eq!(own.revocations().len(), 1, "no foreign list counts for the own domain");
        assert!(granted.foreign.unwrap().message.contains("`other`"));
    }
    response.crl = vec![list(&world.ca, true)];
    assert!(grant::read(&response, None, None).is_err(), "an own list");
}

#[test]
fn a_list_that_may_be_of_an_unread_bundle_is_not_taken_for_an_own_one() {
    let (world, other) = (World::new(), authority("other"));
    let mut response = good(&world);
    response.crl = vec![list(&other, false)];
    let own = grant::read(&response, None, None).unwrap().material.bundles;
    assert_eq!(own.bundle(&domain("td")).unwrap().revocations().len(), 1);

    response
        .federated_bundles
        .insert("spiffe://other".into(), broken(&world));

    assert!(grant::read(&response, None, None).is_err());
    let known = grant::read(&response, None, Some(&trusting(&world, &other))).unwrap();
    let own = known.material.bundles.bundle(&domain("td")).unwrap().clone();
    assert!(own.revocations().is_empty());
}

proptest! {
    /// Whatever an agent sends: an identity or a reason, no panic.
    #[test]
    fn any_bytes_are_granted_or_refused(bytes: Vec<u8>, at in 0_usize..4096, value: u8) {
        if let Ok(response) = X509SvidResponse::decode(&*bytes) {
            let _ = grant::read(&response, None, None);
        }
        let mut encoded = good(&World::new()).encode_to_vec();
        let index = at % encoded.len();
        encoded[index] = value;
        if let Ok(response) = X509SvidResponse::decode(&*encoded) {
            let _ = grant::read(&response, None, None);
        }
    }
}
