//! The rows CM of the studied certificate managers, in virtual time. Certificates count whole seconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_core::random::SplitMix64;
use rcgen::{CertifiedIssuer, KeyPair};

use super::*;
use crate::clock::ManualClock;
use crate::source::{FailureReason, Lifetime};
use crate::svid::TrustBundle;
use crate::testing::{HOUR, authority, bundle, domain, following_clock, id, leaf, signed, start};

const SECOND: Duration = Duration::from_secs(1);

/// An authority that takes its time and keeps a record.
struct Slow {
    ca: CertifiedIssuer<'static, KeyPair>,
    bundle: TrustBundle,
    clock: Clock,
    latency: Duration,
    lifetime: Duration,
    /// So many of the next calls fail.
    failing: AtomicUsize,
    asked: Mutex<Vec<SpiffeId>>,
}

impl Slow {
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|id| id.path()[1..].to_owned()).collect()
    }

    fn fails(&self) -> bool {
        let less = |failing: usize| failing.checked_sub(1);
        self.failing
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl Issuer for Arc<Slow> {
    async fn issue(&self, id: &SpiffeId) -> Result<Material, Failure> {
        self.asked.lock().unwrap().push(id.clone());
        tokio::time::sleep(self.latency).await;
        if self.fails() {
            return Err(Failure::new(FailureReason::Unavailable, "the authority is away"));
        }
        let mut params = leaf(id.as_str());
        let now = self.clock.now();
        (params.not_before, params.not_after) = (now.into(), (now + self.lifetime).into());
        let (chain, key) = signed(&params, &self.ca);
        Ok(Material {
            svid: Svid::from_der(chain, key).unwrap(),
            bundles: TrustBundles::of(domain("td"), self.bundle.clone()),
        })
    }
}

/// No chance: pauses and renewals are those of the rules, without their spread.
struct Zero;

impl Rng for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

fn issuer(latency: Duration, lifetime: Duration) -> Arc<Slow> {
    let ca = authority("td");
    Arc::new(Slow {
        bundle: bundle(&ca),
        ca,
        clock: following_clock(),
        latency,
        lifetime,
        failing: AtomicUsize::new(0),
        asked: Mutex::default(),
    })
}

fn running(issuer: &Arc<Slow>, at_a_time: usize) -> Renewer<Arc<Slow>> {
    let renewer = Renewer::new(Arc::clone(issuer), at_a_time, issuer.clock.clone(), Zero);
    tokio::spawn(renewer.clone().run());
    renewer
}

fn workload(name: &str) -> SpiffeId {
    id(&format!("spiffe://td/{name}"))
}

/// Lets everything happen that is due, without moving the clock.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn cm_2_all_are_renewed_at_half_of_their_life_and_in_their_order() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 1);
    let begun = Instant::now();
    for name in ["a", "b", "c", "d"] {
        renewer.fetch(&workload(name), Urgency::Now).await.unwrap();
    }
    assert_eq!(issuer.asked(), ["a", "b", "c", "d"]);

    // The first certificate came after one second.
    tokio::time::sleep_until(begun + 51 * SECOND - Duration::from_millis(1)).await;
    assert_eq!(issuer.asked().len(), 4, "half of the first one's life is not over");
    tokio::time::sleep_until(begun + 60 * SECOND).await;

    assert_eq!(issuer.asked()[4..], ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn cm_3_what_somebody_waits_for_goes_before_what_somebody_will() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 1);
    for name in ["warm-1", "warm-2", "warm-3", "warm-4"] {
        renewer.ask(&workload(name), Urgency::WarmUp);
    }
    settle().await;

    renewer.fetch(&workload("now"), Urgency::Now).await.unwrap();

    assert_eq!(issuer.asked()[..2], ["warm-1", "now"]);
    settle().await;
    renewer.fetch(&workload("warm-4"), Urgency::Now).await.unwrap();
    assert_eq!(
        issuer.asked()[2..4],
        ["warm-2", "warm-4"],
        "waiting for it made it urgent"
    );
}

