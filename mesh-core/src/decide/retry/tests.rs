use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::decide::deadline::{Deadline, Expiry};
use crate::outcome::Outcome;
use crate::policy::model::traffic::{Backoff, RetryBudget};
use crate::random::SplitMix64;
use crate::time::Timestamp;

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn on(list: &str) -> RetryOn {
    list.parse().unwrap()
}

fn status(code: u16) -> Attempt {
    Attempt::response(StatusCode::from_u16(code).unwrap(), None)
}

fn grpc(code: u8) -> Attempt {
    Attempt::response(StatusCode::OK, Some(code))
}

fn failed(outcome: Outcome) -> Attempt {
    Attempt::failed(outcome)
}

fn refused() -> Attempt {
    failed(Outcome::UpstreamReset).with_progress(Progress::Refused)
}

fn unsent(outcome: Outcome) -> Attempt {
    failed(outcome).with_progress(Progress::NotSent)
}

/// The condition that fired, for a request that may be repeated.
fn fired(list: &str, attempt: Attempt) -> Option<&'static str> {
    match decide(&on(list), &attempt, Repeat::Safe) {
        Decision::Retry { condition } => Some(condition),
        Decision::Stop(_) => None,
    }
}

#[test]
fn each_condition_has_one_row_and_reads_back() {
    for row in CONDITIONS {
        assert_eq!(on(row.name).conditions, [row.condition], "{}", row.name);
        assert_eq!(on(row.name).to_string(), row.name);
        assert!(!row.doc.is_empty());
    }
    assert_eq!(CONDITIONS.len(), 16);
}

#[test]
fn each_condition_fires_on_what_envoy_says() {
    use Outcome::{
        ConnectFailure, IdentityMismatch, PerTryTimeout, TlsFailure, UpstreamClosed, UpstreamProtocol, UpstreamReset,
    };
    let everything: Vec<(&str, Attempt)> = vec![
        ("200", status(200)),
        ("404", status(404)),
        ("409", status(409)),
        ("429", status(429)),
        ("500", status(500)),
        ("501", status(501)),
        ("502", status(502)),
        ("503", status(503)),
        ("504", status(504)),
        ("505", status(505)),
        ("grpc 0", grpc(0)),
        ("grpc 1", grpc(1)),
        ("grpc 4", grpc(4)),
        ("grpc 8", grpc(8)),
        ("grpc 13", grpc(13)),
        ("grpc 14", grpc(14)),
        ("connect", failed(ConnectFailure)),
        ("tls", failed(TlsFailure)),
        ("identity", failed(IdentityMismatch)),
        ("reset", failed(UpstreamReset)),
        ("closed", failed(UpstreamClosed)),
        ("closed unsent", unsent(UpstreamClosed)),
        ("protocol", failed(UpstreamProtocol)),
        ("refused", refused()),
        ("per try", failed(PerTryTimeout)),
    ];
    let unanswered = "connect tls identity reset closed closed unsent protocol refused per try";
    for (condition, expected) in [
        ("5xx", format!("500 501 502 503 504 505 {unanswered}")),
        ("gateway-error", format!("502 503 504 {unanswered}")),
        ("reset", unanswered.to_owned()),
        ("reset-before-request", "connect tls identity closed unsent".to_owned()),
        ("connect-failure", "connect tls identity".to_owned()),
        ("refused-stream", "refused".to_owned()),
        ("retriable-4xx", "409".to_owned()),
        ("retriable-status-codes", String::new()),
        ("429", "429".to_owned()),
        ("503", "503".to_owned()),
        ("cancelled", "grpc 1".to_owned()),
        ("deadline-exceeded", "grpc 4".to_owned()),
        ("internal", "grpc 13".to_owned()),
        ("resource-exhausted", "grpc 8".to_owned()),
        ("unavailable", "grpc 14".to_owned()),
    ] {
        let fires = everything
            .iter()
            .filter(|(_, attempt)| fired(condition, *attempt).is_some());
        let fires: Vec<&str> = fires.map(|(name, _)| *name).collect();
        assert_eq!(fires.join(" "), expected, "{condition}");
    }
}

