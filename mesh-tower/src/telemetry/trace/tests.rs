use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request};
use mesh_core::outcome::Outcome;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::clock::Entropy;
use crate::telemetry::with_subscriber;

const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn ensure(headers: &mut HeaderMap) -> Correlation {
    Correlation::ensure(headers, Missing::Make, Sampling::Off, &mut &Entropy::seeded(3))
}

#[test]
fn a_valid_traceparent_reads_and_prints_the_same() {
    let trace = TraceContext::parse(VALID.as_bytes()).unwrap();
    assert_eq!(trace.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(trace.parent_id(), 0xb7ad_6b71_6920_3331);
    assert!(trace.is_sampled());
    assert_eq!(trace.to_string(), VALID);
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known() {
    for text in [
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-holds",
    ] {
        assert_eq!(
            TraceContext::parse(text.as_bytes()),
            TraceContext::parse(VALID.as_bytes()),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_traceparent_is_ignored() {
    for text in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031 c-b7ad6b7169203331-01",
        " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_valid_trace_and_a_sane_request_id_are_kept() {
    let mut given = headers(&[
        ("traceparent", VALID),
        ("tracestate", "a=1,b=2"),
        ("x-request-id", "abc-123"),
    ]);
    let before = given.clone();

    let correlation = ensure(&mut given);

    assert_eq!(given, before);
    assert_eq!(correlation.trace().unwrap().to_string(), VALID);
    assert_eq!(correlation.request_id().unwrap(), "abc-123");
}

#[test]
fn what_is_absent_is_made() {
    let mut none = HeaderMap::new();
    let correlation = ensure(&mut none);

    assert_eq!(none["traceparent"], correlation.trace().unwrap().to_string());
    assert!(!correlation.trace().unwrap().is_sampled());
    let id = none["x-request-id"].to_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
    assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");

    let mut sampled = HeaderMap::new();
    let correlation = Correlation::ensure(&mut sampled, Missing::Make, Sampling::On, &mut &Entropy::seeded(4));
    assert!(correlation.trace().unwrap().is_sampled());
    assert_ne!(none["x-request-id"], sampled["x-request-id"]);
}

#[test]
fn what_nobody_reads_is_not_made() {
    let rng = Entropy::seeded(5);
    let left = |given: &[(&'static str, &str)]| {
        let mut headers = headers(given);
        let correlation = Correlation::ensure(&mut headers, Missing::Leave, Sampling::Off, &mut &rng);
        (headers, correlation)
    };
    let (none, nothing) = left(&[("accept", "*/*")]);
    assert_eq!((none.len(), nothing), (1, Correlation::default()));

    let (kept, correlation) = left(&[("traceparent", VALID), ("tracestate", "a=1")]);
    assert_eq!(
        (kept.len(), &kept["traceparent"]),
        (2, &correlation.trace().unwrap().to_header())
    );
    assert_eq!(correlation.request_id(), None);

    let (invalid, nothing) = left(&[("traceparent", "00-zz"), ("tracestate", "a=1"), ("x-request-id", "a b")]);
    assert_eq!((invalid.len(), nothing), (0, Correlation::default()));
}

#[test]
fn an_invalid_trace_is_replaced_with_its_state() {
    for given in [
        headers(&[("traceparent", "00-zz"), ("tracestate", "a=1")]),
        headers(&[("traceparent", VALID), ("traceparent", VALID), ("tracestate", "a=1")]),
        headers(&[("tracestate", "a=1")]),
    ] {
        let mut given = given;
        let correlation = ensure(&mut given);
        assert_eq!(given.get_all("traceparent").iter().count(), 1);
        assert_eq!(given["traceparent"], correlation.trace().unwrap().to_string());
        assert_ne!(given["traceparent"], VALID);
        assert!(!given.contains_key("tracestate"));
    }
}

/// D18.
#[test]
fn a_request_id_that_is_not_sane_is_replaced() {
    for id in ["", &"x".repeat(65_536), "a b", "a\tb", "\u{fc}"] {
        let mut given = headers(&[("x-request-id", id)]);
        let correlation = ensure(&mut given);
        assert_eq!(given["x-request-id"].len(), 36, "{id:.10}");
        assert_eq!(&given["x-request-id"], correlation.request_id().unwrap());
    }
    let mut twice = headers(&[("x-request-id", "a"), ("x-request-id", "b")]);
    ensure(&mut twice);
    assert_eq!(twice.get_all("x-request-id").iter().count(), 1);
}

/// E11.
#[test]
fn state_and_baggage_beyond_their_standards_are_dropped() {
    let long = vec!["k=v"; 5_000].join(",");
    let mut given = headers(&[("traceparent", VALID), ("tracestate", &long), ("baggage", &long)]);
    ensure(&mut given);
    assert!(!given.contains_key("tracestate") && !given.contains_key("baggage"));
    assert_eq!(given["traceparent"], VALID);

    let many = vec!["k=v"; 33].join(",");
    let mut given = headers(&[("traceparent", VALID), ("tracestate", &many), ("baggage", &many)]);
    ensure(&mut given);
    assert!(!given.contains_key("tracestate") && given.contains_key("baggage"));
}

#[tokio::test]
async fn calls_of_a_handler_belong_to_the_request_that_it_serves() {
    let mut incoming = headers(&[("traceparent", VALID), ("x-request-id", "req-1")]);
    let served = ensure(&mut incoming);

    let (plain, own) = served
        .scope(async {
            let rng = Entropy::seeded(9);
            let mut plain = HeaderMap::new();
            Correlation::propagate(&mut plain, Missing::Make, Sampling::Off, &mut &rng);
            let other = VALID.replace("0af7", "1af7");
            let mut own = headers(&[("traceparent", &other), ("x-request-id", "mine")]);
            Correlation::propagate(&mut own, Missing::Make, Sampling::Off, &mut &rng);
            (plain, own)
        })
        .await;

    assert_eq!(plain["traceparent"], VALID);
    assert_eq!(plain["x-request-id"], "req-1");
    assert!(own["traceparent"].to_str().unwrap().starts_with("00-1af7"));
    assert_eq!(own["x-request-id"], "mine");

    let mut outside = HeaderMap::new();
    Correlation::propagate(&mut outside, Missing::Make, Sampling::Off, &mut &Entropy::seeded(9));
    assert_ne!(outside["traceparent"], VALID);
}

/// Remembers the fields of the last span.
#[derive(Clone, Default)]
struct Recording {
    name: Arc<Mutex<String>>,
    fields: Arc<Mutex<BTreeMap<String, String>>>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0
            .insert(field.name().into(), format!("{value:?}").trim_matches('"').into());
    }
}

impl Subscriber for Recording {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        *self.name.lock().unwrap() = span.metadata().name().into();
        span.record(&mut Fields(&mut self.fields.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.fields.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_span_has_opentelemetrys_fields() {
    let recording = Recording::default();
    with_subscriber(&recording, || {
        let span = RequestSpan::client(&Request::get("http://orders.shop/orders?secret=1").body(()).unwrap());
        assert!(span.is_recorded());
        span.in_trace(TraceContext::parse(VALID.as_bytes()).as_ref());
        let mut end = SpanEnd::new(Outcome::Overflow, 503);
        end.route = Some("canary");
        end.endpoint = Some("10.0.0.1:80".parse().unwrap());
        end.attempts = 2;
        span.finish(&end);
    });

    let fields = recording.fields.lock().unwrap();
    assert_eq!(*recording.name.lock().unwrap(), "mesh.client");
    for (name, value) in [
        ("otel.kind", "client"),
        ("http.request.method", "GET"),
        ("url.path", "/orders"),
        ("server.address", "orders.shop"),
        ("http.response.status_code", "503"),
        ("error.type", "mesh.overflow"),
        ("mesh.outcome", "Overflow"),
        ("mesh.route", "canary"),
        ("mesh.endpoint", "10.0.0.1:80"),
        ("mesh.attempts", "2"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
    ] {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_servers_own_error_is_named_by_its_status_and_a_success_is_none() {
    for (status, error) in [(500, Some("500")), (404, None), (200, None)] {
        let recording = Recording::default();
        with_subscriber(&recording, || {
            let span = RequestSpan::server(
                &Request::builder()
                    .method("BREW")
                    .uri("/")
                    .header("host", "pot")
                    .body(())
                    .unwrap(),
            );
            span.finish(&SpanEnd::new(Outcome::Response, status));
        });
        let fields = recording.fields.lock().unwrap();
        assert_eq!(fields.get("error.type").map(String::as_str), error, "{status}");
        assert_eq!(fields["http.request.method"], "_OTHER");
        assert_eq!(fields["server.address"], "pot");
        assert_eq!(*recording.name.lock().unwrap(), "mesh.server");
    }
}

#[test]
fn nobody_records_a_span_without_a_subscriber() {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
        let span = RequestSpan::client(&Request::new(()));
        assert!(!span.is_recorded());
        span.finish(&SpanEnd::new(Outcome::Response, 200));
    });
}
