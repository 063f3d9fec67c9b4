//! Revocation lists: F21, F22.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateRevocationListDer;

use super::*;
use crate::testing::{HOUR, Pair, World, authority, authority_params, leaf, peer_error, private_key, shake, start};
use crate::verify::{ExpectedPeer, PeerError};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A list that revokes these serial numbers, for an hour from the start.
fn params(serials: &[u64]) -> CertificateRevocationListParams {
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: start().into(),
        reason_code: None,
        invalidity_date: None,
    });
    CertificateRevocationListParams {
        this_update: (start() - HOUR).into(),
        next_update: (start() + HOUR).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn list(params: &CertificateRevocationListParams, issuer: &Issuer<'_, KeyPair>) -> RevocationList {
    let der = params.signed_by(issuer).unwrap().der().clone();
    RevocationList::from_der(&[der]).unwrap().remove(0)
}

/// A leaf with a serial number of the test's choice.
fn numbered(serial: u64) -> CertificateParams {
    let mut params = leaf("spiffe://td/orders");
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Pair {
    let key = KeyPair::generate().unwrap();
    let der = params.signed_by(&key, issuer).unwrap().der().clone();
    (vec![der], private_key(&key))
}

impl World {
    fn revoking(mut self, lists: Vec<RevocationList>) -> Self {
        let bundle = crate::testing::bundle(&self.ca).with_revocations(lists);
        self.bundles = TrustBundles::of(crate::testing::domain("td"), bundle);
        self
    }

    fn under(mut self, unknown: InDoubt, expired: InDoubt) -> Self {
        self.bundles = self.bundles.under(RevocationPolicy::new(unknown, expired));
        self
    }

    /// What both sides say of a peer that presents `pair` in a handshake.
    async fn say(&self, pair: impl Fn() -> Pair) -> Result<(), PeerError> {
        let (chain, key) = pair();
        let other = Svid::from_der(chain, key).unwrap();
        let ours = self.svid("ours");
        // The other side believes everybody that the authority vouches for.
        let careless = Self {
            time: self.time.clone(),
            ca: authority("unused"),
            bundles: TrustBundles::of(crate::testing::domain("td"), crate::testing::bundle(&self.ca)),
        };
        let anybody = ExpectedPeer::any_in(crate::testing::domain("td"));
        let (accepted, _) = shake(self.server(&ours), careless.client(&other, &anybody)).await;
        let (_, connected) = shake(careless.server(&other), self.client(&ours, &anybody)).await;
        if let (Ok(_), Ok(_)) = (&accepted, &connected) {
            return Ok(());
        }
        let (client, server) = (peer_error(accepted), peer_error(connected));
        assert_eq!(client, server);
        Err(client)
    }
}

/// F21: a revoked leaf is refused on both sides, another one of the same authority is not.
#[tokio::test]
async fn a_revoked_leaf_is_refused() {
    let world = World::new();
    let revoked = list(&params(&[7]), &world.ca);
    let world = world.revoking(vec![revoked]);

    let refused = world.say(|| sign(&numbered(7), &world.ca)).await;
    assert_eq!(
        refused,
        Err(PeerError::Revoked(crate::testing::id("spiffe://td/orders")))
    );
    assert_eq!(world.say(|| sign(&numbered(8), &world.ca)).await, Ok(()));
}

/// F21: so is what a revoked intermediate has issued.
#[tokio::test]
async fn a_leaf_of_a_revoked_intermediate_is_refused() {
    for (serial, refused) in [(70, true), (71, false)] {
        let world = World::new();
        let mut middle = authority_params("middle");
        middle.serial_number = Some(SerialNumber::from(serial));
        let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &*world.ca).unwrap();
        let lists = vec![list(&params(&[70]), &world.ca), list(&params(&[]), &middle)];
        let world = world.revoking(lists);

        let said = world
            .say(|| {
                let (mut chain, key) = sign(&numbered(7), &middle);
                chain.push(middle.der().clone());
                (chain, key)
            })
            .await;

        assert_eq!(matches!(said, Err(PeerError::Revoked(_))), refused, "{said:?}");
        assert_eq!(said.is_err(), refused, "{said:?}");
    }
}

/// F21: lists of other issuers, and of others of the same name, say nothing; what that means is policy.
#[tokio::test]
async fn a_list_of_another_issuer_is_passed_over() {
    let namesake = authority("td");
    for issuer in [authority("elsewhere"), namesake] {
        let world = World::new().revoking(vec![list(&params(&[7]), &issuer)]);
        let denied = world.say(|| sign(&numbered(7), &world.ca)).await;
        assert!(matches!(denied, Err(PeerError::RevocationInDoubt { .. })), "{denied:?}");

        let world = world.under(InDoubt::Allow, InDoubt::Deny);
        assert_eq!(world.say(|| sign(&numbered(7), &world.ca)).await, Ok(()));
    }
}

/// F21: an expired list refuses everybody of its issuer, or is taken as it is: then it still revokes.
#[tokio::test]
async fn an_expired_list_is_policy() {
    let world = World::new();
    let mut old = params(&[7]);
    old.next_update = (start() - HOUR / 2).into();
    let old = list(&old, &world.ca);
    let world = world.revoking(vec![old]);
    let denied = world.say(|| sign(&numbered(8), &world.ca)).await;
    assert!(matches!(denied, Err(PeerError::RevocationInDoubt { .. })), "{denied:?}");

    let world = world.under(InDoubt::Deny, InDoubt::Allow);
    assert_eq!(world.say(|| sign(&numbered(8), &world.ca)).await, Ok(()));
    let revoked = world.say(|| sign(&numbered(7), &world.ca)).await;
    assert!(matches!(revoked, Err(PeerError::Revoked(_))), "{revoked:?}");
}

/// While the key of an authority is replaced, old and new have one name and a list each.
#[test]
fn authorities_of_one_name_have_lists_of_their_own() {
    let (old, new): (Ca, Ca) = (authority("td"), authority("td"));
    let bundle = TrustBundle::from_der(vec![old.der().clone(), new.der().clone()]).unwrap();
    let bundle = bundle.with_revocations(vec![list(&params(&[7]), &old), list(&params(&[8]), &new)]);
    let bundles = TrustBundles::of(crate::testing::domain("td"), bundle);
    let clock = crate::clock::ManualClock::at(start()).clock();
    let is_good = |serial, issuer: &Ca| {
        let (chain, key) = sign(&numbered(serial), issuer);
        Svid::from_der(chain, key)
            .unwrap()
            .check_revocation(&bundles, &clock)
            .is_ok()
    };

    assert!(!is_good(7, &old) && is_good(8, &old));
    assert!(is_good(7, &new) && !is_good(8, &new));
}

/// F22 (RUSTSEC-2026-0049): each distribution point of a certificate counts, not the first one alone.
#[tokio::test]
async fn a_list_of_the_second_distribution_point_revokes() {
    let world = World::new();
    let point = |uri: &str| CrlDistributionPoint {
        uris: vec![uri.to_owned()],
    };
    let mut scoped = params(&[7]);
    scoped.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: point("http://second.example/"),
        scope: None,
    });
    let scoped = list(&scoped, &world.ca);
    let world = world.revoking(vec![scoped]);
    let mut orders = numbered(7);
    orders.crl_distribution_points = vec![point("http://first.example/"), point("http://second.example/")];

    let said = world.say(|| sign(&orders, &world.ca)).await;

    assert!(matches!(said, Err(PeerError::Revoked(_))), "{said:?}");
}

