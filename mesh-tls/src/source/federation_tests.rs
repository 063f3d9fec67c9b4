use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedIssuer, KeyPair};

use super::*;
use crate::authority::DevCa;
use crate::svid::{BundleError, TrustBundle};
use crate::testing::{HOUR, World, authority, domain, id, leaf, signed, start};

/// The files of a workload of `td`, and of other trust domains.
struct Folder {
    directory: tempfile::TempDir,
    world: World,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            directory: tempfile::tempdir().unwrap(),
            world: World::new(),
        };
        let ca = DevCa::new(domain("td"), start()).unwrap();
        let path = folder.directory.path();
        ca.write_workload(path, &id("spiffe://td/orders"), HOUR, start())
            .unwrap();
        std::fs::create_dir(path.join("bundles")).unwrap();
        folder
    }

    fn bundle(&self, name: &str) -> PathBuf {
        self.directory.path().join("bundles").join(name)
    }

    fn open(&self) -> Result<FileSource, SourceError> {
        FileSource::open(self.directory.path(), self.world.time.clock())
    }

    fn refusal(&self, name: &str, text: &str) -> String {
        std::fs::write(self.bundle(name), text).unwrap();
        let error = self.open().unwrap_err();
        std::fs::remove_file(self.bundle(name)).unwrap();
        assert!(matches!(error, SourceError::Federated { .. }), "{error}");
        error.to_string()
    }
}

fn document(ca: &CertifiedIssuer<'static, KeyPair>) -> String {
    let der = STANDARD.encode(ca.der());
    format!(
        r#"{{ "keys": [
            {{ "kty": "EC", "use": "jwt-svid", "kid": "a", "x5c": ["nonsense"] }},
            {{ "kty": "EC", "use": "x509-svid" }},
            {{ "kty": "EC", "use": "x509-svid", "x5c": [] }},
            {{ "kty": "EC", "use": "x509-svid", "x5c": ["{der}", "further values are ignored"] }},
            {{ "kty": "EC" }}
        ], "spiffe_sequence": 7, "spiffe_refresh_hint": 300 }}"#
    )
}

#[test]
fn further_trust_domains_are_trusted_by_the_files_that_bear_their_names() {
    let folder = Folder::new();
    let (pem, json) = (authority("other"), authority("third.example"));
    std::fs::write(folder.bundle("other.pem"), pem.pem()).unwrap();
    std::fs::write(folder.bundle("third.example.json"), document(&json)).unwrap();
    std::fs::write(folder.bundle(".other.pem.swp"), "of an editor").unwrap();

    let source = folder.open().unwrap();

    let current = source.source().current();
    let names: Vec<_> = current.bundles().trust_domains().map(|name| name.as_str()).collect();
    assert_eq!(names, ["other", "td", "third.example"]);
    for (ca, peer) in [(&pem, "spiffe://other/web"), (&json, "spiffe://third.example/web")] {
        let (chain, key) = signed(&leaf(peer), ca);
        let svid = Svid::from_der(chain, key).unwrap();
        assert_eq!(svid.check(current.bundles(), current.clock()), Ok(()), "{peer}");
    }
    let (chain, key) = signed(&leaf("spiffe://td/orders"), &pem);
    let stranger = Svid::from_der(chain, key).unwrap();
    assert!(
        stranger.check(current.bundles(), current.clock()).is_err(),
        "an authority vouches for its own"
    );
}

#[test]
fn bundles_that_come_change_and_go_are_followed() {
    let folder = Folder::new();
    let source = folder.open().unwrap();
    let trusts = |name: &str| source.source().current().bundles().bundle(&domain(name)).is_some();
    assert!(!trusts("other"));

    std::fs::write(folder.bundle("other.pem"), authority("other").pem()).unwrap();
    assert_eq!(source.refresh(), Ok(Refresh::Replaced(2)));
    assert!(trusts("other"));
    std::fs::write(folder.bundle("other.pem"), authority("other").pem()).unwrap();
    assert_eq!(source.refresh(), Ok(Refresh::Replaced(3)));
    std::fs::write(folder.bundle("other.pem"), "broken").unwrap();
    assert!(source.refresh().is_err());
    assert!(trusts("other"), "the last good one stays");

    std::fs::remove_dir_all(folder.bundle("")).unwrap();
    assert_eq!(source.refresh(), Ok(Refresh::Replaced(4)));
    assert!(!trusts("other"));
}

#[test]
fn a_broken_foreign_bundle_does_not_keep_the_own_certificate_from_being_renewed() {
    let folder = Folder::new();
    std::fs::write(folder.bundle("other.pem"), authority("other").pem()).unwrap();
    let source = folder.open().unwrap();
    let renew = || {
        let ca = DevCa::load_or_create(folder.directory.path().join("ca"), domain("td"), start()).unwrap();
        let orders = id("spiffe://td/orders");
        ca.write_workload(folder.directory.path(), &orders, HOUR, start())
            .unwrap();
    };
    std::fs::write(folder.bundle("other.pem"), "broken").unwrap();
    assert!(source.refresh().is_err());

    renew();

    assert!(source.refresh().is_err(), "the bundle is still broken");
    let status = source.source().status();
    assert_eq!((status.generation, status.rotations, status.failing), (2, 1, true));
    assert_eq!(status.trusted.len(), 2, "the last good bundle is in force");
    std::fs::write(folder.bundle("other.pem"), authority("other").pem()).unwrap();
    assert_eq!(source.refresh(), Ok(Refresh::Replaced(3)));
    assert!(!source.source().status().failing);
}

