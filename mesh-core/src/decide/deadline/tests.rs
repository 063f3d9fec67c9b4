use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

const fn ms(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

#[test]
fn the_limit_that_runs_out_first_is_named() {
    use Expiry::{Caller, PerTry, Request};
    // Route, caller, per try; when the try starts; what runs out first.
    for (route, caller, per_try, now, expected) in [
        (None, None, None, 0, None),
        (ms(500), None, None, 0, Some((500, Request))),
        (None, ms(300), None, 0, Some((300, Caller))),
        (ms(500), ms(300), None, 0, Some((300, Caller))),
        (ms(500), ms(900), None, 0, Some((500, Request))),
        (ms(500), ms(500), None, 0, Some((500, Request))),
        (None, None, ms(100), 200, Some((300, PerTry))),
        (ms(500), None, ms(100), 0, Some((100, PerTry))),
        (ms(500), None, ms(100), 399, Some((499, PerTry))),
        (ms(500), None, ms(100), 400, Some((500, Request))),
        (ms(500), ms(350), ms(100), 300, Some((350, Caller))),
        (ms(50), None, ms(100), 0, Some((50, Request))),
        (ms(500), ms(0), ms(100), 0, Some((0, Caller))),
    ] {
        let deadline = Deadline::new(at(0), route, per_try).with_caller_limit(caller);
        let expected = expected.map(|(millis, expiry)| (at(millis), expiry));
        assert_eq!(
            deadline.next(at(now)),
            expected,
            "{route:?} {caller:?} {per_try:?} {now}"
        );
    }
}

#[test]
fn a_limit_says_what_happened_and_who_is_to_blame() {
    let timeout = Verdict::LocalOrigin(LocalError::Timeout);
    for (expiry, outcome, verdict) in [
        (Expiry::Request, Outcome::RequestTimeout, timeout),
        (Expiry::Caller, Outcome::RequestTimeout, Verdict::Neutral),
        (Expiry::PerTry, Outcome::PerTryTimeout, timeout),
    ] {
        assert_eq!((expiry.outcome(), expiry.verdict()), (outcome, verdict));
    }
}

#[test]
fn limits_count_from_the_start_of_the_request() {
    let deadline = Deadline::new(at(1_000), ms(500), ms(200)).with_caller_limit(ms(400));
    assert_eq!(deadline.request(), Some(at(1_400)));
    assert_eq!(
        (deadline.per_try(at(1_100)), deadline.per_try(at(1_200))),
        (Some(at(1_300)), None)
    );
    assert_eq!(deadline.remaining(at(1_150)), ms(250));
    assert_eq!(deadline.remaining(at(9_000)), ms(0));
    assert_eq!(
        (deadline.expired(at(1_399)), deadline.expired(at(1_400))),
        (None, Some(Expiry::Caller))
    );
}

#[test]
fn a_pause_that_outlasts_the_limit_is_not_worth_it() {
    let deadline = Deadline::new(at(0), ms(100), None);
    assert!(deadline.allows_pause(Duration::from_millis(49), at(50)));
    assert!(!deadline.allows_pause(Duration::from_millis(50), at(50)));
    assert!(Deadline::default().allows_pause(Duration::MAX, at(50)));
}

#[test]
fn grpc_timeouts_read_as_grpc_writes_them() {
    let hour = Duration::from_secs(3_600);
    for (text, limit) in [
        ("1H", hour),
        ("2M", Duration::from_secs(120)),
        ("5S", Duration::from_secs(5)),
        ("250m", Duration::from_millis(250)),
        ("1u", Duration::from_micros(1)),
        ("7n", Duration::from_nanos(7)),
        ("0u", Duration::ZERO),
        ("00000001S", Duration::from_secs(1)),
        ("99999999H", hour * 99_999_999),
    ] {
        assert_eq!(parse_grpc_timeout(text), Ok(limit), "{text}");
    }
}

/// E3.
#[test]
fn malformed_grpc_timeouts_are_refused_by_kind() {
    use GrpcTimeoutError::{Number, TooLong, Unit};
    for (text, error) in [
        ("", Number as fn(String) -> GrpcTimeoutError),
        ("S", Number),
        ("-1S", Number),
        ("+1S", Number),
        (" 1S", Number),
        ("123456789S", TooLong),
        ("1", Unit),
        ("1X", Unit),
        ("1s", Unit),
        ("1 S", Unit),
        ("1S ", Unit),
        ("1.5S", Unit),
        ("1Sm", Unit),
        ("1µ", Unit),
    ] {
        assert_eq!(parse_grpc_timeout(text), Err(error(text.into())), "{text}");
    }
}

/// E3.
#[test]
fn the_header_counts_once() {
    let mut headers = HeaderMap::new();
    assert_eq!(grpc_timeout(&headers), Ok(None));
    headers.append("grpc-timeout", HeaderValue::from_static("5S"));
    assert_eq!(grpc_timeout(&headers), Ok(Some(Duration::from_secs(5))));
    headers.append("grpc-timeout", HeaderValue::from_static("5S"));
    assert_eq!(grpc_timeout(&headers), Err(GrpcTimeoutError::Repeated));
    let bytes = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-timeout"),
        HeaderValue::from_bytes(b"1\xff").unwrap(),
    )]);
    assert!(matches!(grpc_timeout(&bytes), Err(GrpcTimeoutError::Unit(_))));
}

/// E3.
#[test]
fn a_huge_caller_limit_is_capped_by_the_route() {
    let limit = parse_grpc_timeout("99999999H").unwrap();
    let deadline = Deadline::new(at(5), ms(100), None).with_caller_limit(Some(limit));
    assert_eq!(deadline.next(at(5)), Some((at(105), Expiry::Request)));
    let uncapped = Deadline::new(at(5), None, None).with_caller_limit(Some(limit));
    assert_eq!(uncapped.request(), Some(Timestamp::from_nanos(u64::MAX)));
}

/// What 64 bits of nanoseconds do not hold.
#[test]
fn limits_of_centuries_are_written_in_hours() {
    let hour = Duration::from_secs(3_600);
    for (limit, text) in [
        (hour * 10_000_000, "10000000H"),
        (hour * 10_000_000 + Duration::from_nanos(1), "10000001H"),
        (hour * 99_999_999, "99999999H"),
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(format_grpc_timeout(limit), text);
    }
}

proptest! {
    #[test]
    fn a_written_limit_is_the_shortest_that_is_not_shorter(nanos in any::<u64>()) {
        let limit = Duration::from_nanos(nanos);
        let text = format_grpc_timeout(limit);
        let read = parse_grpc_timeout(text.to_str().unwrap()).unwrap();
        prop_assert!(read >= limit);
        // Eight digits: the error is below a thousandth, but for the step from minutes to hours.
        prop_assert!(read - limit <= limit / 1_000);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,12}") {
        if let Ok(limit) = parse_grpc_timeout(&text) {
            prop_assert!(limit <= Duration::from_secs(3_600) * 99_999_999);
        }
    }
}
