use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::authority::DevCa;
use crate::clock::ManualClock;
use crate::leaf::LeafError;
use crate::svid::{BundleError, TrustBundle};
use crate::testing::{HOUR, World, authority, bundle, domain, id, leaf, shake, signed, start};

fn anybody() -> ExpectedPeer {
    ExpectedPeer::any_in(domain("td"))
}

fn source(world: &World, name: &str) -> StaticSource {
    StaticSource::new(world.svid(name), world.bundles.clone(), world.time.clock()).unwrap()
}

#[tokio::test]
async fn a_rotation_is_used_for_the_next_handshake_and_leaves_open_connections_alone() {
    let world = World::new();
    let (orders, web) = (source(&world, "orders"), source(&world, "web"));
    let configs = || {
        let server = orders.source().server_config(&[]).unwrap();
        (server, web.source().client_config(&anybody(), &[]).unwrap())
    };
    let (server, client) = configs();
    let (accepted, connected) = shake(server, client).await;
    let (mut near, first, _) = accepted.unwrap();
    let (mut far, ..) = connected.unwrap();

    let mut params = leaf("spiffe://td/web");
    params.not_after = (start() + HOUR * 2).into();
    let (chain, key) = signed(&params, &world.ca);
    let mut changes = web.source().changes();
    assert_eq!(
        web.rotate(Svid::from_der(chain, key).unwrap(), world.bundles.clone()),
        Ok(2)
    );
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), 2);

    let (server, client) = configs();
    let (accepted, _connected) = shake(server, client).await;
    assert_eq!(accepted.unwrap().1.not_after(), first.not_after() + HOUR);
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    far.write_all(b"still open").await.unwrap();
    let mut text = [0; 10];
    near.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"still open");
}

/// F34.
#[test]
fn a_rotation_to_another_workload_is_refused() {
    let world = World::new();
    let orders = source(&world, "orders");

    let error = orders.rotate(world.svid("payments"), world.bundles).unwrap_err();

    assert_eq!(
        error.to_string(),
        "own certificate is for `spiffe://td/payments`, expected `spiffe://td/orders`"
    );
    assert_eq!(orders.source().generation(), 1);
    assert_eq!(orders.source().current().svid().id(), &id("spiffe://td/orders"));
}

/// F34.
#[test]
fn an_identity_that_peers_would_refuse_is_never_put_in_force() {
    let (world, other) = (World::new(), World::new());
    let orders = source(&world, "orders");

    let untrusted = orders.rotate(other.svid("orders"), world.bundles.clone());
    assert!(
        matches!(untrusted, Err(OwnIdentityError::Untrusted(_))),
        "{untrusted:?}"
    );
    world.time.advance(HOUR + HOUR);
    let expired = orders.rotate(world.svid("orders"), world.bundles.clone());
    assert!(matches!(expired, Err(OwnIdentityError::Leaf(_))), "{expired:?}");
    assert!(StaticSource::new(world.svid("orders"), world.bundles.clone(), world.time.clock()).is_err());
}

#[test]
fn configurations_are_made_once_for_each_peer_and_protocols() {
    let world = World::new();
    let orders = source(&world, "orders").source();
    let one = orders.client_config(&anybody(), &[Alpn::H2]).unwrap();

    assert!(Arc::ptr_eq(
        &one,
        &orders.client_config(&anybody(), &[Alpn::H2]).unwrap()
    ));
    assert!(!Arc::ptr_eq(
        &one,
        &orders.client_config(&anybody(), &[Alpn::Http1]).unwrap()
    ));
    let exact = ExpectedPeer::exactly(id("spiffe://td/web"));
    assert!(!Arc::ptr_eq(&one, &orders.client_config(&exact, &[Alpn::H2]).unwrap()));
    let server = orders.server_config(&[Alpn::H2]).unwrap();
    assert!(Arc::ptr_eq(&server, &orders.server_config(&[Alpn::H2]).unwrap()));
}

/// A directory with an identity of a development CA, at a time of the test's own.
struct Files {
    directory: tempfile::TempDir,
    ca: DevCa,
    time: ManualClock,
}

