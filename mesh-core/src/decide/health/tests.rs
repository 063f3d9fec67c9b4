use http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::outcome::Outcome;
use crate::time::Timestamp;

const GATEWAY: Verdict = Verdict::GatewayError;
const SERVER: Verdict = Verdict::ServerError;
const OK: Verdict = Verdict::Success;
const NEUTRAL: Verdict = Verdict::Neutral;

fn rules(consecutive_5xx: u32, consecutive_gateway_errors: u32) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx,
        consecutive_gateway_errors,
        ..OutlierDetection::default()
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

#[test]
fn statuses_say_what_envoy_says_but_for_4xx() {
    for (status, verdict) in [
        (101, OK),
        (200, OK),
        (304, OK),
        (400, NEUTRAL),
        (404, NEUTRAL),
        (429, NEUTRAL),
        (500, SERVER),
        (501, SERVER),
        (502, GATEWAY),
        (503, GATEWAY),
        (504, GATEWAY),
        (505, SERVER),
        (599, SERVER),
    ] {
        assert_eq!(
            Verdict::from_status(StatusCode::from_u16(status).unwrap()),
            verdict,
            "{status}"
        );
    }
}

#[test]
fn grpc_statuses_say_what_their_http_statuses_say_but_for_the_callers_own() {
    for (status, verdict) in [
        (0, OK),
        (1, NEUTRAL),
        (2, SERVER),
        (3, NEUTRAL),
        (4, NEUTRAL),
        (8, NEUTRAL),
        (12, NEUTRAL),
        (13, SERVER),
        (14, GATEWAY),
        (15, SERVER),
        (16, NEUTRAL),
        (99, NEUTRAL),
    ] {
        assert_eq!(Verdict::from_grpc_status(status), verdict, "{status}");
    }
}

#[test]
fn an_endpoint_is_blamed_exactly_for_the_outcomes_that_blame_it() {
    for outcome in Outcome::ALL {
        let is_blamed = matches!(Verdict::from_outcome(outcome), Verdict::LocalOrigin(_));
        assert_eq!(is_blamed, outcome.blames_endpoint(), "{outcome:?}");
        assert!(is_blamed || Verdict::from_outcome(outcome) == NEUTRAL, "{outcome:?}");
    }
}

#[test]
fn local_failures_count_like_their_response_codes() {
    for (error, is_gateway) in [
        (LocalError::Connect, true),
        (LocalError::Reset, true),
        (LocalError::Timeout, true),
        (LocalError::Other, false),
    ] {
        let health = Health::default();
        assert_eq!(health.count(Verdict::LocalOrigin(error), &Thresholds::default()), None);
        let counters = (health.consecutive_5xx(), health.consecutive_gateway_errors());
        assert_eq!(counters, (1, u32::from(is_gateway)), "{error:?}");
    }
}

#[test]
fn failures_in_a_row_reach_a_threshold() {
    use EjectReason::{Consecutive5xx, ConsecutiveGatewayErrors};
    // Thresholds of 5xx and of gateway errors, verdicts, what the last of them reaches.
    type Row<'a> = (u32, u32, &'a [Verdict], Option<EjectReason>);
    let table: &[Row<'_>] = &[
        (3, 0, &[SERVER, GATEWAY], None),
        (3, 0, &[SERVER, GATEWAY, SERVER], Some(Consecutive5xx)),
        (3, 0, &[SERVER, SERVER, OK, SERVER, SERVER], None),
        (3, 0, &[SERVER, NEUTRAL, SERVER, NEUTRAL, SERVER], Some(Consecutive5xx)),
        (0, 3, &[GATEWAY, GATEWAY, GATEWAY], Some(ConsecutiveGatewayErrors)),
        (0, 3, &[GATEWAY, GATEWAY, SERVER, GATEWAY, GATEWAY], None),
        (
            0,
            3,
            &[GATEWAY, GATEWAY, NEUTRAL, GATEWAY],
            Some(ConsecutiveGatewayErrors),
        ),
        (3, 3, &[GATEWAY, GATEWAY, GATEWAY], Some(ConsecutiveGatewayErrors)),
        (5, 3, &[SERVER, SERVER, SERVER, GATEWAY, SERVER], Some(Consecutive5xx)),
        (0, 0, &[GATEWAY; 100], None),
        (1, 0, &[NEUTRAL; 100], None),
    ];
    for (server, gateway, verdicts, expected) in table {
        let (health, thresholds) = (Health::default(), Thresholds::default());
        thresholds.configure(Some(&rules(*server, *gateway)));
        let mut last = None;
        for verdict in *verdicts {
            last = health.count(*verdict, &thresholds);
        }
        assert_eq!(last, *expected, "{server} {gateway} {verdicts:?}");
    }
}

