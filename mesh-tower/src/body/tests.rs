use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;

use super::*;

/// Notes every end that it is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl OnEnd for Log {
    fn on_end(&mut self, end: End<'_>) {
        let text = match end {
            End::Complete(None) => "complete".to_owned(),
            End::Complete(Some(trailers)) => format!("complete with {:?}", trailers.get("grpc-status")),
            End::Failed(error) => format!("failed: {error}"),
            End::Dropped => "dropped".to_owned(),
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn frames(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> Body {
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn hook_settles_once_when_the_last_data_frame_is_taken() {
    let log = Log::default();
    let mut body = Body::from("hello").on_end(log.clone());
    assert_eq!(log.lines(), [""; 0]);

    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    assert_eq!(log.lines(), ["complete"]);

    drop(body);
    assert_eq!(log.lines(), ["complete"]);
}

#[tokio::test]
async fn hook_sees_trailers() {
    let log = Log::default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("14"));
    let body = frames(vec![data("x"), Ok(Frame::trailers(trailers))]).on_end(log.clone());

    body.collect().await.unwrap();

    assert_eq!(log.lines(), [r#"complete with Some("14")"#]);
}

#[tokio::test]
async fn hook_sees_the_error_of_a_body() {
    let log = Log::default();
    let body = frames(vec![data("x"), Err("broken pipe".into())]).on_end(log.clone());

    assert!(body.collect().await.is_err());

    assert_eq!(log.lines(), ["failed: broken pipe"]);
}

#[tokio::test]
async fn hook_settles_when_a_body_is_dropped_half_read() {
    let log = Log::default();
    let mut body = frames(vec![data("x"), data("y")]).on_end(log.clone());

    body.frame().await.unwrap().unwrap();
    drop(body);

    assert_eq!(log.lines(), ["dropped"]);
}

/// A server that is faster than its reader has always data, and so nobody waits.
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_for_data_that_is_there_already() {
    let at = Instant::now() + Duration::from_secs(1);
    let log = Log::default();
    let mut body = frames(vec![data("x"), data("y"), data("z")])
        .with_deadline(at)
        .on_end(log.clone());
    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap();

    tokio::time::advance(Duration::from_secs(2)).await;
    let error = body.frame().await.unwrap().unwrap_err();

    assert!(error.is::<DeadlineExceeded>());
    assert!(body.frame().await.is_none());
    assert_eq!(log.lines(), ["failed: the response did not end in time"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_body_is_never_late() {
    let at = Instant::now() + Duration::from_secs(1);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut body = frames(vec![data("x"), Ok(Frame::trailers(trailers))]).with_deadline(at);

    tokio::time::advance(Duration::from_secs(2)).await;

    assert!(body.frame().await.unwrap().is_ok_and(|frame| frame.is_data()));
    assert!(body.frame().await.unwrap().is_ok_and(|frame| frame.is_trailers()));
}

#[test]
fn hook_of_an_empty_body_settles_at_once() {
    let log = Log::default();

    let body = Body::empty().on_end(log.clone());

    assert_eq!(log.lines(), ["complete"]);
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn two_hooks_settle_in_the_order_of_their_attachment() {
    let log = Log::default();
    struct Tagged(&'static str, Log);
    impl OnEnd for Tagged {
        fn on_end(&mut self, _: End<'_>) {
            self.1.0.lock().unwrap().push(self.0.to_owned());
        }
    }
    let body = Body::from("x")
        .on_end(Tagged("first", log.clone()))
        .on_end(Tagged("second", log.clone()));

    drop(body);

    assert_eq!(log.lines(), ["first", "second"]);
}

#[tokio::test]
async fn tracked_settles_a_foreign_body_of_any_type() {
    let log = Log::default();
    let body = Tracked::new(Full::new(Bytes::from_static(b"hello")), log.clone());
    assert_eq!(body.size_hint().exact(), Some(5));

    let collected = body.collect().await.unwrap();

    assert_eq!(collected.to_bytes(), "hello");
    assert_eq!(log.lines(), ["complete"]);
}

#[test]
fn tracked_settles_when_dropped_unread() {
    let log = Log::default();

    drop(Tracked::new(Full::new(Bytes::from_static(b"hello")), log.clone()));

    assert_eq!(log.lines(), ["dropped"]);
}

/// Who forwards what it has taken for an end would make a whole answer of half of one.
#[tokio::test]
async fn tracked_takes_no_failure_for_an_end() {
    let log = Log::default();
    let broken = frames(vec![data("x"), Err("broken pipe".into()), data("y")]);
    let mut body = Tracked::new(broken, log.clone());

    body.frame().await.unwrap().unwrap();
    body.frame().await.unwrap().unwrap_err();

    assert!(!body.is_end_stream());
    assert_eq!(log.lines(), ["failed: broken pipe"]);
}

#[test]
fn a_body_of_the_stack_is_not_boxed_again() {
    assert_eq!(Body::new(Body::from("x")).kind.name(), "full");
    assert_eq!(Body::new(Body::empty()).kind.name(), "empty");
    assert_eq!(Body::new(Full::new(Bytes::new())).kind.name(), "boxed");
}

#[test]
fn size_and_end_are_those_of_the_data() {
    assert_eq!(Body::from("hello").size_hint().exact(), Some(5));
    assert!(!Body::from("hello").is_end_stream());
    assert_eq!(Body::from("").size_hint().exact(), Some(0));
    assert!(Body::from("").is_end_stream());
    assert!(Body::default().is_end_stream());
}