#[tokio::test(start_paused = true)]
async fn cm_5_concurrent_callers_share_one_call_and_its_result() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 4);
    let orders = workload("orders");

    let (a, b, c, d) = tokio::join!(
        renewer.fetch(&orders, Urgency::Now),
        renewer.fetch(&orders, Urgency::Now),
        renewer.fetch(&orders, Urgency::WarmUp),
        renewer.fetch(&orders, Urgency::Now),
    );

    let a = a.unwrap();
    assert!([b, c, d].into_iter().all(|other| Arc::ptr_eq(&a, &other.unwrap())));
    assert_eq!(issuer.asked(), ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn cm_6_as_many_are_asked_for_at_a_time_as_may_be() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 4);
    let begun = Instant::now();

    let names = ["a", "b", "c", "d"].map(workload);
    let [a, b, c, d] = names.each_ref().map(|id| renewer.fetch(id, Urgency::Now));
    let all = tokio::join!(a, b, c, d);

    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    assert_eq!(begun.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn cm_7_who_waits_for_a_forgotten_identity_learns_so() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 1);
    let orders = workload("orders");
    let waiting = tokio::spawn({
        let (renewer, orders) = (renewer.clone(), orders.clone());
        async move { renewer.fetch(&orders, Urgency::Now).await.map(|_| ()) }
    });
    settle().await;

    renewer.forget(&orders);

    assert_eq!(waiting.await.unwrap(), Err(RenewError::Forgotten(orders)));
    tokio::time::sleep(10 * SECOND).await;
    assert!(renewer.is_empty(), "the answer that came later is dropped");
}

