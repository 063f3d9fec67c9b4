use std::collections::{BTreeMap, BTreeSet};

use mesh_core::policy::model::Labels;
use mesh_core::workload::Workload;
use metrics::{Key, Level, Metadata, Recorder};

use super::*;

mod limits;
mod operations;

/// Istio's labels, as its documentation lists them.
const ISTIO_LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// A sample of a scrape: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

fn scrape(text: &str) -> Vec<Sample> {
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.map(sample).collect()
}

/// Parses a line of the exposition format, in which label values escape `\`, `"` and line ends.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap();
    let Some((name, mut rest)) = series.split_once('{') else {
        return (series.into(), BTreeMap::new(), value);
    };
    let mut labels = BTreeMap::new();
    while let Some((key, quoted)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().unwrap() {
                (_, '\\') => text.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (end, '"') => break end,
                (_, other) => text.push(other),
            }
        };
        assert_eq!(labels.insert(key.trim_start_matches(',').into(), text), None, "{line}");
        rest = &quoted[end + 1..];
    }
    assert_eq!(rest, "}", "{line}");
    (name.into(), labels, value)
}

fn named<'a>(samples: &'a [Sample], name: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|(found, ..)| found == name).collect()
}

fn total(samples: &[Sample], name: &str, label: &str, value: &str) -> f64 {
    let matching = named(samples, name)
        .into_iter()
        .filter(|(_, labels, _)| labels[label] == value);
    matching.map(|(.., count)| count).sum()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

fn web() -> Party {
    Party::of_workload(
        &Workload::new("shop", "web").label("app", "web").label("version", "v3"),
        "cluster.local",
    )
}

fn orders() -> Party {
    let labels = labels(&[("app", "orders"), ("version", "v2")]);
    Party::of_endpoint(&labels, "shop", Some("orders-sa"), "cluster.local")
}

fn orders_service() -> Destination {
    Destination::of_host("orders.shop.svc.cluster.local", "shop")
}

fn ok() -> RequestRecord {
    RequestRecord::new(Protocol::Http, 200, Duration::from_millis(7))
}

#[test]
fn both_reporters_carry_exactly_the_labels_of_istio() {
    let metrics = Metrics::default();
    for reporter in [Reporter::Source, Reporter::Destination] {
        metrics
            .group(reporter, &web(), &orders(), &orders_service())
            .record(&ok());
    }

    let samples = scrape(&metrics.render());

    let expected: BTreeSet<&str> = ISTIO_LABELS.into();
    let istio: Vec<_> = samples
        .iter()
        .filter(|(name, ..)| name.starts_with("istio_request"))
        .collect();
    // For each reporter: the counter, 19 buckets and `+Inf`, sum and count.
    assert_eq!(istio.len(), 2 * (1 + 20 + 2));
    for (name, labels, _) in istio {
        let found: BTreeSet<&str> = labels
            .keys()
            .map(String::as_str)
            .filter(|label| *label != "le")
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_labels_say_who_calls_whom() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    let mut request = ok();
    request.security = SecurityPolicy::MutualTls;
    group.record(&request);

    let samples = scrape(&metrics.render());
    let (_, labels, count) = named(&samples, "istio_requests_total")[0];

    assert_eq!(*count, 1.0);
    for (label, value) in [
        ("reporter", "source"),
        ("source_workload", "web"),
        ("source_canonical_service", "web"),
        ("source_canonical_revision", "v3"),
        ("source_workload_namespace", "shop"),
        ("source_principal", "spiffe://cluster.local/ns/shop/sa/web"),
        ("source_app", "web"),
        ("source_version", "v3"),
        ("source_cluster", "unknown"),
        ("destination_workload", "orders"),
        ("destination_workload_namespace", "shop"),
        ("destination_principal", "spiffe://cluster.local/ns/shop/sa/orders-sa"),
        ("destination_canonical_revision", "v2"),
        ("destination_service", "orders.shop.svc.cluster.local"),
        ("destination_service_name", "orders"),
        ("destination_service_namespace", "shop"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("grpc_response_status", ""),
        ("response_flags", "-"),
        // Istio's client side does not tell.
        ("connection_security_policy", "unknown"),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
}

#[test]
fn a_server_tells_how_the_connection_was_secured() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Destination, &web(), &orders(), &orders_service());
    for security in [SecurityPolicy::MutualTls, SecurityPolicy::None] {
        group.record(&RequestRecord { security, ..ok() });
    }

    let samples = scrape(&metrics.render());
    assert_eq!(
        total(
            &samples,
            "istio_requests_total",
            "connection_security_policy",
            "mutual_tls"
        ),
        1.0
    );
    assert_eq!(
        total(&samples, "istio_requests_total", "connection_security_policy", "none"),
        1.0
    );
}

#[test]
fn unknown_parties_have_istios_words() {
    let party = Party::unknown();
    assert_eq!(
        (
            &*party.names().workload,
            &*party.names().canonical_revision,
            &*party.names().cluster
        ),
        ("unknown", "latest", "unknown")
    );

    let peer = Party::of_peer("spiffe://td/ns/a/sa/b");
    assert_eq!(
        (
            &*peer.names().namespace,
            &*peer.names().workload,
            &*peer.names().canonical_service
        ),
        ("a", "b", "b")
    );
    assert_eq!(
        (
            &*peer.names().app,
            &*peer.names().version,
            &*peer.names().canonical_revision
        ),
        ("unknown", "unknown", "latest")
    );

    let foreign = Party::of_peer("spiffe://td/billing/payments");
    assert_eq!(
        (&*foreign.names().principal, &*foreign.names().namespace),
        ("spiffe://td/billing/payments", "unknown")
    );
}

#[test]
fn canonical_names_follow_istios_order() {
    let all = labels(&[
        ("app", "c"),
        ("app.kubernetes.io/name", "b"),
        ("service.istio.io/canonical-name", "a"),
        ("version", "3"),
        ("app.kubernetes.io/version", "2"),
        ("service.istio.io/canonical-revision", "1"),
    ]);
    let party = Party::unknown().with_labels(&all);
    assert_eq!(
        (&*party.names().canonical_service, &*party.names().canonical_revision),
        ("a", "1")
    );
    assert_eq!(
        (&*party.names().app, &*party.names().version, &*party.names().workload),
        ("c", "3", "c")
    );

    let kubernetes = labels(&[("app.kubernetes.io/name", "b"), ("app.kubernetes.io/version", "2")]);
    let party = Party::unknown().named("w").with_labels(&kubernetes);
    assert_eq!(
        (&*party.names().canonical_service, &*party.names().canonical_revision),
        ("b", "2")
    );
    assert_eq!((&*party.names().workload, &*party.names().app), ("w", "unknown"));
}

#[test]
fn a_host_that_is_no_kubernetes_service_is_its_own_name() {
    let external = Destination::of_host("api.example.com", "shop");
    assert_eq!(
        (&*external.host, &*external.name, &*external.namespace),
        ("api.example.com", "api.example.com", "shop")
    );
    let service = Destination::of_host("reviews.books.svc.cluster.local", "shop");
    assert_eq!((&*service.name, &*service.namespace), ("reviews", "books"));
    assert_eq!(
        (&*Destination::passthrough().name, &*Destination::passthrough().host),
        ("PassthroughCluster", "unknown")
    );
    assert_eq!(&*Destination::black_hole().name, "BlackHoleCluster");
}

#[test]
fn grpc_has_its_status_and_http_has_none() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    for (protocol, grpc_status) in [
        (Protocol::Grpc, Some(14)),
        (Protocol::Grpc, Some(200)),
        (Protocol::Http, Some(14)),
    ] {
        group.record(&RequestRecord {
            protocol,
            grpc_status,
            ..ok()
        });
    }

    let samples = scrape(&metrics.render());
    for status in ["14", "2", ""] {
        assert_eq!(
            total(&samples, "istio_requests_total", "grpc_response_status", status),
            1.0,
            "{status}"
        );
    }
}

#[test]
fn durations_fall_into_envoys_buckets() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    for micros in [400, 7_000, 7_000, 4_000_000_000] {
        group.record(&RequestRecord::new(Protocol::Http, 200, Duration::from_micros(micros)));
    }
    metrics.run_upkeep();

    let samples = scrape(&metrics.render());
    let bucket = |le| total(&samples, "istio_request_duration_milliseconds_bucket", "le", le);
    assert_eq!(
        (
            bucket("0.5"),
            bucket("5"),
            bucket("10"),
            bucket("3600000"),
            bucket("+Inf")
        ),
        (1.0, 1.0, 3.0, 3.0, 4.0)
    );
    let sum = named(&samples, "istio_request_duration_milliseconds_sum")[0].2;
    assert!((sum - 4_000_014.4).abs() < 0.001, "{sum}");
    assert_eq!(named(&samples, "istio_request_duration_milliseconds_count")[0].2, 4.0);
}

