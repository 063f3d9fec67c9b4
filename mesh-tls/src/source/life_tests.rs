//! What becomes of an identity that nobody renews, and of one that is renewed: in virtual time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_core::identity::SpiffeId;
use mesh_core::random::SplitMix64;

use super::renew::{Issuer, Material};
use super::*;
use crate::authority::{DevCa, DevIssuer};
use crate::handshake::HandshakeError;
use crate::testing::{HOUR, World, domain, following_clock, id, shake, start};

fn minutes(count: u32) -> Duration {
    HOUR / 60 * count
}

#[test]
fn the_phases_of_a_life_meet_without_a_gap() {
    let end = start() + HOUR;
    let life = Lifetime::new(start(), end);
    let second = Duration::from_secs(1);

    for (from, phase, next) in [
        (start() - second, Phase::NotYetValid, Some(start())),
        (start(), Phase::Fresh, Some(start() + minutes(45))),
        (
            start() + minutes(45) - second,
            Phase::Fresh,
            Some(start() + minutes(45)),
        ),
        (start() + minutes(45), Phase::Due, Some(start() + minutes(54))),
        (start() + minutes(54), Phase::Expiring, Some(end + second)),
        (end, Phase::Expiring, Some(end + second)),
        (end + second, Phase::Expired, None),
    ] {
        assert_eq!((life.phase(from), life.next_phase(from)), (phase, next));
    }
    assert_eq!(life.left(start()), HOUR);
    assert_eq!(life.left(end + HOUR), Duration::ZERO);
    let reversed = Lifetime::new(end, start());
    assert_eq!(reversed.phase(start() + minutes(30)), Phase::NotYetValid);
}

fn code(world: &World) -> StaticSource {
    StaticSource::new(world.svid("orders"), world.bundles.clone(), world.time.clock()).unwrap()
}

#[test]
fn a_status_tells_where_from_since_when_how_long_and_whom_is_trusted() {
    let world = World::new();
    let orders = code(&world);
    world.time.advance(minutes(50));

    let status = orders.source().status();

    assert_eq!((&status.origin, &status.id), (&Origin::Code, &id("spiffe://td/orders")));
    assert_eq!((status.generation, status.rotations), (1, 0));
    assert_eq!((status.since, status.phase), (start(), Phase::Due));
    assert_eq!(status.lifetime, Lifetime::new(start(), start() + HOUR));
    let [trusted] = &status.trusted[..] else {
        panic!("{status:?}");
    };
    assert_eq!((&trusted.trust_domain, trusted.authorities), (&domain("td"), 1));
    assert_eq!((trusted.lists, status.next_update()), (0, None));
    assert!(!status.failing && status.last_failure.is_none() && !status.withdrawn);
}

#[test]
fn a_status_counts_rotations_and_keeps_what_failed_last() {
    let (world, other) = (World::new(), World::new());
    let orders = code(&world);
    let count = |status: &IdentityStatus, reason| status.failures.iter().find(|(known, _)| *known == reason).unwrap().1;
    world.time.advance(minutes(1));

    let _ = orders.rotate(world.svid("payments"), world.bundles.clone());
    let _ = orders.rotate(other.svid("orders"), world.bundles.clone());
    let failed = orders.source().status();
    orders.rotate(world.svid("orders"), world.bundles).unwrap();
    let well = orders.source().status();

    assert!(failed.failing);
    assert_eq!(count(&failed, FailureReason::Unsuitable), 2);
    let (at, failure) = failed.last_failure.unwrap();
    assert_eq!(at, start() + minutes(1));
    assert!(failure.message.contains("would be refused by peers"), "{failure}");
    assert_eq!((well.failing, well.rotations, well.generation), (false, 1, 2));
    assert!(well.last_failure.is_some(), "what failed last is still told");
}

#[tokio::test]
async fn an_identity_that_is_withdrawn_shakes_no_hands_until_there_is_another() {
    let world = World::new();
    let (orders, web) = (code(&world), world.svid("web"));
    let client = || world.client(&web, &ExpectedPeer::any_in(domain("td")));
    orders.withdraw();

    let (accepted, _) = shake(orders.source().server_config(&[]).unwrap(), client()).await;

    assert!(
        matches!(accepted, Err(HandshakeError::OwnIdentity(OwnIdentityError::Withdrawn))),
        "{accepted:?}"
    );
    let status = orders.source().status();
    assert!(status.withdrawn && status.failing);
    assert_eq!(orders.source().generation(), 2);
    orders.withdraw();
    assert_eq!(orders.source().generation(), 2, "once is enough");
    orders.rotate(world.svid("orders"), world.bundles.clone()).unwrap();
    let (accepted, _) = shake(orders.source().server_config(&[]).unwrap(), client()).await;
    assert!(accepted.is_ok());
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_towards_the_end_is_logged_once_and_in_its_time() {
    let (log, world) = (Log::default(), World::new());
    let _logging = log.begin();
    let orders = StaticSource::new(world.svid("orders"), world.bundles.clone(), following_clock()).unwrap();
    tokio::spawn(orders.source().watch_expiry());

    for (until, lines) in [(44, 0), (46, 1), (53, 1), (55, 2), (59, 2), (62, 3), (500, 3)] {
        let now = orders.source().current().clock().now();
        let wait = (start() + minutes(until)).duration_since(now).unwrap();
        tokio::time::sleep(wait).await;
        assert_eq!(log.lines().len(), lines, "after {until} minutes: {:#?}", log.lines());
    }

    let lines = log.lines();
    assert!(lines[0].contains("WARN") && lines[0].contains("renewal of the identity is late"));
    assert!(lines[1].contains("ERROR") && lines[1].contains("identity nears its end"));
    assert!(lines[2].contains("ERROR") && lines[2].contains("identity has expired"));
    assert!(lines.iter().all(|line| line.contains("spiffe://td/orders")));
}

#[test]
fn a_failure_that_goes_on_is_logged_once_and_again_after_a_recovery() {
    let (log, world) = (Log::default(), World::new());
    let orders = code(&world);
    let _logging = log.begin();
    let warnings = || {
        let lines = log.lines();
        lines
            .iter()
            .filter(|line| line.contains("identity cannot be renewed"))
            .count()
    };
    let fail = || {
        orders
            .rotate(world.svid("payments"), world.bundles.clone())
            .unwrap_err()
    };

    fail();
    fail();
    assert_eq!(warnings(), 1);
    orders.rotate(world.svid("orders"), world.bundles.clone()).unwrap();
    fail();

    assert_eq!(warnings(), 2);
    assert_eq!(orders.source().status().failures[3], (FailureReason::Unsuitable, 3));
}

#[test]
fn a_withdrawal_is_logged_as_one_and_once() {
    let (log, world) = (Log::default(), World::new());
    let orders = code(&world);
    let _logging = log.begin();

    orders.withdraw();
    orders.withdraw();

    let lines = log.lines();
    assert!(
        lines.len() == 1 && lines[0].contains("identity is withdrawn"),
        "{lines:#?}"
    );
}

/// A development authority that can be away.
struct Sometimes {
    issuer: DevIssuer,
    is_away: Arc<AtomicBool>,
}

impl Issuer for Sometimes {
    async fn issue(&self, id: &SpiffeId) -> Result<Material, Failure> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Failure::new(FailureReason::Unavailable, "the authority is away")),
            false => self.issuer.issue(id).await,
        }
    }
}