/// F22 (RUSTSEC-2026-0104): reasons of no bits are an error, no panic.
#[test]
fn a_list_for_reasons_of_no_bits_is_refused() {
    let world = World::new();
    let mut scoped = params(&[7]);
    scoped.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://list.example/".to_owned()],
        },
        scope: Some(CrlScope::UserCertsOnly),
    });
    let mut der = scoped.signed_by(&world.ca).unwrap().der().to_vec();
    // `onlyContainsUserCerts TRUE` becomes `onlySomeReasons` without a bit.
    let at = der.windows(3).position(|bytes| bytes == [0x81, 1, 0xff]).unwrap();
    der[at..at + 3].copy_from_slice(&[0x83, 1, 0]);

    let error = RevocationList::from_der(&[CertificateRevocationListDer::from(der)]).unwrap_err();

    assert!(matches!(error, RevocationError::Unusable { at: 1, .. }), "{error}");
}

/// F23: nothing is no list; a list that revokes nothing is one.
#[test]
fn an_empty_text_is_no_list() {
    let world = World::new();
    let nothing = params(&[]).signed_by(&world.ca).unwrap();
    let (pem, der) = (nothing.pem().unwrap(), nothing.der().to_vec());
    assert_eq!(RevocationList::read(pem.as_bytes()).unwrap()[0].revoked(), 0);
    assert_eq!(
        RevocationList::read(&der).unwrap()[0].next_update(),
        Some(start() + HOUR)
    );
    assert_eq!(RevocationList::read(format!("{pem}{pem}").as_bytes()).unwrap().len(), 2);

    let cut = &pem[..pem.len() / 2];
    for bad in [&b""[..], b"# no list", cut.as_bytes(), &der[..der.len() - 1]] {
        RevocationList::read(bad).unwrap_err();
    }
    assert_eq!(RevocationList::read(b"").unwrap_err(), RevocationError::Empty);
    let error = RevocationList::read(cut.as_bytes()).unwrap_err().to_string();
    let told = "revocation list is not valid PEM: the section `X509 CRL` has no end, as where the text is cut off";
    assert_eq!(error, told);
}

/// A list that revokes this process comes in force: those that it revokes besides must not go on.
#[test]
fn a_list_that_revokes_the_own_certificate_is_taken() {
    let world = World::new();
    let (chain, key) = sign(&numbered(7), &world.ca);
    let svid = Svid::from_der(chain, key).unwrap();
    let (revoked, clock) = (list(&params(&[7]), &world.ca), world.time.clock());
    let world = world.revoking(vec![revoked]);

    assert_eq!(svid.check(&world.bundles, &clock), Ok(()));
    assert!(svid.check_revocation(&world.bundles, &clock).is_err());
    crate::source::StaticSource::new(svid, world.bundles, clock).unwrap();
}
