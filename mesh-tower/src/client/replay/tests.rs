use http::HeaderValue;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;

use super::*;

/// A body that yields what the test sends.
fn channel() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::new(StreamBody::new(frames)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> HeaderMap {
    [(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))]
        .into_iter()
        .collect()
}

fn pair(body: Body, cap: usize) -> (ReplayBody, ReplayBody) {
    let first = ReplayBody::new(body, cap);
    let second = first.try_clone().unwrap();
    (first, second)
}

async fn read(body: ReplayBody) -> (String, Option<HeaderMap>) {
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (String::from_utf8(collected.to_bytes().to_vec()).unwrap(), trailers)
}

async fn chunk(body: &mut ReplayBody) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

fn error(frame: Option<Result<Frame<Bytes>, BoxError>>) -> ReplayError {
    *frame.unwrap().unwrap_err().downcast::<ReplayError>().unwrap()
}

#[tokio::test]
async fn rb1_one_chunk_is_replayed() {
    for body in [Body::from("hello world"), {
        let (tx, body) = channel();
        tx.send(data("hello world")).unwrap();
        body
    }] {
        let (first, second) = pair(body, 64);
        assert_eq!(read(first).await, ("hello world".to_owned(), None));
        assert_eq!(read(second).await, ("hello world".to_owned(), None));
    }
}

#[tokio::test]
async fn rb2_rb3_rb6_chunks_and_trailers_are_replayed_again_and_again() {
    let (tx, body) = channel();
    let (first, second) = pair(body, 64);
    let (third, fourth) = (second.try_clone().unwrap(), second.try_clone().unwrap());
    for text in ["hello", " world", ", have lots ", "of fun!"] {
        tx.send(data(text)).unwrap();
    }
    tx.send(Ok(Frame::trailers(trailers()))).unwrap();
    drop(tx);

    for body in [first, second, third, fourth] {
        assert_eq!(
            read(body).await,
            ("hello world, have lots of fun!".to_owned(), Some(trailers()))
        );
    }
}

#[tokio::test]
async fn rb5_replay_goes_on_with_the_live_rest() {
    let (tx, body) = channel();
    let (mut first, second) = pair(body, 64);
    tx.send(data("hello")).unwrap();
    tx.send(data(" world")).unwrap();
    assert_eq!(chunk(&mut first).await, "hello");
    assert_eq!(chunk(&mut first).await, " world");
    drop(first);

    tx.send(data(", have fun")).unwrap();
    tx.send(Ok(Frame::trailers(trailers()))).unwrap();
    drop(tx);

    assert_eq!(
        read(second).await,
        ("hello world, have fun".to_owned(), Some(trailers()))
    );
}

#[tokio::test]
async fn rb8_a_clone_that_is_dropped_changes_nothing() {
    let (tx, body) = channel();
    let (mut first, second) = pair(body, 64);
    tx.send(data("hello")).unwrap();
    drop(second);
    assert_eq!(chunk(&mut first).await, "hello");
    let mut third = first.try_clone().unwrap();
    let fourth = first.try_clone().unwrap();
    drop(first);

    assert_eq!(chunk(&mut third).await, "hello");
    drop(third);
    drop(tx);

    assert_eq!(read(fourth).await.0, "hello");
}

#[test]
fn rb9_an_empty_body_is_at_its_end_in_every_clone() {
    let (first, second) = pair(Body::empty(), 64);

    assert!(first.is_end_stream() && second.is_end_stream());
    assert_eq!(first.size_hint().exact(), Some(0));
    assert_eq!(second.size_hint().exact(), Some(0));
}

#[tokio::test]
async fn rb10_a_clone_is_at_its_end_when_it_was_read_itself() {
    for last in [None, Some(trailers())] {
        let (tx, body) = channel();
        let (mut first, mut second) = pair(body, 64);
        tx.send(data("hello")).unwrap();
        if let Some(trailers) = last.clone() {
            tx.send(Ok(Frame::trailers(trailers))).unwrap();
        }
        drop(tx);

        while first.frame().await.is_some() {}
        assert!(first.is_end_stream());
        assert!(!second.is_end_stream());

        assert_eq!(chunk(&mut second).await, "hello");
        assert_eq!(second.is_end_stream(), last.is_none());
        while second.frame().await.is_some() {}
        assert!(second.is_end_stream());
    }
}

#[tokio::test]
async fn rb11_rb12_the_byte_over_the_cap_is_yielded_and_ends_replay() {
    let (tx, body) = channel();
    let (mut first, mut second) = pair(body, 8);
    tx.send(data("12345678")).unwrap();
    assert_eq!(chunk(&mut first).await, "12345678");
    assert!(!first.is_capped() && !second.is_capped());

    tx.send(data("9")).unwrap();
    assert_eq!(chunk(&mut first).await, "9");
    assert!(first.is_capped() && second.is_capped());
    assert!(first.try_clone().is_none());
    drop(first);

    assert_eq!(error(second.frame().await), ReplayError::Capped);
    assert!(second.is_capped());
}

