use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, Method, Version};
use mesh_core::decide::authz::Verdict;
use mesh_core::policy::model::filter::Fraction;
use mesh_core::policy::model::{AccessLogEncoding, Origin};
use mesh_core::random::SplitMix64;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::format::{Rfc3339, write_line};
use super::*;
use crate::telemetry::metrics::{CheckResult, Reporter};
use crate::telemetry::with_subscriber;

fn record() -> AccessRecord {
    let mut record = AccessRecord::new(Reporter::Source, Method::GET, "/orders?id=7");
    record.duration = Duration::from_millis(12);
    record.ended = UNIX_EPOCH + Duration::from_millis(1_772_366_400_012);
    record.protocol = Version::HTTP_2;
    record.response_code = 503;
    record.response_flags = "UO";
    record.response_code_details = "upstream_reset_before_response_started{overflow}";
    record.bytes_received = 3;
    record.bytes_sent = 81;
    record.upstream_service_time = Some(Duration::from_millis(9));
    record.user_agent = Some(HeaderValue::from_static("curl/8"));
    record.request_id = Some(HeaderValue::from_static("abc"));
    record.authority = Some("orders".into());
    record.upstream_host = Some("10.0.0.4:8080".parse().unwrap());
    record.upstream_cluster = Some("outbound|8080|v2|orders".into());
    record.downstream_remote_address = Some("10.0.0.1:999".parse().unwrap());
    record.route_name = Some("canary".into());
    record.policy_origin = Some(Origin {
        file: "policy/orders.yaml".into(),
        line: 12,
        column: 3,
    });
    record.policy_generation = 4;
    record.trial = Some(Verdict::Deny);
    record.asked = Some(("authz".into(), CheckResult::Denied));
    record.attempts = 2;
    record.source_principal = Some("spiffe://td/ns/a/sa/web".into());
    record.request_principal = Some("https://id.example.com/ann".into());
    record.trace_id = Some(0xab);
    record
}

fn line(record: &AccessRecord, encoding: AccessLogEncoding) -> String {
    let mut out = String::new();
    write_line(record, encoding, &mut out);
    out
}

#[test]
fn a_text_line_is_istios_with_ours_at_its_end() {
    assert_eq!(
        line(&record(), AccessLogEncoding::Text),
        concat!(
            "[2026-03-01T12:00:00.000Z] \"GET /orders?id=7 HTTP/2\" 503 UO ",
            "upstream_reset_before_response_started{overflow} - \"-\" 3 81 12 9 \"-\" \"curl/8\" \"abc\" \"orders\" ",
            "\"10.0.0.4:8080\" outbound|8080|v2|orders - - 10.0.0.1:999 - canary ",
            "reporter=source attempts=2 source_principal=spiffe://td/ns/a/sa/web destination_principal=- ",
            "policy_origin=\"policy/orders.yaml:12:3\" policy_generation=4 audited_by=- trial=deny authorizer=authz authorizer_result=denied request_principal=https://id.example.com/ann ",
            "trace_id=000000000000000000000000000000ab forwarded_client=-\n",
        )
    );
}

#[test]
fn a_json_line_has_istios_field_names() {
    let line = line(&record(), AccessLogEncoding::Json);
    assert_eq!(line.matches('\n').count(), 1);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (field, value) in [
        ("start_time", "\"2026-03-01T12:00:00.000Z\""),
        ("method", "\"GET\""),
        ("path", "\"/orders?id=7\""),
        ("protocol", "\"HTTP/2\""),
        ("response_code", "503"),
        ("response_flags", "\"UO\""),
        ("bytes_received", "3"),
        ("bytes_sent", "81"),
        ("duration", "12"),
        ("upstream_service_time", "9"),
        ("x_forwarded_for", "null"),
        ("user_agent", "\"curl/8\""),
        ("request_id", "\"abc\""),
        ("authority", "\"orders\""),
        ("upstream_host", "\"10.0.0.4:8080\""),
        ("upstream_cluster", "\"outbound|8080|v2|orders\""),
        ("downstream_remote_address", "\"10.0.0.1:999\""),
        ("route_name", "\"canary\""),
        ("policy_origin", "\"policy/orders.yaml:12:3\""),
        ("audited_by", "null"),
        ("trial", "\"deny\""),
        ("authorizer", "\"authz\""),
        ("authorizer_result", "\"denied\""),
        ("attempts", "2"),
        ("source_principal", "\"spiffe://td/ns/a/sa/web\""),
        ("destination_principal", "null"),
        ("request_principal", "\"https://id.example.com/ann\""),
    ] {
        assert_eq!(json[field].to_string(), value, "{field}");
    }
}