impl Files {
    fn new() -> Self {
        let now = SystemTime::now();
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            ca: DevCa::new(domain("td"), now).unwrap(),
            time: ManualClock::at(now),
        };
        files.issue("orders");
        files
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn issue(&self, name: &str) {
        let id = id(&format!("spiffe://td/{name}"));
        self.ca
            .write_workload(self.path(), &id, HOUR, self.time.clock().now())
            .unwrap();
    }

    fn open(&self) -> FileSource {
        FileSource::open(self.path(), self.time.clock()).unwrap()
    }
}

#[test]
fn new_files_are_put_in_force_and_the_same_files_are_not() {
    let files = Files::new();
    let source = files.open();
    assert_eq!(source.refresh(), Ok(Refresh::Unchanged));

    files.issue("orders");

    assert_eq!(source.refresh(), Ok(Refresh::Replaced(2)));
    assert_eq!(source.refresh(), Ok(Refresh::Unchanged));
    assert_eq!(source.source().generation(), 2);
    assert_eq!(source.last_error(), None);
}

/// F34.
#[test]
fn broken_files_leave_the_last_good_identity_in_force_until_they_are_mended() {
    let files = Files::new();
    let source = files.open();
    let good = ["tls.crt", "tls.key", "ca.crt"].map(|name| (name, std::fs::read(files.path().join(name)).unwrap()));

    for (name, _) in &good {
        for broken in [&b""[..], b"-----BEGIN CERTIFICATE-----\nAAAA", b"\xff\xfe"] {
            std::fs::write(files.path().join(name), broken).unwrap();
            assert!(source.refresh().is_err(), "{name} {broken:?}");
            assert!(source.last_error().is_some());
            assert_eq!(source.source().generation(), 1);
        }
        std::fs::remove_file(files.path().join(name)).unwrap();
        assert!(source.refresh().is_err(), "{name} is gone");
        for (name, text) in &good {
            std::fs::write(files.path().join(name), text).unwrap();
        }
        assert_eq!(source.refresh(), Ok(Refresh::Unchanged));
        assert_eq!(source.last_error(), None);
    }
}

/// F34.
#[test]
fn files_of_another_workload_are_refused() {
    let files = Files::new();
    let source = files.open();

    files.issue("payments");

    let error = source.refresh().unwrap_err();
    assert!(error.to_string().contains("spiffe://td/payments"), "{error}");
    assert_eq!(source.source().current().svid().id(), &id("spiffe://td/orders"));
}

#[test]
fn a_directory_without_a_whole_layout_is_refused_in_words() {
    let files = Files::new();
    std::fs::remove_file(files.path().join("ca.crt")).unwrap();

    let error = FileSource::open(files.path(), files.time.clock()).unwrap_err();

    assert!(matches!(error, SourceError::NoLayout(_)), "{error}");
    assert!(error.to_string().contains("tls.crt"), "{error}");
}

