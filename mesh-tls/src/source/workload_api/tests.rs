use proptest::prelude::*;
use prost::Message;

use super::contract::X509Svid;
use super::*;
use crate::testing::{World, id, leaf, signed};

/// A response that grants `orders`.
fn good(world: &World) -> X509SvidResponse {
    let (chain, key) = signed(&leaf("spiffe://td/orders"), &world.ca);
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

    assert_eq!(granted.svid.id(), &id("spiffe://td/orders"));
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