/// D16: what a client chose is escaped.
#[test]
fn no_request_can_forge_a_line() {
    let mut record = record();
    record.path = "/\" 200 -\r\n[2026] \"GET /forged\u{2028}\u{1b}[31m\\".into();
    record.user_agent = Some(HeaderValue::from_bytes(b"a\xff\"\tb").unwrap());
    record.requested_server_name = Some("a b\nc".into());
    record.source_principal = Some("spiffe://td/\n".into());

    let text = line(&record, AccessLogEncoding::Text);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(
        text.ends_with('\n') && text.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)),
        "{text}"
    );
    assert!(
        text.contains(r#""GET /\" 200 -\x0d\x0a[2026] \"GET /forged\xe2\x80\xa8\x1b[31m\\ HTTP/2""#),
        "{text}"
    );
    assert!(text.contains(r#""a\xff\"\x09b""#), "{text}");

    let json = line(&record, AccessLogEncoding::Json);
    assert_eq!(json.matches('\n').count(), 1, "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["path"], "/\" 200 -\r\n[2026] \"GET /forged\u{2028}\u{1b}[31m\\");
}

#[test]
fn dates_are_right_around_leap_days() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199, "2024-02-29T23:59:59.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(Rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)).to_string(), text);
    }
}

fn setting(path: &std::path::Path, encoding: AccessLogEncoding) -> AccessLog {
    AccessLog::new(path.to_string_lossy().into_owned(), encoding)
}

#[test]
fn nothing_is_made_while_nobody_listens() {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
        let log = AccessLogger::new(&Metrics::default());
        assert!(!log.is_enabled());
        log.record(|| -> AccessRecord { panic!("the record was made") });
    });
}

#[test]
fn the_policys_share_of_the_requests_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let log = AccessLogger::new(&Metrics::default());
    let whole = setting(&folder.path().join("access.log"), AccessLogEncoding::Text);
    for percent in [1, 25, 100] {
        let share = Fraction::from_percent(f64::from(percent));
        log.apply(Some(&whole.clone().of_share(share))).unwrap();
        let mut rng = SplitMix64::new(7);
        let taken = (0..10_000).filter(|_| log.readers(&mut rng) == Readers::Log).count();
        let expected = percent as usize * 100;
        assert!(taken.abs_diff(expected) <= 120, "{taken} of 10 000 at {percent} %");
    }
    log.apply(None).unwrap();
    assert_eq!(log.readers(&mut SplitMix64::new(7)), Readers::None);
}

#[test]
fn each_request_is_one_line_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLogger::new(&Metrics::default());
    log.apply(Some(&setting(&path, AccessLogEncoding::Json))).unwrap();

    for n in 0..500 {
        log.record(|| AccessRecord {
            response_code: n,
            ..record()
        });
    }
    log.close();

    let text = fs::read_to_string(path).unwrap();
    let codes = text.lines().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        json["response_code"].as_u64().unwrap()
    });
    assert!(codes.eq(0..500));
}

#[test]
fn a_full_queue_drops_and_counts_instead_of_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Metrics::default();
    let log = AccessLogger::new(&metrics);
    let setting = setting(&folder.path().join("access.log"), AccessLogEncoding::Json);
    // No line may wait, so that all but those that the writer is waiting for are lost.
    let writer = Writer::start(setting.clone(), 0, GATHER, metrics.access_log_dropped()).unwrap();
    log.inner.writer.store(Some(Arc::new(writer)));

    for _ in 0..10_000 {
        log.record(record);
    }
    log.close();

    let written = fs::read_to_string(&setting.path).unwrap().lines().count();
    let text = metrics.render();
    let dropped = text
        .lines()
        .find(|line| line.starts_with("mesh_access_log_dropped_total"))
        .unwrap();
    let dropped: usize = dropped.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(dropped > 0);
    assert_eq!(written + dropped, 10_000);
}

/// Longer than any test: a line that is written was not waited for.
const FOR_EVER: Duration = Duration::from_secs(86_400);

#[cfg(target_os = "linux")]
#[test]
fn lines_are_gathered_and_written_together_once_many_wait() {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    let (mut written, pipe) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let setting = AccessLog::new(path, AccessLogEncoding::Text);
    let writer = Writer::start(setting, 64, FOR_EVER, Metrics::default().access_log_dropped()).unwrap();

    for _ in 0..5 {
        assert!(writer.offer(record()));
    }

    let mut first = [0; 4_096];
    let length = written.read(&mut first).unwrap();
    assert_eq!(first[..length].iter().filter(|&&byte| byte == b'\n').count(), 5);
}