#[test]
fn every_layout_is_found() {
    for names in [
        ["tls.crt", "tls.key", "ca.crt"],
        ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
        ["cert-chain.pem", "key.pem", "root-cert.pem"],
    ] {
        let (files, renamed) = (Files::new(), tempfile::tempdir().unwrap());
        for (from, to) in ["tls.crt", "tls.key", "ca.crt"].iter().zip(names) {
            std::fs::copy(files.path().join(from), renamed.path().join(to)).unwrap();
        }
        let source = FileSource::open(renamed.path(), files.time.clock()).unwrap();
        assert_eq!(
            source.source().current().svid().id(),
            &id("spiffe://td/orders"),
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn a_watch_follows_the_files() {
    let files = Files::new();
    let source = files.open();
    let mut changes = source.source().changes();
    let watch = tokio::spawn(source.clone().watch(std::time::Duration::from_millis(5)));

    files.issue("orders");

    let changed = tokio::time::timeout(HOUR, changes.wait_for(|generation| *generation == 2)).await;
    assert!(changed.unwrap().is_ok());
    watch.abort();
}

/// F13.
#[tokio::test]
async fn an_authority_is_replaced_in_three_steps_and_its_withdrawal_reaches_live_peers() {
    let (world, next) = (World::new(), authority("td"));
    let (orders, web) = (source(&world, "orders"), source(&world, "web"));
    let handshake = async || {
        let server = orders.source().server_config(&[]).unwrap();
        let client = web.source().client_config(&anybody(), &[]).unwrap();
        shake(server, client).await
    };
    let issued = |name: &str| {
        let (chain, key) = signed(&leaf(&format!("spiffe://td/{name}")), &next);
        Svid::from_der(chain, key).unwrap()
    };
    let certificates = vec![world.ca.der().clone(), next.der().clone()];
    let both = TrustBundles::of(domain("td"), TrustBundle::from_der(certificates).unwrap());
    let only_next = TrustBundles::of(domain("td"), bundle(&next));
    let (_near, old_web, _) = handshake().await.0.unwrap();

    orders.rotate(world.svid("orders"), both.clone()).unwrap();
    web.rotate(world.svid("web"), both.clone()).unwrap();
    web.rotate(issued("web"), both).unwrap();
    let (_near, new_web, _) = handshake().await.0.unwrap();
    orders.rotate(issued("orders"), only_next.clone()).unwrap();

    let current = orders.source().current();
    let judge = |peer: &crate::peer::PeerIdentity| peer.verify_again(current.bundles(), current.clock());
    assert_eq!(judge(&new_web), Ok(()));
    assert!(judge(&old_web).is_err(), "its authority is withdrawn");
    assert!(handshake().await.0.is_ok(), "the client still trusts both");
}

#[test]
fn a_bundle_that_would_refuse_the_own_certificate_is_not_taken() {
    let (world, next) = (World::new(), authority("td"));
    let orders = source(&world, "orders");

    for bundles in [
        TrustBundles::of(domain("td"), bundle(&next)),
        TrustBundles::of(domain("td"), TrustBundle::empty()),
        TrustBundles::default(),
    ] {
        let error = orders.rotate(world.svid("orders"), bundles).unwrap_err();
        assert!(matches!(error, OwnIdentityError::Untrusted(_)), "{error}");
        assert_eq!(orders.source().generation(), 1);
    }
}

#[test]
fn an_identity_that_is_not_valid_yet_is_taken_once_it_is() {
    let files = Files::new();
    let source = files.open();
    files.issue("orders");
    let now = files.time.clock().now();

    files.time.set(now - HOUR);
    let early = source.refresh();
    files.time.set(now);

    let not_yet = OwnIdentityError::Leaf(LeafError::NotYetValid(3600 - 120));
    assert_eq!(early, Err(SourceError::Own(not_yet)));
    assert_eq!(source.refresh(), Ok(Refresh::Replaced(2)));
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_swapped_behind_links_is_followed() {
    use std::os::unix::fs::symlink;
    let (files, mount) = (Files::new(), tempfile::tempdir().unwrap());
    let version = |name: &str| {
        let id = id("spiffe://td/orders");
        let now = files.time.clock().now();
        files
            .ca
            .write_workload(mount.path().join(name), &id, HOUR, now)
            .unwrap();
        symlink(name, mount.path().join("..tmp")).unwrap();
        std::fs::rename(mount.path().join("..tmp"), mount.path().join("..data")).unwrap();
    };
    version("..1");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
    }
    let source = FileSource::open(mount.path(), files.time.clock()).unwrap();

    version("..2");

    assert_eq!(source.refresh(), Ok(Refresh::Replaced(2)));
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_or_too_large_is_refused_unread() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let files = Files::new();
    let source = files.open();
    let bundle = files.path().join("ca.crt");
    let refused = |put: &dyn Fn()| {
        std::fs::remove_file(&bundle)
            .or_else(|_| std::fs::remove_dir(&bundle))
            .unwrap();
        put();
        source.refresh().unwrap_err()
    };

    let no_file = SourceError::NotAFile(bundle.clone());
    assert_eq!(refused(&|| std::fs::create_dir(&bundle).unwrap()), no_file);
    assert_eq!(refused(&|| symlink("/dev/zero", &bundle).unwrap()), no_file);
    assert_eq!(refused(&|| drop(UnixListener::bind(&bundle).unwrap())), no_file);
    let dangling = refused(&|| symlink("nowhere", &bundle).unwrap());
    assert!(matches!(dangling, SourceError::Unreadable { .. }), "{dangling}");
    let itself = refused(&|| symlink("ca.crt", &bundle).unwrap());
    assert!(matches!(itself, SourceError::Unreadable { .. }), "{itself}");

    let write = |size: u64| std::fs::File::create(&bundle).unwrap().set_len(size).unwrap();
    assert_eq!(refused(&|| write((1 << 20) + 1)), SourceError::TooLarge(bundle.clone()));
    assert_eq!(
        refused(&|| write(1 << 20)),
        SourceError::Bundle(BundleError::NoCertificate)
    );
}

/// F23: a list that is cut to nothing leaves the last good one in force, tells, and does not stop renewals.
#[test]
fn a_list_that_cannot_be_used_leaves_the_last_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let (now, path) = (SystemTime::now(), directory.path().join("ca.crl"));
    let ca = DevCa::new(domain("td"), now).unwrap();
    let orders = id("spiffe://td/orders");
    let write = || ca.write_workload(directory.path(), &orders, HOUR, now).unwrap();
    let gone = ca.issue(&id("spiffe://td/gone"), HOUR, now).unwrap();
    write();
    std::fs::write(&path, ca.revocation_list(&[&gone], HOUR, now).unwrap()).unwrap();
    let files = FileSource::open(directory.path(), Clock::system()).unwrap();
    let is_revoked = || {
        let (svid, current) = (gone.svid().unwrap(), files.source().current());
        svid.check_revocation(current.bundles(), current.clock()).is_err()
    };
    assert!(is_revoked());

    std::fs::write(&path, "").unwrap();
    let broken = SourceError::Revocation {
        path: path.clone(),
        reason: crate::svid::RevocationError::Empty,
    };
    assert_eq!(files.refresh(), Err(broken.clone()));
    write();
    assert_eq!(files.refresh(), Err(broken.clone()));
    assert_eq!(files.last_error(), Some(broken));
    assert_eq!(files.source().generation(), 2, "the new certificate is in force");
    assert!(is_revoked());

    std::fs::write(&path, ca.revocation_list(&[], HOUR, now).unwrap()).unwrap();
    assert_eq!(files.refresh(), Ok(Refresh::Replaced(3)));
    assert!(!is_revoked());
    std::fs::write(&path, "").unwrap();
    assert!(
        FileSource::open(directory.path(), Clock::system()).is_err(),
        "at the start there is no last good one"
    );
}

/// F21: a new list counts though a renewal has left a damaged certificate, and beside an older list that does not know of it.
#[test]
fn a_new_list_counts_beside_a_broken_renewal_and_an_older_list() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let ca = DevCa::new(domain("td"), now).unwrap();
    let gone = ca.issue(&id("spiffe://td/gone"), HOUR, now).unwrap();
    ca.write_workload(directory.path(), &id("spiffe://td/orders"), HOUR, now)
        .unwrap();
    let older = ca.revocation_list(&[], HOUR, now - HOUR / 2).unwrap();
    std::fs::write(directory.path().join("a.crl"), older).unwrap();
    let files = FileSource::open(directory.path(), Clock::system()).unwrap();
    let is_revoked = || {
        let (svid, current) = (gone.svid().unwrap(), files.source().current());
        svid.check_revocation(current.bundles(), current.clock()).is_err()
    };
    assert!(!is_revoked());

    std::fs::write(directory.path().join("tls.crt"), "damaged").unwrap();
    std::fs::write(
        directory.path().join("b.crl"),
        ca.revocation_list(&[&gone], HOUR, now).unwrap(),
    )
    .unwrap();
    assert!(files.refresh().is_err());
    assert!(is_revoked());
    assert_eq!(files.source().current().svid().id(), &id("spiffe://td/orders"));
}
