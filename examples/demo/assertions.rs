//! Drives the shop and checks every effect that the demo promises.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use http::Request;
use mesh_core::identity::SpiffeId;
use mesh_tower::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::load::{Counts, Door, Load};
use crate::screen::ejected_by;
use crate::shop::Shop;

/// How long an effect may take to show.
const PATIENCE: Duration = Duration::from_secs(5);
/// A changed policy is in force within it.
const RELOAD: Duration = Duration::from_secs(1);

/// Runs all checks, then keeps the load up until `time` is over.
pub(crate) async fn run(shop: &Shop, load: &Load, time: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    steady(load).await.context("steady load")?;
    canary_by_header(shop).await.context("canary by header")?;
    edited_weight(shop, load).await.context("edited weight")?;
    broken_policy(shop, load).await.context("broken policy")?;
    failing_endpoint(shop, load).await.context("failing endpoint")?;
    wrong_identity(shop).await.context("wrong identity")?;
    plain_text(shop).await.context("plain text")?;
    rotation(shop, load).await.context("rotation")?;
    metrics(shop).await.context("metrics")?;
    let last = load.take();
    ensure!(last.failures.is_empty(), "requests failed: {:?}", last.failures);
    if let Some(rest) = time.checked_sub(start.elapsed()) {
        tokio::time::sleep(rest).await;
        let last = load.take();
        ensure!(
            last.failures.is_empty(),
            "requests failed at the end: {:?}",
            last.failures
        );
    }
    println!("all effects are there, after {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn done(what: &str) {
    println!("ok: {what}");
}

fn no_failures(counts: &Counts) -> anyhow::Result<()> {
    ensure!(counts.requests > 0, "no requests at all");
    ensure!(counts.failures.is_empty(), "requests failed: {:?}", counts.failures);
    Ok(())
}

/// Load for a while, and what came of it.
async fn counts_after(load: &Load, requests: u64) -> Counts {
    load.take();
    let mut sum = load.take();
    while sum.requests < requests {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let next = load.take();
        sum.requests += next.requests;
        sum.successes += next.successes;
        sum.v2 += next.v2;
        sum.failures.extend(next.failures);
    }
    sum
}

/// Within five standard deviations of the binomial.
fn ensure_share(counts: &Counts, share: f64) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let deviation = (share * (1.0 - share) / counts.successes.max(1) as f64).sqrt();
    let found = counts.share_of_v2();
    ensure!(
        (found - share).abs() <= 5.0 * deviation,
        "v2 got {found:.3} of {}, expected {share}",
        counts.successes
    );
    Ok(())
}

async fn steady(load: &Load) -> anyhow::Result<()> {
    let counts = counts_after(load, 600).await;
    no_failures(&counts)?;
    ensure_share(&counts, 0.1)?;
    done("every request succeeds, a tenth goes to v2");
    Ok(())
}

async fn canary_by_header(shop: &Shop) -> anyhow::Result<()> {
    let mut door = Door::of(shop)?;
    for _ in 0..20 {
        let answer = door.get("/orders/7", Some("canary")).await?;
        ensure!((answer.status, &*answer.version) == (200, "v2"), "{answer:?}");
    }
    done("x-version: canary goes to v2");
    Ok(())
}

/// Replaces a file of the policy, as an editor does, and waits until the gateway has taken it.
async fn edit(shop: &Shop, file: &str, change: impl FnOnce(String) -> String) -> anyhow::Result<()> {
    let mut generations = shop.service("gateway")?.mesh.generations();
    let before = *generations.borrow_and_update();
    replace(&shop.policies.directory.join(file), change)?;
    let changed = tokio::time::timeout(RELOAD, generations.wait_for(|now| *now > before)).await;
    ensure!(
        changed.is_ok(),
        "the change of {file} was not in force within {RELOAD:?}"
    );
    Ok(())
}

fn replace(path: &Path, change: impl FnOnce(String) -> String) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let changed = change(text.clone());
    ensure!(changed != text, "nothing to change in {}", path.display());
    let draft = path.with_extension("draft");
    std::fs::write(&draft, changed)?;
    Ok(std::fs::rename(draft, path)?)
}