#[cfg(target_os = "linux")]
#[test]
fn no_line_is_torn_by_a_pipe_that_is_full() {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    /// So many leave little room in a pipe.
    const BEFORE: usize = 20_000;
    let (mut written, mut pipe) = io::pipe().unwrap();
    pipe.write_all(&b"{}\n".repeat(BEFORE)).unwrap();
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let setting = AccessLog::new(path, AccessLogEncoding::Json);
    let metrics = Metrics::default();
    let writer = Writer::start(setting, 4_096, FOR_EVER, metrics.access_log_dropped()).unwrap();
    let taken = BEFORE + (0..2_000).filter(|_| writer.offer(record())).count();
    writer.finish();
    drop((writer, pipe));

    let mut text = String::new();
    written.read_to_string(&mut text).unwrap();
    let whole = text
        .lines()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let (whole, lines) = (whole.count(), text.lines().count());
    let dropped = format!("mesh_access_log_dropped_total {}", taken - whole);
    assert_eq!((whole, whole < taken), (lines, true));
    assert!(metrics.render().contains(&dropped), "{dropped}");
}

#[test]
fn the_end_of_the_mesh_does_not_wait_for_further_lines() {
    let folder = tempfile::tempdir().unwrap();
    let setting = setting(&folder.path().join("access.log"), AccessLogEncoding::Text);
    let metrics = Metrics::default();
    let log = AccessLogger::new(&metrics);
    let writer = Writer::start(setting.clone(), 64, FOR_EVER, metrics.access_log_dropped()).unwrap();
    log.inner.writer.store(Some(Arc::new(writer)));
    log.inner.share.store(1_000_000, Ordering::Relaxed);

    log.record(record);
    drop(log);

    assert_eq!(fs::read_to_string(&setting.path).unwrap().lines().count(), 1);
}

#[test]
fn a_changed_setting_moves_the_log_and_the_same_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1"), folder.path().join("2"));
    let log = AccessLogger::new(&Metrics::default());
    let to_first = setting(&first, AccessLogEncoding::Text);
    log.apply(Some(&to_first)).unwrap();
    let before = log.inner.writer.load_full().unwrap();

    log.apply(Some(&to_first)).unwrap();
    assert!(Arc::ptr_eq(&before, &log.inner.writer.load_full().unwrap()));

    log.record(record);
    log.apply(Some(&setting(&second, AccessLogEncoding::Json))).unwrap();
    log.record(record);
    before.finish();
    log.close();
    assert!(fs::read_to_string(first).unwrap().starts_with("[2026"));
    assert!(fs::read_to_string(second).unwrap().starts_with("{\"start_time"));

    log.apply(None).unwrap();
    assert!(log.inner.writer.load().is_none());
}

#[test]
fn a_log_that_cannot_be_opened_leaves_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = AccessLogger::new(&Metrics::default());
    log.apply(Some(&setting(&folder.path().join("1"), AccessLogEncoding::Text)))
        .unwrap();

    let error = log
        .apply(Some(&setting(
            &folder.path().join("no/such/folder"),
            AccessLogEncoding::Text,
        )))
        .unwrap_err();

    assert!(error.to_string().contains("no/such/folder"), "{error}");
    assert!(log.inner.writer.load().is_some());
}

#[cfg(unix)]
#[test]
fn a_pipe_that_nobody_reads_is_refused_and_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let log = AccessLogger::new(&Metrics::default());
    assert!(log.apply(Some(&setting(&path, AccessLogEncoding::Text))).is_err());
}

#[cfg(unix)]
#[test]
fn lines_that_cannot_be_written_are_counted() {
    // Linux' device for a full disk.
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let metrics = Metrics::default();
    let log = AccessLogger::new(&metrics);
    log.apply(Some(&setting(full, AccessLogEncoding::Text))).unwrap();
    for _ in 0..3 {
        log.record(record);
    }
    log.close();
    assert!(metrics.render().contains("mesh_access_log_dropped_total 3"));
}

/// Counts the events of the log's target.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "mesh::access"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{field}={value:?} "));
        });
        self.0.lock().unwrap().push(text);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_gets_an_event_for_each_request() {
    let events = Events::default();
    with_subscriber(&events, || {
        let log = AccessLogger::new(&Metrics::default());
        assert!(log.is_enabled());
        log.record(|| AccessRecord {
            path: "/a\nb".into(),
            ..record()
        });
    });

    let events = events.0.lock().unwrap();
    assert_eq!(events.len(), 1);
    for part in [
        "method=\"GET\"",
        "path=/a\\x0ab ",
        "response_code=503",
        "response_flags=\"UO\"",
        "route_name=\"canary\"",
        "upstream_host=10.0.0.4:8080",
        "policy_origin=policy/orders.yaml:12:3",
        "attempts=2",
    ] {
        assert!(events[0].contains(part), "{part} in {}", events[0]);
    }
}
