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
fn files_that_are_no_bundles_are_refused_by_name() {
    let folder = Folder::new();
    let pem = authority("other").pem();

    for (name, text, reason) in [
        (
            "other.crt",
            &*pem,
            "expected the name `<trust domain>.pem` or `<trust domain>.json`",
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