#[tokio::test]
async fn rb13_a_replay_that_reaches_the_cap_still_yields_all() {
    let (tx, body) = channel();
    let (mut first, mut second) = pair(body, 8);
    let mut third = first.try_clone().unwrap();
    tx.send(data("12345678")).unwrap();
    assert_eq!(chunk(&mut first).await, "12345678");
    drop(first);

    tx.send(data("90")).unwrap();
    tx.send(data("ab")).unwrap();
    assert_eq!(chunk(&mut second).await, "12345678");
    assert_eq!(chunk(&mut second).await, "90");
    assert_eq!(chunk(&mut second).await, "ab");
    drop(second);

    assert_eq!(error(third.frame().await), ReplayError::Capped);
}

#[tokio::test]
async fn rb15_size_hint_is_exact_and_shrinks() {
    let (mut first, second) = pair(Body::from("12345"), 64);
    assert_eq!(first.size_hint().exact(), Some(5));
    assert_eq!(second.size_hint().exact(), Some(5));

    chunk(&mut first).await;
    assert_eq!(first.size_hint().exact(), Some(0));
    assert_eq!(second.size_hint().exact(), Some(5));
}

#[tokio::test]
async fn size_hint_counts_what_is_kept_and_not_handed_on() {
    let (tx, body) = channel();
    let (mut first, mut second) = pair(body, 64);
    tx.send(data("123")).unwrap();
    tx.send(data("45")).unwrap();
    chunk(&mut first).await;
    chunk(&mut first).await;
    drop(first);

    chunk(&mut second).await;

    assert_eq!(second.size_hint().lower(), 2);
    assert_eq!(second.size_hint().upper(), None);
}

#[tokio::test]
async fn a_body_that_declares_more_than_the_cap_is_never_kept() {
    let first = ReplayBody::new(Body::from(vec![7; 65]), 64);

    assert!(first.is_capped());
    assert!(first.try_clone().is_none());
    assert_eq!(first.size_hint().exact(), Some(65));
    assert_eq!(read(first).await.0.len(), 65);
}

/// K11.
#[tokio::test]
async fn k11_a_huge_stream_keeps_nothing_beyond_the_cap() {
    let chunk = Bytes::from(vec![0; 1 << 20]);
    let frames = (0..1024).map(move |_| Ok::<_, BoxError>(Frame::data(chunk.clone())));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    let (mut first, second) = pair(body, ReplayBody::DEFAULT_CAP);

    let mut sent = 0;
    while let Some(frame) = first.frame().await {
        sent += frame.unwrap().into_data().unwrap().len();
        let Inner::Recorded(reader) = &first.inner else {
            panic!("recorded")
        };
        let slot = reader.shared.slot();
        assert!(
            slot.recording
                .as_ref()
                .is_some_and(|recording| recording.chunks.is_empty())
        );
    }

    assert_eq!(sent, 1 << 30);
    assert!(second.is_capped());
}

#[tokio::test]
async fn a_body_that_failed_fails_again() {
    let (tx, body) = channel();
    let (mut first, mut second) = pair(body, 64);
    tx.send(data("hello")).unwrap();
    tx.send(Err("caller went away".into())).unwrap();
    chunk(&mut first).await;
    assert!(first.frame().await.unwrap().is_err());
    drop(first);

    assert_eq!(chunk(&mut second).await, "hello");
    assert_eq!(error(second.frame().await), ReplayError::Failed);
}

#[tokio::test]
async fn a_later_try_takes_the_body_from_an_earlier_one() {
    let (tx, body) = channel();
    let (mut first, second) = pair(body, 64);
    tx.send(data("hello")).unwrap();
    chunk(&mut first).await;
    let mut second = second;
    assert_eq!(chunk(&mut second).await, "hello");

    tx.send(data(" world")).unwrap();
    drop(tx);

    assert_eq!(error(first.frame().await), ReplayError::Superseded);
    assert_eq!(read(second).await.0, " world");
}

#[tokio::test]
async fn a_try_that_waits_for_data_hears_that_it_is_over() {
    let (tx, body) = channel();
    let (mut first, second) = pair(body, 8);
    tx.send(data("hello")).unwrap();
    chunk(&mut first).await;
    let first = tokio::spawn(async move { error(first.frame().await) });
    tokio::task::yield_now().await;
    assert!(!first.is_finished());

    assert!(second.take_over());

    assert_eq!(first.await.unwrap(), ReplayError::Superseded);
    tx.send(data(" world")).unwrap();
    drop(tx);
    assert_eq!(read(second).await.0, "hello world");
}

#[tokio::test]
async fn nothing_is_taken_over_that_cannot_be_sent() {
    let (tx, body) = channel();
    let (mut first, second) = pair(body, 4);
    tx.send(data("hello")).unwrap();
    chunk(&mut first).await;
    tx.send(data(" world")).unwrap();
    drop(tx);

    assert!(!second.take_over());

    assert_eq!(read(first).await.0, " world");
}
