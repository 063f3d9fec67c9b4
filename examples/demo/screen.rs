//! What the demo prints.

use std::time::Duration;

use crate::load::{Counts, Load};
use crate::shop::Shop;

/// The terminal.
pub(crate) struct Screen<'a> {
    shop: &'a Shop,
    load: &'a Load,
}

impl<'a> Screen<'a> {
    pub(crate) const fn new(shop: &'a Shop, load: &'a Load) -> Self {
        Self { shop, load }
    }

    /// Where everything is, and what to try.
    pub(crate) fn introduce(&self) {
        let scratch = self.shop.policies.scratch.path().display();
        println!(
            "A shop on a mesh: gateway (TLS) -> orders (v1, v2) -> payments (3 endpoints), strict mTLS everywhere.\n"
        );
        for (name, running) in &self.shop.services {
            let admin = running
                .mesh
                .admin_address()
                .map_or_else(String::new, |address| format!("admin http://{address}"));
            println!("  {name:<11} {:<21} {admin}", running.address.to_string());
        }
        let directory = self.shop.policies.directory.display();
        let control = self.shop.control;
        println!("\nTry, while it runs:");
        println!("  edit a weight       {directory}/gateway.yaml: the share of v2 follows within a second");
        println!(
            "  break the YAML      anywhere in {directory}: the last good policy stays, /policy on an admin page says why"
        );
        println!("  fail an endpoint    curl -X POST http://{control}/fail/payments-2    (and /heal/payments-2)");
        if let (Ok(gateway), Ok(payments)) = (self.shop.gateway(), self.shop.service("payments-1")) {
            let port = gateway.port();
            println!(
                "  order something     curl --cacert {scratch}/identities/gateway/ca.crt https://localhost:{port}/orders/7 -H 'x-version: canary'"
            );
            let intruder = format!("{scratch}/identities/gateway");
            println!(
                "  wrong identity      curl -k --cert {intruder}/tls.crt --key {intruder}/tls.key https://{}/charge    (403: the gateway may not charge)",
                payments.address
            );
        }
        println!();
    }

    /// A line each second, for ever.
    pub(crate) async fn run(&self) {
        self.load.take();
        let mut told = (1, Vec::new());
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            println!("{}", self.line(&self.load.take()));
            self.tell_of_policy(&mut told);
        }
    }

    /// Says what became of an edit, once.
    fn tell_of_policy(&self, told: &mut (u64, Vec<String>)) {
        let Ok(gateway) = self.shop.service("gateway") else {
            return;
        };
        let status = gateway.mesh.policy_status();
        let reasons = status.rejected.map(|rejected| rejected.reasons).unwrap_or_default();
        if status.generation != told.0 {
            println!("  policy: generation {} is in force", status.generation);
        }
        if reasons != told.1 {
            reasons
                .iter()
                .for_each(|reason| println!("  policy refused, the last good one stays: {reason}"));
        }
        *told = (status.generation, reasons);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn line(&self, counts: &Counts) -> String {
        let seconds = counts.since.elapsed().as_secs_f64().max(0.001);
        let rate = counts.requests as f64 / seconds;
        let success = 100.0 * counts.successes as f64 / counts.requests.max(1) as f64;
        let millis = |quantile| counts.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let share = 100.0 * counts.share_of_v2();
        let failures: Vec<String> = counts
            .failures
            .iter()
            .map(|(why, count)| format!("{count} x {}", why.trim()))
            .collect();
        format!(
            "{rate:>6.0} rps  {success:>6.2} % ok  p50 {:>6.2} ms  p99 {:>6.2} ms  v2 {share:>5.1} %  ejected: {}  {}",
            millis(0.5),
            millis(0.99),
            ejected(self.shop),
            failures.join("; "),
        )
    }
}

/// Endpoints of payments that the two versions of orders leave alone, as their metrics tell.
pub(crate) fn ejected(shop: &Shop) -> String {
    let callers = shop.services.iter().filter(|(name, _)| name.starts_with("orders"));
    let counts = callers.map(|(name, running)| (name, ejected_by(&running.mesh.metrics().render())));
    let told: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} by {name}"))
        .collect();
    if told.is_empty() {
        "none".into()
    } else {
        told.join(", ")
    }
}

/// The gauge `mesh_outlier_ejected` of payments.
pub(crate) fn ejected_by(metrics: &str) -> u64 {
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("mesh_outlier_ejected{") && line.contains("payments"));
    let value = lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_default()
}