#[test]
fn what_the_mesh_itself_refused_is_never_tried_again() {
    let all: Vec<&str> = CONDITIONS.iter().map(|row| row.name).collect();
    let on = on(&format!("{},500,502,503,504", all.join(",")));
    for outcome in Outcome::ALL {
        let is_retry = decide(&on, &failed(outcome), Repeat::Safe).is_retry();
        let is_unanswered = outcome.blames_endpoint() && outcome != Outcome::RequestTimeout;
        assert_eq!(is_retry, is_unanswered, "{outcome:?}");
    }
}

#[test]
fn a_code_means_what_the_server_sent_not_what_the_mesh_answers() {
    assert_eq!(fired("503", status(503)), Some("retriable-status-codes"));
    assert_eq!(Outcome::UpstreamReset.response_code(), 503);
    assert_eq!(fired("503", failed(Outcome::UpstreamReset)), None);
}

#[test]
fn a_rate_limited_answer_stands() {
    let limited = status(503).rate_limited();
    assert_eq!(
        decide(&on("5xx"), &limited, Repeat::Safe),
        Decision::Stop(Stop::RateLimited)
    );
}

#[test]
fn a_rate_limited_answer_is_tried_again_where_the_policy_says_just_that() {
    let limited = status(503).rate_limited();
    let retry = Decision::Retry {
        condition: "envoy-ratelimited",
    };
    assert_eq!(decide(&on("5xx,envoy-ratelimited"), &limited, Repeat::Safe), retry);
    assert_eq!(
        decide(&on("envoy-ratelimited"), &limited, Repeat::Unsafe),
        Decision::Stop(Stop::NotIdempotent)
    );
    assert_eq!(fired("envoy-ratelimited", status(503)), None);
}

#[test]
fn conditions_about_what_does_not_exist_here_are_read_and_never_hold() {
    let every: Vec<Attempt> = vec![
        status(200),
        status(503).rate_limited(),
        failed(Outcome::ConnectFailure),
        failed(Outcome::UpstreamReset),
    ];
    for text in ["retriable-headers", "http3-post-connect-failure"] {
        assert_eq!(on(text).to_string(), text);
        for attempt in &every {
            assert!(
                !decide(&on(text), attempt, Repeat::Safe).is_retry(),
                "{text}: {attempt:?}"
            );
        }
    }
}

#[test]
fn the_default_policy_is_istios() {
    let policy = default_policy();
    assert_eq!((policy.attempts, policy.per_try_timeout), (2, None));
    let list = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    assert_eq!(policy.on.to_string(), list);
    assert_eq!(policy.on, on(""));
    assert_eq!(fired("", status(503)), None);
    assert_eq!(fired("", failed(Outcome::ConnectFailure)), Some("connect-failure"));
    assert_eq!(fired("", grpc(14)), Some("unavailable"));
}