#[tokio::test(start_paused = true)]
async fn cm_8_a_forgotten_identity_is_neither_kept_nor_renewed() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 1);
    let orders = workload("orders");
    renewer.fetch(&orders, Urgency::Now).await.unwrap();

    renewer.forget(&orders);

    tokio::time::sleep(200 * SECOND).await;
    assert!(renewer.is_empty());
    assert_eq!(issuer.asked(), ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn cm_9_a_failure_is_told_at_once_until_its_pause_is_over() {
    let issuer = issuer(SECOND, 100 * SECOND);
    issuer.failing.store(1, Ordering::Relaxed);
    let renewer = running(&issuer, 1);
    let orders = workload("orders");
    let first = renewer.fetch(&orders, Urgency::Now).await.unwrap_err();

    let again = renewer.fetch(&orders, Urgency::Now).await.unwrap_err();

    assert_eq!(first, again);
    assert_eq!(issuer.asked().len(), 1, "the authority is left alone");
    tokio::time::sleep(3 * SECOND).await;
    assert!(renewer.fetch(&orders, Urgency::Now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn cm_10_a_certificate_that_is_still_valid_stays_while_its_renewal_fails() {
    let issuer = issuer(SECOND, 100 * SECOND);
    let renewer = running(&issuer, 1);
    let orders = workload("orders");
    let first = renewer.fetch(&orders, Urgency::Now).await.unwrap();
    issuer.failing.store(usize::MAX, Ordering::Relaxed);

    tokio::time::sleep(60 * SECOND).await;

    assert!(issuer.asked().len() > 1, "a renewal was tried");
    let kept = renewer.fetch(&orders, Urgency::Now).await.unwrap();
    assert!(Arc::ptr_eq(&first, &kept));
    tokio::time::sleep(60 * SECOND).await;
    let gone = renewer.fetch(&orders, Urgency::Now).await.unwrap_err();
    assert_eq!(gone.to_string(), "the authority is away", "it has expired");
    issuer.failing.store(0, Ordering::Relaxed);
    tokio::time::sleep(61 * SECOND).await;
    assert!(renewer.fetch(&orders, Urgency::Now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn cm_11_many_callers_of_many_short_lived_identities_see_no_error() {
    let issuer = issuer(Duration::from_millis(1), 4 * SECOND);
    let renewer = running(&issuer, 8);
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let renewer = renewer.clone();
        callers.spawn(async move {
            for number in 0..100 {
                let name = format!("w{}", (number + caller * 13) % 100);
                renewer.fetch(&workload(&name), Urgency::Now).await.unwrap();
            }
        });
    }

    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }

    assert_eq!(renewer.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn cm_12_who_asks_again_and_again_sees_the_renewal() {
    let issuer = issuer(Duration::from_millis(1), 6 * SECOND);
    let renewer = running(&issuer, 1);
    let orders = workload("orders");
    let first = renewer.fetch(&orders, Urgency::Now).await.unwrap();

    let fresh = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let known = renewer.fetch(&orders, Urgency::Now).await.unwrap();
        if !Arc::ptr_eq(&known, &first) {
            break known;
        }
    };

    assert!(fresh.svid.not_before() > first.svid.not_before());
    assert!(fresh.svid.not_before() < first.svid.not_after(), "in time");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_a_sleeping_machine_missed_comes_within_a_minute() {
    let time = ManualClock::at(start());
    let mut slow = issuer(Duration::ZERO, HOUR * 10);
    Arc::get_mut(&mut slow).unwrap().clock = time.clock();
    let renewer = running(&slow, 1);
    let orders = workload("orders");
    renewer.fetch(&orders, Urgency::Now).await.unwrap();

    time.advance(HOUR * 6);
    tokio::time::sleep(61 * SECOND).await;

    assert_eq!(slow.asked().len(), 2);
    let known = renewer.fetch(&orders, Urgency::Now).await.unwrap();
    assert_eq!(known.svid.not_before(), start() + HOUR * 6);
}

/// Linkerd renews at 70 % within ten seconds and a day, and tries again after ten seconds. Here half of the life
/// counts, so that an outage of the authority may take the other half.
#[test]
fn cm_14_renewals_are_at_half_of_what_is_left_within_a_second_and_a_day() {
    let mut chance = SplitMix64::new(7);
    let renewal = |left: Duration, rng: &mut dyn Rng| {
        let lifetime = Lifetime::new(start() - HOUR, start() + left);
        schedule::renewal(lifetime, start(), rng)
    };
    for (left, expected) in [
        (100 * SECOND, 50 * SECOND),
        (SECOND, SECOND),
        (Duration::ZERO, SECOND),
        (HOUR, HOUR / 2),
        (HOUR * 24 * 365, HOUR * 24),
    ] {
        assert_eq!(renewal(left, &mut Zero), expected, "{left:?}");
    }
    let spread: Vec<_> = (0..100).map(|_| renewal(HOUR, &mut chance)).collect();
    assert!(spread.iter().all(|at| (HOUR / 2..HOUR / 2 + HOUR / 20).contains(at)));
    assert!(
        spread
            .iter()
            .max()
            .unwrap()
            .saturating_sub(*spread.iter().min().unwrap())
            > HOUR / 40
    );
}

#[test]
fn pauses_double_up_to_a_minute_and_half_of_them_is_chance() {
    let mut chance = SplitMix64::new(7);
    let pauses: Vec<_> = (1..9)
        .map(|failures| schedule::pause(failures, &mut Zero).as_secs())
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(schedule::pause(u32::MAX, &mut Zero).as_secs(), 60);
    for _ in 0..100 {
        let pause = schedule::pause(3, &mut chance);
        assert!((2 * SECOND..=4 * SECOND).contains(&pause), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_without_an_answer_has_failed() {
    let issuer = issuer(HOUR, HOUR);
    let renewer = running(&issuer, 1);
    let begun = Instant::now();

    let error = renewer.fetch(&workload("orders"), Urgency::Now).await.unwrap_err();

    assert_eq!(error.to_string(), "the issuer did not answer within 30 s");
    assert_eq!(begun.elapsed(), 30 * SECOND);
}

/// Gives everybody the same identity.
struct Stubborn(Arc<Slow>);

impl Issuer for Stubborn {
    async fn issue(&self, _: &SpiffeId) -> Result<Material, Failure> {
        self.0.issue(&workload("orders")).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_gives_somebody_elses_identity_is_not_believed() {
    let issuer = issuer(SECOND, HOUR);
    let renewer = Renewer::new(Stubborn(Arc::clone(&issuer)), 1, issuer.clock.clone(), Zero);
    tokio::spawn(renewer.clone().run());

    let error = renewer.fetch(&workload("payments"), Urgency::Now).await.unwrap_err();

    let RenewError::Failed(failure) = error else {
        panic!("{error}");
    };
    assert_eq!(failure.reason, FailureReason::Unsuitable);
    assert!(failure.message.contains("spiffe://td/orders"), "{failure}");
}

/// Panics for everybody.
struct Faulty;

impl Issuer for Faulty {
    async fn issue(&self, _: &SpiffeId) -> Result<Material, Failure> {
        panic!("a bug");
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_panics_has_failed() {
    let renewer = Renewer::new(Faulty, 1, following_clock(), Zero);
    tokio::spawn(renewer.clone().run());

    let error = renewer.fetch(&workload("orders"), Urgency::Now).await.unwrap_err();

    assert_eq!(error.to_string(), "the issuer was interrupted");
}