async fn issued(ttl: Duration, is_away: &Arc<AtomicBool>) -> Result<IssuedSource<Sometimes>, SourceError> {
    let clock = following_clock();
    let ca = DevCa::new(domain("td"), clock.now()).unwrap();
    let issuer = Sometimes {
        issuer: DevIssuer::new(ca, ttl, clock.clone()),
        is_away: Arc::clone(is_away),
    };
    let orders = id("spiffe://td/orders");
    IssuedSource::start(issuer, "a test", &orders, clock, SplitMix64::new(7)).await
}

#[tokio::test(start_paused = true)]
async fn an_issued_identity_is_renewed_in_time_for_ever() {
    let issued = issued(HOUR, &Arc::default()).await.unwrap();
    let source = issued.source();
    tokio::spawn(issued.run());

    for _ in 0..600 {
        let status = source.status();
        assert_eq!((status.phase, status.failing), (Phase::Fresh, false));
        let renews_at = status.renews_at.unwrap();
        assert!(renews_at <= status.lifetime.due(), "{status:?}");
        tokio::time::sleep(minutes(1)).await;
    }

    let rotations = source.status().rotations;
    assert!((17..=20).contains(&rotations), "{rotations} in ten hours");
}

#[tokio::test(start_paused = true)]
async fn short_lives_are_renewed_at_their_half_as_well() {
    let issued = issued(Duration::from_secs(60), &Arc::default()).await.unwrap();
    let source = issued.source();
    tokio::spawn(issued.run());

    tokio::time::sleep(minutes(10)).await;

    let status = source.status();
    assert!((17..=20).contains(&status.rotations), "{status:?}");
    assert_eq!(status.phase, Phase::Fresh);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_authority_is_seen_and_outlived() {
    let is_away = Arc::new(AtomicBool::new(false));
    let issued = issued(HOUR, &is_away).await.unwrap();
    let source = issued.source();
    tokio::spawn(issued.run());
    is_away.store(true, Ordering::Relaxed);

    tokio::time::sleep(minutes(57)).await;
    let late = source.status();
    tokio::time::sleep(minutes(13)).await;
    let ended = source.status();
    is_away.store(false, Ordering::Relaxed);
    tokio::time::sleep(minutes(2)).await;
    let well = source.status();

    assert_eq!((late.phase, late.failing, late.generation), (Phase::Expiring, true, 1));
    let (_, failure) = late.last_failure.unwrap();
    assert_eq!(
        (failure.reason, &*failure.message),
        (FailureReason::Unavailable, "the authority is away")
    );
    assert!(late.failures[0].1 > 10, "{:?}", late.failures);
    assert_eq!(ended.phase, Phase::Expired);
    assert_eq!((well.phase, well.failing, well.generation), (Phase::Fresh, false, 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_first_identity_there_is_no_source() {
    let error = issued(HOUR, &Arc::new(AtomicBool::new(true))).await.unwrap_err();

    assert_eq!(error.to_string(), "the authority is away");
}

#[test]
fn a_failure_of_files_is_counted_when_it_appears_and_over_when_they_are_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (world, orders) = (World::new(), id("spiffe://td/orders"));
    let ca = DevCa::new(domain("td"), start()).unwrap();
    ca.write_workload(directory.path(), &orders, HOUR, start()).unwrap();
    let files = FileSource::open(directory.path(), world.time.clock()).unwrap();
    let bundle = directory.path().join("ca.crt");
    let good = std::fs::read(&bundle).unwrap();

    std::fs::write(&bundle, "broken").unwrap();
    for _ in 0..3 {
        assert!(files.refresh().is_err());
    }
    let broken = files.source().status();
    std::fs::write(&bundle, good).unwrap();
    files.refresh().unwrap();

    assert_eq!(broken.failures[2], (FailureReason::Invalid, 1));
    assert!(broken.failing && !files.source().status().failing);
    assert_eq!(broken.origin, Origin::Files(directory.path().join("tls.crt")));
}