async fn edited_weight(shop: &Shop, load: &Load) -> anyhow::Result<()> {
    let halves = |text: String| {
        text.replace("weight: 90", "weight: 50")
            .replace("weight: 10", "weight: 50")
    };
    edit(shop, "gateway.yaml", halves).await?;
    let counts = counts_after(load, 600).await;
    no_failures(&counts)?;
    ensure_share(&counts, 0.5)?;
    done("an edited weight is in force within a second, and no request fails");
    Ok(())
}

async fn broken_policy(shop: &Shop, load: &Load) -> anyhow::Result<()> {
    let path = shop.policies.directory.join("gateway.yaml");
    let good = std::fs::read_to_string(&path)?;
    replace(&path, |text| text.replace("weight: 50", "wieght: 50"))?;
    let mesh = &shop.service("gateway")?.mesh;
    wait_for("the broken policy is refused", || {
        mesh.policy_status().rejected.is_some()
    })
    .await?;
    let reasons = mesh
        .policy_status()
        .rejected
        .map(|rejected| rejected.reasons)
        .unwrap_or_default();
    ensure!(
        reasons
            .iter()
            .any(|reason| reason.contains("gateway.yaml:") && reason.contains("wieght")),
        "{reasons:?}"
    );
    let counts = counts_after(load, 200).await;
    no_failures(&counts)?;
    ensure_share(&counts, 0.5)?;
    replace(&path, |_| good)?;
    wait_for("the good policy is taken again", || {
        mesh.policy_status().rejected.is_none()
    })
    .await?;
    done("a broken policy is refused with file and line, and the last good one stays");
    Ok(())
}

async fn failing_endpoint(shop: &Shop, load: &Load) -> anyhow::Result<()> {
    let failing = &shop.service("payments-2")?.fails;
    let orders = [&shop.service("orders-v1")?.mesh, &shop.service("orders-v2")?.mesh];
    let ejected = |count| move || orders.iter().all(|mesh| ejected_by(&mesh.metrics().render()) == count);
    load.take();
    failing.store(true, Ordering::Relaxed);
    wait_for("the failing endpoint is ejected", ejected(1)).await?;
    no_failures(&load.take()).context("retries hide the failing endpoint")?;
    failing.store(false, Ordering::Relaxed);
    wait_for("the endpoint returns", ejected(0)).await?;
    no_failures(&load.take())?;
    done("a failing endpoint is ejected and returns; callers notice nothing");
    Ok(())
}

async fn wrong_identity(shop: &Shop) -> anyhow::Result<()> {
    let stranger = shop.stranger("intruder").await?;
    let request = Request::get("http://payments/charge").body(Body::empty())?;
    let status = stranger.client().send(request).await?.status();
    ensure!(status == 403, "an intruder got {status}");
    done("an identity that no rule names gets 403");
    Ok(())
}

async fn plain_text(shop: &Shop) -> anyhow::Result<()> {
    let address = shop.service("payments-1")?.address;
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /charge HTTP/1.1\r\nhost: payments\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    // A reset says the same as an end.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .context("still open")?;
    ensure!(answer.is_empty(), "plain text got {}", String::from_utf8_lossy(&answer));
    done("plain text is refused");
    Ok(())
}

/// A new certificate is taken from the files, and no connection is lost for it.
async fn rotation(shop: &Shop, load: &Load) -> anyhow::Result<()> {
    let directory = shop.policies.scratch.path().join("identities/orders");
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders")?;
    load.take();
    shop.ca
        .write_workload(&directory, &id, Duration::from_secs(7200), SystemTime::now())?;
    let counts = counts_after(load, 400).await;
    no_failures(&counts)?;
    done("certificates rotate under load");
    Ok(())
}

async fn metrics(shop: &Shop) -> anyhow::Result<()> {
    let address = shop
        .service("gateway")?
        .mesh
        .admin_address()
        .context("no admin listener")?;
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    for wanted in [
        "istio_requests_total{",
        "istio_request_duration_milliseconds_bucket{",
        "mesh_policy_reloads_total{",
    ] {
        ensure!(text.contains(wanted), "no {wanted} in the metrics");
    }
    done("the admin page serves metrics");
    Ok(())
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if holds() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("in vain: {what}")
}
