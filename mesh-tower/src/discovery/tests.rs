use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// Answers by a script, and says when it was asked.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<BTreeMap<String, VecDeque<Result<Answer, ResolveError>>>>,
    asked: Mutex<Vec<(String, Instant)>>,
}

impl Scripted {
    fn with(script: &[(&str, &[Result<Answer, ResolveError>])]) -> Arc<Self> {
        let answers = script
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().cloned().collect()));
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            asked: Mutex::default(),
        })
    }

    /// Seconds from the first question to each.
    fn asked(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, at)| (*at - asked[0].1).as_secs()).collect()
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        self.asked.lock().unwrap().push((name.to_owned(), Instant::now()));
        let next = self.answers.lock().unwrap().get_mut(name).and_then(VecDeque::pop_front);
        Box::pin(async move {
            match next {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

fn good(addresses: &[&str], seconds: u64) -> Result<Answer, ResolveError> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Ok(Answer::new(addresses, Duration::from_secs(seconds)))
}

fn bad() -> Result<Answer, ResolveError> {
    Err(ResolveError::Failed {
        name: "orders".into(),
        reason: "SERVFAIL".into(),
    })
}

/// What was reported, as text, with the seconds since the start.
async fn reports(resolver: &Arc<Scripted>, names: &[&str]) -> Vec<(u64, String)> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let start = Instant::now();
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    let resolver: Arc<dyn Resolve> = Arc::<Scripted>::clone(resolver);
    let task = tokio::spawn(follow(resolver, names, move |update| {
        let text = match update {
            Update::Addresses(known) => format!(
                "{:?}",
                known.values().flatten().map(IpAddr::to_string).collect::<Vec<_>>()
            ),
            Update::Failed(error) => error.to_string(),
        };
        sender.send((start.elapsed().as_secs(), text)).unwrap();
        ControlFlow::Continue(())
    }));
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    task.abort();
    let mut reports = Vec::new();
    while let Ok(report) = receiver.try_recv() {
        reports.push(report);
    }
    reports
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_again_when_its_answer_expires() {
    let resolver = Scripted::with(&[(
        "orders",
        &[good(&["10.0.0.1"], 7), good(&["10.0.0.2"], 30), good(&["10.0.0.2"], 5)],
    )]);

    let reports = reports(&resolver, &["orders"]).await;

    assert_eq!(reports, [(0, r#"["10.0.0.1"]"#.into()), (7, r#"["10.0.0.2"]"#.into())]);
    assert_eq!(resolver.asked(), [0, 7, 37, 42]);
}

#[tokio::test(start_paused = true)]
async fn neither_a_failure_nor_an_empty_answer_replaces_a_good_one() {
    let resolver = Scripted::with(&[(
        "orders",
        &[good(&["10.0.0.1"], 5), bad(), good(&[], 60), good(&["10.0.0.1"], 5)],
    )]);

    let reports = reports(&resolver, &["orders"]).await;

    assert_eq!(reports, [(0, r#"["10.0.0.1"]"#.into())]);
    assert_eq!(resolver.asked(), [0, 5, 6, 8, 13]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_reported_until_the_first_success_with_growing_pauses() {
    let mut script = vec![bad(); 7];
    script.push(good(&["10.0.0.1"], 5));
    let resolver = Scripted::with(&[("orders", &script)]);

    let reports = reports(&resolver, &["orders"]).await;

    assert_eq!(reports.len(), 8);
    assert_eq!(reports[0], (0, "`orders` could not be resolved: SERVFAIL".into()));
    let times: Vec<u64> = reports.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 61, 91]);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_an_answer_and_a_tiny_time_to_live_change_nothing() {
    let answers = [
        good(&["10.0.0.2", "10.0.0.1"], 0),
        good(&["10.0.0.1", "10.0.0.2"], 0),
        good(&["10.0.0.1"], 86_400),
    ];
    let resolver = Scripted::with(&[("orders", &answers)]);

    let reports = reports(&resolver, &["orders"]).await;

    assert_eq!(
        reports,
        [(0, r#"["10.0.0.1", "10.0.0.2"]"#.into()), (2, r#"["10.0.0.1"]"#.into())]
    );
    assert_eq!(resolver.asked(), [0, 1, 2, 3602]);
}

#[tokio::test(start_paused = true)]
async fn one_name_that_fails_does_not_keep_another_back() {
    let resolver = Scripted::with(&[("orders", &[good(&["10.0.0.1"], 9_000)]), ("payments", &[bad()])]);

    let reports = reports(&resolver, &["orders", "payments"]).await;

    assert_eq!(reports, [(0, r#"["10.0.0.1"]"#.into())]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_answers_keeps_no_other_back() {
    let fast = [good(&["10.0.0.1"], 7), good(&["10.0.0.2"], 30)];
    let resolver = Scripted::with(&[("dead", &[]), ("fast", &fast)]);

    let reports = reports(&resolver, &["dead", "fast"]).await;

    assert_eq!(reports, [(0, r#"["10.0.0.1"]"#.into()), (7, r#"["10.0.0.2"]"#.into())]);
    assert_eq!(resolver.asked(), [0, 0, 7, 37]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_no_news_while_another_name_has_yet_to_answer() {
    let resolver = Scripted::with(&[("dead", &[]), ("orders", &[bad(), bad()])]);

    let reports = reports(&resolver, &["dead", "orders"]).await;

    assert_eq!(reports, []);
    assert_eq!(resolver.asked(), [0, 0, 1, 3]);
}

#[test]
fn what_could_not_be_made_is_tried_again_and_what_was_made_is_kept() {
    let cell = OnceLock::new();

    let made = [Err("no file"), Ok(1), Ok(2)].map(|next| system::made_once(&cell, || next).copied());

    assert_eq!(made, [Err("no file"), Ok(1), Ok(1)]);
}

/// A name server on a socket: `good.test` has two addresses for 42 s, `empty.test` none, `broken.test` fails.
/// `dual.test` has addresses of both families, `six.test` of IPv6 alone, and for `half.test` IPv4 fails.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let reply = reply(&buffer[..length]);
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
}

/// A reply by RFC 1035: the question comes back, with answers that point to its name.
fn reply(question: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while question[end] != 0 {
        end += 1 + usize::from(question[end]);
    }
    let name = String::from_utf8_lossy(&question[12..end]).into_owned();
    let is_a = question[end + 1..end + 3] == [0, 1];
    let has = |names: &[&str]| names.iter().any(|known| name.contains(known));
    let (code, answers): (u8, u8) = match is_a {
        true if has(&["good", "dual"]) => (0, 2),
        true if has(&["half", "broken"]) => (2, 0),
        false if has(&["dual", "six", "half"]) => (0, 1),
        false if has(&["broken"]) => (2, 0),
        _ if has(&["good", "empty", "six"]) => (0, 0),
        _ => (3, 0),
    };
    let mut reply = question[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(&question[12..end + 5]);
    for last in 1..=answers {
        let (kind, address) = match is_a {
            true => (1, vec![127, 0, 0, last]),
            false => (28, [vec![0; 15], vec![last]].concat()),
        };
        reply.extend([
            0xc0,
            12,
            0,
            kind,
            0,
            1,
            0,
            0,
            0,
            42,
            0,
            u8::try_from(address.len()).unwrap(),
        ]);
        reply.extend(address);
    }
    reply
}

#[tokio::test]
async fn a_name_is_called_over_ipv6_only_where_it_has_no_address_of_ipv4() {
    let resolver = SystemResolver::at([name_server().await]);

    let dual = resolver.resolve("dual.test.").await.unwrap();
    let six = resolver.resolve("six.test.").await.unwrap();
    let half = resolver.resolve("half.test.").await.unwrap_err();

    assert!(
        dual.addresses.len() == 2 && dual.addresses.iter().all(IpAddr::is_ipv4),
        "{dual:?}"
    );
    assert_eq!(six.addresses, ["::1".parse::<IpAddr>().unwrap()]);
    assert!(matches!(half, ResolveError::Failed { .. }), "{half}");
}

#[tokio::test]
async fn a_name_server_is_asked_and_its_time_to_live_is_taken() {
    let resolver = SystemResolver::at([name_server().await]);

    let answer = resolver.resolve("good.test.").await.unwrap();

    let expected: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    assert_eq!(answer.addresses, expected);
    let seconds = answer.valid_for.as_secs();
    assert!((40..=42).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn what_has_no_address_is_told_from_what_fails() {
    let resolver = SystemResolver::at([name_server().await]);

    for name in ["empty.test.", "unknown.test."] {
        let error = resolver.resolve(name).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotFound { .. }), "{error}");
    }
    let error = resolver.resolve("broken.test.").await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn an_address_is_its_own_answer() {
    let resolver = SystemResolver::at([name_server().await]);

    let answer = resolver.resolve("10.1.2.3").await.unwrap();

    assert_eq!(answer.addresses, ["10.1.2.3".parse::<IpAddr>().unwrap()]);
}