/// Requests are counted and written by the mesh itself; the rest by the exporter, which was there first.
#[test]
fn series_of_requests_read_as_the_exporter_would_write_them() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    let micros = [1, 400, 500, 7_000, 7_000, 250_000, 4_000_000_000];
    for micros in micros {
        group.record(&RequestRecord::new(Protocol::Http, 200, Duration::from_micros(micros)));
    }

    let name = |name: &str| metrics_exporter_prometheus::Matcher::Full(name.into());
    let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(name(series::DURATION), &DURATION_BUCKETS_MS);
    let exporter = builder.unwrap().build_recorder();
    let recorder: &dyn Recorder = &exporter;
    let metadata = Metadata::new("mesh", Level::INFO, None);
    recorder.describe_counter(series::REQUESTS.into(), None, series::REQUESTS_HELP.into());
    recorder.describe_histogram(series::DURATION.into(), None, series::DURATION_HELP.into());
    group.each(|labels, _| {
        let requests = recorder.register_counter(&Key::from_parts(series::REQUESTS, labels.clone()), &metadata);
        let duration = recorder.register_histogram(&Key::from_parts(series::DURATION, labels), &metadata);
        for micros in micros {
            requests.increment(1);
            duration.record(Duration::from_micros(micros).as_secs_f64() * 1_000.0);
        }
    });

    let of_requests = |text: String| -> Vec<String> {
        // Another counter has the name of one in a label.
        let is_one = |line: &&str| line.contains("istio_request") && !line.starts_with("mesh_");
        let lines = text.lines().filter(is_one);
        lines.map(str::to_owned).collect()
    };
    let expected = of_requests(exporter.handle().render());
    assert_eq!(expected.len(), 2 * 2 + 1 + 20 + 2);
    assert_eq!(of_requests(metrics.render()), expected);
}

