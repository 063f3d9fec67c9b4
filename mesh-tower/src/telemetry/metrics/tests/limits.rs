//! The number of series is bounded, and no request is lost to it.

use super::*;

#[test]
fn invented_codes_end_up_in_the_series_of_their_class() {
    let metrics = Metrics::new(MetricsOptions {
        codes_limit: 8,
        ..MetricsOptions::default()
    });
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    for code in 0..1_000 {
        group.record(&RequestRecord {
            response_code: code,
            flags: "UF",
            ..ok()
        });
    }

    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    assert!(requests.len() <= 8 + 6, "{}", requests.len());
    assert_eq!(requests.iter().map(|(.., count)| count).sum::<f64>(), 1_000.0);
    assert_eq!(total(&samples, "istio_requests_total", "response_code", "500"), 100.0);
    assert_eq!(named(&samples, "mesh_metric_series_overflow_total")[0].2, 992.0);
}

/// K6.
#[test]
fn destinations_past_the_limit_share_the_overflow() {
    let metrics = Metrics::new(MetricsOptions {
        series_limit: 50,
        ..MetricsOptions::default()
    });
    for n in 0..10_000 {
        let service = Destination::of_host(&format!("s{n}.shop.svc.cluster.local"), "shop");
        metrics
            .group(Reporter::Source, &web(), &Party::unknown(), &service)
            .record(&ok());
    }

    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    assert_eq!(requests.len(), 51);
    assert_eq!(
        total(
            &samples,
            "istio_requests_total",
            "destination_service_name",
            "__overflow__"
        ),
        9_950.0
    );
    assert_eq!(named(&samples, "mesh_metric_series_overflow_total")[0].2, 9_950.0);
}

/// Past both limits, of destinations and of codes.
#[test]
fn a_request_in_the_overflow_is_told_once() {
    let metrics = Metrics::new(MetricsOptions {
        series_limit: 0,
        codes_limit: 2,
        ..MetricsOptions::default()
    });
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    for response_code in 200..210 {
        group.record(&RequestRecord { response_code, ..ok() });
    }

    let samples = scrape(&metrics.render());
    assert_eq!(named(&samples, "mesh_metric_series_overflow_total")[0].2, 10.0);
    let requests = named(&samples, "istio_requests_total");
    assert_eq!(requests.iter().map(|(.., count)| count).sum::<f64>(), 10.0);
}

#[test]
fn the_limit_holds_for_the_codes_of_all_groups_together() {
    let metrics = Metrics::new(MetricsOptions {
        series_limit: 10,
        ..MetricsOptions::default()
    });
    for n in 0..10 {
        let service = Destination::of_host(&format!("s{n}.shop.svc.cluster.local"), "shop");
        let group = metrics.group(Reporter::Source, &web(), &Party::unknown(), &service);
        for code in [200, 404, 404, 503] {
            group.record(&RequestRecord {
                response_code: code,
                ..ok()
            });
        }
    }

    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    // Ten of their own, and one for each class of codes past them.
    assert!(requests.len() <= 10 + 3, "{}", requests.len());
    assert_eq!(requests.iter().map(|(.., count)| count).sum::<f64>(), 40.0);
}

/// K6.
#[test]
fn identities_past_the_limit_are_counted_together() {
    let metrics = Metrics::new(MetricsOptions {
        peers_limit: 3,
        ..MetricsOptions::default()
    });
    let peers = metrics.peers(orders(), orders_service());
    for _ in 0..2 {
        for n in 0..20 {
            peers.group(Some(&format!("spiffe://td/ns/a/sa/{n}"))).record(&ok());
        }
        peers.group(None).record(&ok());
    }

    let samples = scrape(&metrics.render());
    assert_eq!(named(&samples, "istio_requests_total").len(), 3 + 2);
    assert_eq!(
        total(&samples, "istio_requests_total", "source_principal", "__other__"),
        34.0
    );
    assert_eq!(
        total(&samples, "istio_requests_total", "source_principal", "unknown"),
        2.0
    );
    assert_eq!(
        total(
            &samples,
            "istio_requests_total",
            "source_principal",
            "spiffe://td/ns/a/sa/0"
        ),
        2.0
    );
}

#[test]
fn services_past_the_limit_share_the_overflow() {
    let metrics = Metrics::new(MetricsOptions {
        series_limit: 2,
        ..MetricsOptions::default()
    });
    for name in ["a", "b", "c", "d"] {
        metrics.service(name).ejection();
    }
    let samples = scrape(&metrics.render());
    assert_eq!(named(&samples, "mesh_outlier_ejections_total").len(), 3);
    assert_eq!(
        total(&samples, "mesh_outlier_ejections_total", "service", "__overflow__"),
        2.0
    );
}

#[test]
fn callers_in_plain_text_past_the_limit_are_counted_together() {
    let metrics = Metrics::new(MetricsOptions {
        peers_limit: 10,
        ..MetricsOptions::default()
    });
    for n in 0..100_u8 {
        let address = IpAddr::from([10, 0, 0, n]);
        metrics.plaintext(Some(address), "orders", 8080).increment();
    }
    metrics
        .plaintext(Some([10, 0, 0, 1].into()), "orders", 8080)
        .increment();
    metrics.plaintext(None, "orders", 0).increment();

    let samples = scrape(&metrics.render());
    let name = "mesh_plaintext_requests_total";
    assert_eq!(named(&samples, name).len(), 10 + 2);
    assert_eq!(total(&samples, name, "source_address", "__overflow__"), 90.0);
    assert_eq!(total(&samples, name, "source_address", "10.0.0.1"), 2.0);
    assert_eq!(total(&samples, name, "source_address", "unknown"), 1.0);
}