#[test]
fn revocation_lists_of_other_trust_domains_lie_beside_their_bundles() {
    let folder = Folder::new();
    let other = DevCa::new(domain("other"), start()).unwrap();
    let issued = |name: &str| {
        other
            .issue(&id(&format!("spiffe://other/{name}")), HOUR, start())
            .unwrap()
    };
    let (web, gone) = (issued("web"), issued("gone"));
    std::fs::write(folder.bundle("other.pem"), other.certificate_pem()).unwrap();
    let list = other.revocation_list(&[&gone], HOUR, start()).unwrap();
    assert!(
        folder
            .refusal("third.crl", &list)
            .contains("there is no bundle for `third`")
    );
    std::fs::write(folder.bundle("other.crl"), list).unwrap();

    let source = folder.open().unwrap();

    let current = source.source().current();
    let revoked = |issued: &crate::authority::Issued| {
        let svid = issued.svid().unwrap();
        svid.check_revocation(current.bundles(), current.clock()).is_err()
    };
    assert!(revoked(&gone) && !revoked(&web));
    let status = source.source().status();
    let trusted = status
        .trusted
        .iter()
        .find(|one| one.trust_domain == domain("other"))
        .unwrap();
    assert_eq!((trusted.lists, trusted.revoked), (1, 1));
    assert_eq!(status.next_update(), Some(start() + HOUR));
}

#[test]
fn files_that_are_no_bundles_are_refused_by_name() {
    let folder = Folder::new();
    let pem = authority("other").pem();

    for (name, text, reason) in [
        (
            "other.crt",
            &*pem,
            "expected the name `<trust domain>.pem`, `.json` or `.crl`",
        ),
        ("Other.pem", &pem, "its name has 'O' at byte 0 of its trust domain"),
        ("td.pem", &pem, "there is another bundle for `td`"),
        ("other.pem", "", "trust bundle holds no certificate"),
        (
            "other.json",
            "{}",
            "trust bundle is no SPIFFE bundle in JSON: no list `keys`",
        ),
        ("other.json", "[", "trust bundle is no SPIFFE bundle in JSON: EOF"),
        (
            "other.json",
            r#"{ "keys": [{ "use": "x509-svid", "x5c": ["AAAA"] }] }"#,
            "certificate 1 of the trust bundle is malformed",
        ),
    ] {
        let refusal = folder.refusal(name, text);
        assert!(refusal.contains(reason) && refusal.contains(name), "{refusal}");
    }
    std::fs::write(folder.bundle("other.json"), document(&authority("other"))).unwrap();
    assert!(folder.refusal("other.pem", &pem).contains("another bundle for `other`"));
}

#[test]
fn a_folder_of_bundles_that_was_named_has_to_be_there() {
    let folder = Folder::new();
    let path = |name: &str| folder.directory.path().join(name);
    let files = IdentityFiles::new(path("tls.crt"), path("tls.key"), path("ca.crt"));

    let error = FileSource::open_files(files.federated(path("missing")), folder.world.time.clock()).unwrap_err();

    assert!(matches!(error, SourceError::Unreadable { .. }), "{error}");
}

#[test]
fn a_folder_with_very_many_bundles_is_refused() {
    let folder = Folder::new();
    for number in 0..300 {
        std::fs::write(folder.bundle(&format!("d{number}.pem")), "").unwrap();
    }

    let error = folder.open().unwrap_err().to_string();

    assert!(error.contains("expected at most 256"), "{error}");
}

#[test]
fn a_bundle_document_without_our_entries_trusts_nobody() {
    let empty = TrustBundle::from_spiffe_json(br#"{ "keys": [] }"#).unwrap();
    assert!(empty.is_empty());

    let (chain, _) = signed(&leaf("spiffe://other/web"), &authority("other"));
    let no_authority = format!(
        r#"{{ "keys": [{{ "use": "x509-svid", "x5c": ["{}"] }}] }}"#,
        STANDARD.encode(&chain[0])
    );
    let error = TrustBundle::from_spiffe_json(no_authority.as_bytes()).unwrap_err();
    assert_eq!(error, BundleError::NoAuthority(1));
}

proptest::proptest! {
    /// Whatever stands in a file: a bundle or a reason, no panic.
    #[test]
    fn any_text_is_a_bundle_or_refused(text: Vec<u8>, value: String) {
        let _ = TrustBundle::from_spiffe_json(&text);
        let entry = serde_json::json!({ "keys": [{ "use": "x509-svid", "x5c": [value] }] });
        proptest::prop_assert!(TrustBundle::from_spiffe_json(entry.to_string().as_bytes()).is_err());
    }
}
