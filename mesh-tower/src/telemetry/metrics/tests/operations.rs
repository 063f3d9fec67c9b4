//! The metrics of the mesh's own work, and who receives them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

#[test]
fn the_work_of_the_mesh_is_counted() {
    let metrics = Metrics::default();
    metrics.policy().reloaded(ReloadResult::Ok);
    metrics
        .policy()
        .in_force(4, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.policy().reloaded(ReloadResult::Rejected);
    let orders = metrics.service("orders");
    orders.ejection();
    orders.ejected_changed(0, 3);
    orders.ejected_changed(3, 1);
    orders.ejected_changed(0, 1);
    for result in [RetryResult::Success, RetryResult::Failure, RetryResult::BudgetExhausted] {
        metrics.service("orders").retry(result);
    }
    metrics.handshake(
        Side::Server,
        HandshakeResult::Failed(mesh_tls::handshake::Reason::Expired),
    );
    metrics.handshake(Side::Server, HandshakeResult::Resumed);
    metrics.ended(Side::Client, EndReason::NotTrusted);
    let address = Some("10.0.0.7".parse().unwrap());
    metrics.plaintext(address, "orders.shop", 8080).increment();
    metrics.audited_request();
    metrics.tried_request(mesh_core::decide::authz::Verdict::Deny);
    let open = metrics.connection(Side::Client);
    let closed = metrics.connection(Side::Client);
    drop(closed);

    let text = metrics.render();
    for line in [
        r#"mesh_policy_reloads_total{result="ok"} 1"#,
        r#"mesh_policy_reloads_total{result="rejected"} 1"#,
        "mesh_policy_generation 4",
        "mesh_policy_last_reload_success_timestamp_seconds 1700000000",
        r#"mesh_outlier_ejections_total{service="orders"} 1"#,
        r#"mesh_outlier_ejected{service="orders"} 2"#,
        r#"mesh_retries_total{service="orders",result="success"} 1"#,
        r#"mesh_retries_total{service="orders",result="failure"} 1"#,
        r#"mesh_retries_total{service="orders",result="budget_exhausted"} 1"#,
        "mesh_retry_budget_exhausted_total 1",
        r#"mesh_tls_handshakes_total{side="server",result="failed",reason="expired"} 1"#,
        r#"mesh_tls_handshakes_total{side="server",result="ok",reason="none"} 1"#,
        r#"mesh_tls_handshakes_total{side="client",result="ok",reason="none"} 0"#,
        r#"mesh_tls_resumptions_total{side="server"} 1"#,
        r#"mesh_connections_ended_total{side="client",reason="not_trusted"} 1"#,
        r#"mesh_plaintext_requests_total{source_address="10.0.0.7",destination_service="orders.shop",port="8080"} 1"#,
        "mesh_authorization_audited_total 1",
        r#"mesh_authorization_trial_total{decision="allow"} 0"#,
        r#"mesh_authorization_trial_total{decision="deny"} 1"#,
        r#"mesh_connections{side="client"} 1"#,
        "mesh_access_log_dropped_total 0",
        "# TYPE mesh_connections gauge",
        "# TYPE istio_build gauge",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "`{line}` is missing in\n{text}"
        );
    }
    drop(open);
    assert!(metrics.render().contains("mesh_connections{side=\"client\"} 0"));
}

#[tokio::test(start_paused = true)]
async fn upkeep_ends_with_the_metrics() {
    let metrics = Metrics::default();
    let upkeep = metrics.spawn_upkeep(Duration::from_secs(5));
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!upkeep.is_finished());

    drop(metrics);

    tokio::time::timeout(Duration::from_secs(6), upkeep)
        .await
        .unwrap()
        .unwrap();
}

#[test]
fn the_users_recorder_gets_everything_too() {
    #[derive(Default)]
    struct Sum(AtomicU64);

    impl CounterFn for Sum {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Ordering::Relaxed);
        }

        fn absolute(&self, _value: u64) {}
    }

    #[derive(Default)]
    struct Requests(Arc<Sum>);

    impl Recorder for Requests {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            match key.name() {
                "istio_requests_total" => Counter::from_arc(Arc::clone(&self.0)),
                _ => Counter::noop(),
            }
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let sum = Arc::new(Sum::default());
    let recorder: UserRecorder = Arc::new(Requests(Arc::clone(&sum)));
    let metrics = Metrics::new(MetricsOptions {
        recorder: Some(recorder),
        ..MetricsOptions::default()
    });
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    group.record(&ok());
    group.record(&ok());

    assert_eq!(sum.0.load(Ordering::Relaxed), 2);
    assert_eq!(named(&scrape(&metrics.render()), "istio_requests_total")[0].2, 2.0);
}