#[test]
fn lists_of_conditions_read_as_istio_reads_them() {
    for (text, printed) in [
        ("5xx,reset,connect-failure", "5xx,reset,connect-failure"),
        ("5xx,503,429,503", "5xx,retriable-status-codes,503,429"),
        ("5xx,5xx", "5xx"),
        ("retriable-status-codes", "retriable-status-codes"),
    ] {
        assert_eq!(on(text).to_string(), printed);
        assert_eq!(on(printed), on(text), "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_help() {
    for (text, message, help) in [
        (
            "5xx, reset",
            "retry condition ` reset` has blanks around it",
            "write `reset`",
        ),
        (
            "5xx,,reset",
            "empty retry condition, expected conditions separated by single commas",
            "",
        ),
        (
            "conect-failure",
            "unknown retry condition `conect-failure`",
            "did you mean `connect-failure`?",
        ),
        ("5XX", "unknown retry condition `5XX`", "did you mean `5xx`?"),
        (
            "600",
            "`600` is not an HTTP status code",
            "status codes are numbers such as 503",
        ),
        (
            "99",
            "`99` is not an HTTP status code",
            "status codes are numbers such as 503",
        ),
        (
            "299",
            "`299` is not an HTTP status code",
            "status codes are numbers such as 503",
        ),
    ] {
        let error = text.parse::<RetryOn>().unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.help().unwrap_or_default(), help, "{text}");
    }
    assert!(
        "sometimes"
            .parse::<RetryOn>()
            .unwrap_err()
            .help()
            .unwrap()
            .starts_with("expected status codes")
    );
}

#[test]
fn methods_repeat_as_rfc_9110_says() {
    let none = HeaderMap::new();
    for (method, repeat) in [
        (Method::GET, Repeat::Safe),
        (Method::HEAD, Repeat::Safe),
        (Method::OPTIONS, Repeat::Safe),
        (Method::TRACE, Repeat::Safe),
        (Method::PUT, Repeat::Safe),
        (Method::DELETE, Repeat::Safe),
        (Method::POST, Repeat::Unsafe),
        (Method::PATCH, Repeat::Unsafe),
        (Method::CONNECT, Repeat::Unsafe),
        (Method::from_bytes(b"BREW").unwrap(), Repeat::Unsafe),
    ] {
        assert_eq!(Repeat::of(&method, &none), repeat, "{method}");
    }
    let with_key = |key| HeaderMap::from_iter([(http::HeaderName::from_static("idempotency-key"), key)]);
    let key = with_key(HeaderValue::from_static("\"8e03978e\""));
    assert_eq!(Repeat::of(&Method::POST, &key), Repeat::Safe);
    let empty = with_key(HeaderValue::from_static(""));
    assert_eq!(Repeat::of(&Method::POST, &empty), Repeat::Unsafe);
}

#[test]
fn a_post_is_tried_again_only_if_no_server_processed_it() {
    let on = on("5xx,reset,connect-failure,refused-stream,503");
    for (attempt, is_retry) in [
        (status(503), false),
        (failed(Outcome::UpstreamReset), false),
        (failed(Outcome::UpstreamClosed), false),
        (failed(Outcome::PerTryTimeout), false),
        (failed(Outcome::ConnectFailure), true),
        (unsent(Outcome::UpstreamClosed), true),
        (unsent(Outcome::PerTryTimeout), true),
        (refused(), true),
    ] {
        let decision = decide(&on, &attempt, Repeat::Unsafe);
        assert_eq!(decision.is_retry(), is_retry, "{attempt:?}");
        assert!(
            is_retry || decision == Decision::Stop(Stop::NotIdempotent),
            "{attempt:?}"
        );
        assert!(decide(&on, &attempt, Repeat::Safe).is_retry(), "{attempt:?}");
    }
    assert_eq!(
        decide(&on, &status(200), Repeat::Unsafe),
        Decision::Stop(Stop::NoCondition)
    );
}

#[test]
fn grpc_conditions_mean_posts() {
    let decision = decide(&on("internal"), &grpc(13), Repeat::Unsafe);
    assert_eq!(decision, Decision::Retry { condition: "internal" });
}

#[test]
fn an_unsent_request_is_not_tried_again_unless_the_policy_says_so() {
    let decision = decide(&on("retriable-4xx"), &failed(Outcome::ConnectFailure), Repeat::Safe);
    assert_eq!(decision, Decision::Stop(Stop::NoCondition));
}

/// Plays tries of a request in virtual time, as a driver would: each entry is how long the server takes, and its status.
fn play(script: &[(u64, u16)], policy: &RetryPolicy, timeout: u64) -> (u64, Result<u16, Outcome>) {
    let deadline = Deadline::new(at(0), Some(Duration::from_millis(timeout)), policy.per_try_timeout);
    let mut now = at(0);
    let mut retries = 0;
    loop {
        let (takes, code) = script[retries as usize];
        let done = now + Duration::from_millis(takes);
        let attempt = match deadline.next(now) {
            Some((limit, expiry)) if limit <= done => {
                now = limit;
                if expiry != Expiry::PerTry {
                    return (now.as_nanos() / 1_000_000, Err(expiry.outcome()));
                }
                failed(expiry.outcome())
            }
            _ => {
                now = done;
                status(code)
            }
        };
        if retries == policy.attempts || !decide(&policy.on, &attempt, Repeat::Safe).is_retry() {
            let end = attempt.status().ok_or(Outcome::PerTryTimeout);
            return (now.as_nanos() / 1_000_000, end);
        }
        retries += 1;
    }
}

#[test]
fn slow_tries_are_cut_and_tried_again_until_the_whole_time_is_over() {
    let policy = |attempts, per_try| {
        let mut policy = RetryPolicy::new(attempts, on("5xx"), Origin::default());
        policy.per_try_timeout = Some(Duration::from_millis(per_try));
        policy
    };
    let slow = (200, 204);
    assert_eq!(play(&[slow, slow, (0, 204)], &policy(2, 100), 500), (200, Ok(204)));
    assert_eq!(
        play(&[slow, slow, slow], &policy(2, 100), 500),
        (300, Err(Outcome::PerTryTimeout))
    );
    assert_eq!(
        play(&[slow, slow, slow], &policy(2, 100), 250),
        (250, Err(Outcome::RequestTimeout))
    );
    assert_eq!(
        play(&[(0, 500), (4_000, 200), (0, 204)], &policy(2, 100), 5_000),
        (100, Ok(204))
    );
    assert_eq!(
        play(&[(5, 500), (5, 500), (5, 500)], &policy(2, 100), 500),
        (15, Ok(500))
    );
    assert_eq!(play(&[(5, 500)], &policy(0, 100), 500), (5, Ok(500)));
}

#[test]
fn pauses_fill_the_range_below_an_exponential_ceiling() {
    let mut rng = SplitMix64::new(4);
    for (number, ceiling) in [(1, 25), (2, 75), (3, 175), (4, 250), (31, 250), (u32::MAX, 250)] {
        let pauses: Vec<Duration> = (0..2_000)
            .map(|_| backoff(number, &Backoff::DEFAULT, &mut rng))
            .collect();
        let ceiling = Duration::from_millis(ceiling);
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(
            *most < ceiling && *most > ceiling * 99 / 100 && *least < ceiling / 100,
            "{number}: {least:?} {most:?}"
        );
    }
    assert_eq!(
        backoff(3, &Backoff::from_base(Duration::ZERO), &mut rng),
        Duration::ZERO
    );
    assert_eq!(backoff(0, &Backoff::DEFAULT, &mut rng), Duration::ZERO);
}

#[test]
fn no_pause_is_shorter_than_the_least() {
    let mut rng = SplitMix64::new(4);
    let pauses = Backoff::at_least(Duration::from_millis(100));
    for (number, ceiling) in [(1, 100), (2, 300), (9, 1000)] {
        for _ in 0..200 {
            let pause = backoff(number, &pauses, &mut rng).as_millis();
            assert!((100..=ceiling).contains(&pause), "{number}: {pause} ms");
        }
    }
}

fn ten_seconds(percent: u32, min_per_second: u32) -> Budget {
    Budget::new(RetryBudget::new(percent, min_per_second, Duration::from_secs(10)))
}

/// How many retries can be withdrawn now.
fn drain(budget: &Budget, now: Timestamp) -> usize {
    (0..).take_while(|_| budget.withdraw(now)).count()
}

#[test]
fn first_tries_pay_for_a_share_of_retries() {
    let budget = ten_seconds(20, 0);
    assert_eq!(drain(&budget, at(0)), 0);
    for _ in 0..100 {
        budget.deposit(at(0));
    }
    assert_eq!(budget.balance(at(0)), 20);
    assert_eq!(drain(&budget, at(0)), 20);
    assert_eq!(budget.balance(at(0)), 0);
}

#[test]
fn the_reserve_is_there_without_first_tries_and_again_after_the_ttl() {
    let budget = ten_seconds(20, 10);
    assert_eq!(drain(&budget, at(0)), 100);
    assert_eq!(drain(&budget, at(9_900)), 0);
    assert_eq!(drain(&budget, at(10_000)), 100);
}

#[test]
fn deposits_lapse_after_the_ttl() {
    let budget = ten_seconds(100, 0);
    budget.deposit(at(500));
    budget.deposit(at(5_000));
    assert_eq!(budget.balance(at(9_999)), 2);
    assert_eq!(budget.balance(at(10_000)), 1);
    assert_eq!(budget.balance(at(15_000)), 0);
}

#[test]
fn a_clock_slightly_behind_loses_nothing() {
    let budget = ten_seconds(100, 0);
    budget.deposit(at(2_000));
    budget.deposit(at(1_999));
    assert_eq!((budget.balance(at(1_999)), budget.balance(at(2_000))), (2, 2));
}

#[test]
fn a_reload_keeps_the_tokens() {
    let budget = ten_seconds(100, 0);
    for _ in 0..10 {
        budget.deposit(at(60_000));
    }
    assert!(budget.withdraw(at(60_000)));

    budget.configure(RetryBudget::new(50, 0, Duration::from_secs(10)));
    assert_eq!(budget.balance(at(60_000)), 9);
    budget.configure(RetryBudget::new(50, 0, Duration::from_secs(4)));
    assert_eq!(budget.balance(at(60_000)), 9);
    budget.deposit(at(60_000));
    budget.deposit(at(60_000));
    assert_eq!(budget.balance(at(63_000)), 10);
    assert_eq!(budget.balance(at(64_000)), 0);
    budget.configure(RetryBudget::new(0, 3, Duration::from_secs(60)));
    assert_eq!(drain(&budget, at(64_000)), 180 + 10);
}

#[test]
fn a_server_that_always_fails_gets_the_share_and_the_reserve() {
    let budget = ten_seconds(10, 1);
    let (mut first, mut retries) = (0u64, 0u64);
    for step in 0..60_000 {
        let now = at(step);
        first += 1;
        budget.deposit(now);
        retries += u64::from(budget.withdraw(now));
    }
    let allowed = first / 10 + 60 + 10;
    assert!((allowed - 20..=allowed).contains(&retries), "{retries} of {allowed}");
}

#[test]
fn threads_never_share_a_token() {
    let budget = ten_seconds(100, 0);
    for _ in 0..1_000 {
        budget.deposit(at(0));
    }
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| drain(&budget, at(0)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(taken <= 1_000);
    assert_eq!(taken + drain(&budget, at(0)), 1_000);
}

proptest! {
    #[test]
    fn retries_within_a_ttl_never_exceed_share_and_reserve(
        percent in 0u32..200,
        min_per_second in 0u32..5,
        steps in prop::collection::vec((any::<bool>(), 0u64..300), 1..400),
    ) {
        let budget = ten_seconds(percent, min_per_second);
        let (mut now, mut deposits, mut retries) = (0, Vec::new(), Vec::new());
        for (is_first_try, pause) in steps {
            now += pause;
            if is_first_try {
                budget.deposit(at(now));
                deposits.push(now);
            } else if budget.withdraw(at(now)) {
                retries.push(now);
            }
            let window = |times: &[u64]| times.iter().filter(|time| **time + 9_000 > now).count() as u64;
            // Retries of the last nine seconds are surely in the window; deposits count as far back as two windows.
            let paid = deposits.iter().filter(|time| **time + 19_000 >= now).count() as u64 * u64::from(percent);
            prop_assert!(window(&retries) * 100 <= paid + u64::from(min_per_second) * 1_000);
        }
    }

    #[test]
    fn any_list_reads_back_as_printed(
        rows in prop::collection::vec(0..CONDITIONS.len(), 1..8),
        codes in prop::collection::vec(prop::sample::select(vec![408u16, 409, 429, 500, 503]), 0..4),
    ) {
        let names = rows.iter().map(|row| CONDITIONS[*row].name.to_owned());
        let list: Vec<String> = names.chain(codes.iter().map(u16::to_string)).collect();
        let on = on(&list.join(","));
        prop_assert_eq!(on.to_string().parse::<RetryOn>(), Ok(on));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,40}") {
        if let Err(error) = text.parse::<RetryOn>() {
            prop_assert!(!error.to_string().is_empty());
            let _ = error.help();
        }
    }
}