#[test]
fn a_share_of_the_endpoints_may_be_ejected() {
    for (ejected, endpoints, max_percent, may) in [
        (0, 10, 10, true),
        (1, 10, 10, false),
        (0, 9, 10, false),
        (0, 1, 50, false),
        (0, 2, 50, true),
        (1, 2, 50, false),
        (1, 2, 100, true),
        (0, 1, 100, true),
        (0, 3, 33, false),
        (0, 3, 34, true),
        (0, 10, 0, false),
    ] {
        assert_eq!(
            may_eject(ejected, endpoints, max_percent),
            may,
            "{ejected} of {endpoints} at {max_percent}"
        );
    }
}

#[test]
fn ejections_grow_by_the_base_up_to_the_limit() {
    let rules = rules(5, 0);
    for (count, secs) in [(1, 30), (2, 60), (3, 90), (10, 300), (11, 300), (u32::MAX, 300)] {
        assert_eq!(ejection_time(&rules, count), Duration::from_secs(secs), "{count}");
    }
    let long_base = OutlierDetection {
        base_ejection: Duration::from_secs(600),
        ..rules
    };
    assert_eq!(ejection_time(&long_base, 3), Duration::from_secs(600));
}

#[test]
fn the_number_of_ejections_stops_to_grow_with_the_time() {
    let (health, rules) = (Health::default(), rules(5, 0));
    let counts: Vec<u32> = (0..20).map(|_| health.eject(&rules, Timestamp::ZERO)).collect();
    assert_eq!(counts[..11], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(counts[11..].iter().all(|count| *count == 11));
    assert_eq!(health.ejections(), 20);
}

#[test]
fn ticks_are_multiples_of_the_interval() {
    let ticks = Ticks::between(seconds(5), seconds(36), Duration::from_secs(10));
    assert_eq!(
        (ticks.count(), ticks.latest(), ticks.next()),
        (3, seconds(35), seconds(45))
    );
    for (time, left) in [(0, Some(2)), (15, Some(2)), (16, Some(1)), (35, Some(0)), (36, None)] {
        assert_eq!(ticks.left_after(seconds(time)), left, "{time}");
    }
    assert_eq!(
        Ticks::between(seconds(5), seconds(14), Duration::from_secs(10)).count(),
        0
    );
}

#[test]
fn an_interval_of_zero_does_not_divide_by_it() {
    let ticks = Ticks::between(Timestamp::ZERO, seconds(1), Duration::ZERO);
    assert_eq!(ticks.count(), 1_000);
}

proptest! {
    /// One late sweep has the result of all the punctual ones that it stands for.
    #[test]
    fn late_sweeps_make_up_for_missed_ones(
        interval in 1u64..20,
        base in 1u64..50,
        before in 0u32..5,
        ejected_at in 0u64..30,
        ticks in 1u64..60,
    ) {
        let rules = OutlierDetection {
            interval: Duration::from_secs(interval),
            base_ejection: Duration::from_secs(base),
            ..OutlierDetection::default()
        };
        let ejected_at = ejected_at.min(interval.saturating_sub(1));
        let [late, punctual] = std::array::from_fn(|_| {
            let health = Health::default();
            for _ in 0..=before {
                health.eject(&rules, seconds(ejected_at));
            }
            health
        });
        let end = seconds(interval * ticks);

        let is_back = late.sweep(&rules, Ticks::between(Timestamp::ZERO, end, rules.interval));
        let mut was_back = false;
        for tick in 1..=ticks {
            let (from, to) = (seconds(interval * (tick - 1)), seconds(interval * tick));
            was_back |= punctual.sweep(&rules, Ticks::between(from, to, rules.interval));
        }

        prop_assert_eq!(is_back, was_back);
        prop_assert_eq!(late.is_ejected(), punctual.is_ejected());
        prop_assert_eq!(late.eject(&rules, end), punctual.eject(&rules, end));
    }
}

#[test]
fn events_read_as_log_messages() {
    let address = "10.0.0.4:8080".parse().unwrap();
    let reason = EjectReason::Consecutive5xx;
    for (event, text) in [
        (
            HealthEvent::Ejected {
                address,
                reason,
                duration: Duration::from_secs(60),
                count: 2,
            },
            "ejected 10.0.0.4:8080 for 1m: consecutive_5xx, ejection 2",
        ),
        (
            HealthEvent::Refused {
                address,
                reason,
                ejected: 0,
                endpoints: 1,
                max_ejected_percent: 50,
            },
            "kept 10.0.0.4:8080 despite consecutive_5xx: 0 of 1 endpoints are ejected, one more would exceed 50 %",
        ),
        (HealthEvent::Returned { address }, "10.0.0.4:8080 is in use again"),
    ] {
        assert_eq!(event.to_string(), text);
    }
}

#[test]
fn failures_to_answer_are_counted_apart_where_the_policy_says_so() {
    let split = OutlierDetection {
        consecutive_local_failures: Some(3),
        ..rules(2, 0)
    };
    let thresholds = Thresholds::default();
    thresholds.configure(Some(&split));
    let health = Health::default();
    let failed = Verdict::LocalOrigin(LocalError::Connect);

    for _ in 0..2 {
        assert_eq!(health.count(failed, &thresholds), None);
    }
    assert_eq!(health.consecutive_5xx(), 0, "it does not count as a 5xx");
    assert_eq!(
        health.count(failed, &thresholds),
        Some(EjectReason::ConsecutiveLocalFailures)
    );
    assert_eq!(
        EjectReason::ConsecutiveLocalFailures.as_str(),
        "consecutive_local_origin_failure"
    );

    health.reset_reached(&thresholds);
    assert_eq!(health.reached(&thresholds), None);
}

#[test]
fn any_answer_ends_a_row_of_failures_to_answer_and_they_end_no_row_of_errors() {
    let split = OutlierDetection {
        consecutive_local_failures: Some(2),
        ..rules(2, 0)
    };
    let thresholds = Thresholds::default();
    thresholds.configure(Some(&split));
    let health = Health::default();
    let failed = Verdict::LocalOrigin(LocalError::Timeout);

    assert_eq!(health.count(failed, &thresholds), None);
    assert_eq!(health.count(SERVER, &thresholds), None);
    assert_eq!(health.count(failed, &thresholds), None);
    assert_eq!(health.count(SERVER, &thresholds), Some(EjectReason::Consecutive5xx));
}

#[test]
fn without_a_split_failures_to_answer_are_errors_like_others() {
    let thresholds = Thresholds::default();
    thresholds.configure(Some(&rules(1, 0)));
    let health = Health::default();
    let failed = Verdict::LocalOrigin(LocalError::Connect);
    assert_eq!(health.count(failed, &thresholds), Some(EjectReason::Consecutive5xx));
}

#[test]
fn listed_statuses_are_the_only_errors() {
    let listed = [StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY];
    for (status, verdict) in [
        (StatusCode::TOO_MANY_REQUESTS, SERVER),
        (StatusCode::BAD_GATEWAY, SERVER),
        (StatusCode::SERVICE_UNAVAILABLE, OK),
        (StatusCode::INTERNAL_SERVER_ERROR, OK),
        (StatusCode::OK, OK),
        (StatusCode::NOT_FOUND, NEUTRAL),
    ] {
        assert_eq!(Verdict::from_listed_status(status, &listed), verdict, "{status}");
    }
}