/// The queries that users run over Istio's metrics need these to be there, and to add up.
#[test]
fn error_rates_can_be_taken_by_destination() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    for code in [200, 200, 200, 503] {
        group.record(&RequestRecord {
            response_code: code,
            ..ok()
        });
    }

    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    let of_orders = requests
        .iter()
        .filter(|(_, labels, _)| labels["destination_service_name"] == "orders");
    let errors: f64 = of_orders
        .clone()
        .filter(|(_, labels, _)| labels["response_code"].starts_with('5'))
        .map(|(.., count)| count)
        .sum();
    assert_eq!((errors, of_orders.map(|(.., count)| count).sum::<f64>()), (1.0, 4.0));
}

#[test]
fn a_group_is_resolved_once() {
    let metrics = Metrics::default();
    for _ in 0..3 {
        metrics
            .group(Reporter::Source, &web(), &orders(), &orders_service())
            .record(&ok());
    }
    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    assert_eq!((requests.len(), requests[0].2), (1, 3.0));
}

#[test]
fn threads_that_meet_a_new_code_at_once_lose_no_request() {
    let metrics = Metrics::default();
    let group = metrics.group(Reporter::Source, &web(), &orders(), &orders_service());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for code in 200..232 {
                    group.record(&RequestRecord {
                        response_code: code,
                        ..ok()
                    });
                }
            });
        }
    });
    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    assert_eq!(requests.len(), 32);
    assert!(requests.iter().all(|(.., count)| *count == 4.0));
}

#[test]
fn label_values_cannot_break_the_exposition() {
    let metrics = Metrics::default();
    let hostile = "x\"} 1\nistio_requests_total{a=\"\\";
    let group = metrics.group(
        Reporter::Source,
        &web().with_principal(hostile),
        &orders(),
        &orders_service(),
    );
    group.record(&ok());

    let samples = scrape(&metrics.render());
    let requests = named(&samples, "istio_requests_total");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].1["source_principal"], hostile);
}

#[test]
fn a_peer_is_described_by_more_than_its_certificate_where_more_is_known() {
    let metrics = Metrics::default();
    let peers = metrics.peers(orders(), orders_service());
    peers
        .group_with("spiffe://cluster.local/ns/shop/sa/web", web)
        .record(&ok());
    peers.group(Some("spiffe://cluster.local/ns/shop/sa/web")).record(&ok());

    let samples = scrape(&metrics.render());
    assert_eq!(total(&samples, "istio_requests_total", "source_version", "v3"), 2.0);
}
