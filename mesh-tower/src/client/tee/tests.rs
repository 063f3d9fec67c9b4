use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;

use super::*;

type Sender = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

/// A body that yields what the test sends, and its copy.
fn followed(cap: usize) -> (Sender, Body, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let (body, mut copies) = split(Body::new(StreamBody::new(frames)), 1, cap);
    (sender, body, copies.pop().unwrap())
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

async fn chunk(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

async fn text(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

fn is_given_up(frame: Option<Result<Frame<Bytes>, BoxError>>) -> bool {
    frame.is_some_and(|frame| frame.is_err_and(|error| error.is::<GivenUp>()))
}

#[tokio::test]
async fn what_is_known_is_given_to_each() {
    let (body, copies) = split(Body::from("order"), 2, 5);
    assert_eq!(text(body).await, "order");
    for copy in copies {
        assert_eq!(copy.size_hint().exact(), Some(5));
        assert_eq!(text(copy).await, "order");
    }
    let (_, copies) = split(Body::empty(), 2, 5);
    assert!(copies.len() == 2 && copies.iter().all(http_body::Body::is_end_stream));
    assert_eq!(split(Body::from("orders"), 2, 5).1.len(), 0);
}

#[tokio::test]
async fn a_copy_asks_for_nothing_and_gets_what_passes() {
    let (tx, mut body, copy) = followed(64);
    tx.send(data("a ")).unwrap();
    tx.send(data("par")).unwrap();
    let copy = tokio::spawn(copy.collect());
    tokio::task::yield_now().await;

    assert_eq!(chunk(&mut body).await, "a ");
    assert_eq!(chunk(&mut body).await, "par");
    let trailers: HeaderMap = [(http::header::ETAG, http::HeaderValue::from_static("7"))]
        .into_iter()
        .collect();
    tx.send(data("cel")).unwrap();
    tx.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(tx);
    assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));

    let copy = copy.await.unwrap().unwrap();
    assert_eq!(copy.trailers(), Some(&trailers));
    assert_eq!(copy.to_bytes(), "a parcel");
}

#[tokio::test]
async fn a_copy_that_comes_late_gets_all() {
    let (tx, body, copy) = followed(64);
    tx.send(data("a ")).unwrap();
    tx.send(data("parcel")).unwrap();
    drop(tx);

    assert_eq!(text(body).await, "a parcel");
    assert_eq!(text(copy).await, "a parcel");
}

#[tokio::test]
async fn beyond_the_cap_the_copy_fails_and_the_request_goes_on() {
    let (tx, mut body, mut copy) = followed(8);
    tx.send(data("12345678")).unwrap();
    chunk(&mut body).await;
    assert_eq!(chunk(&mut copy).await, "12345678");

    tx.send(data("9")).unwrap();
    drop(tx);

    assert_eq!(text(body).await, "9");
    assert!(is_given_up(copy.frame().await));
}

#[tokio::test]
async fn a_copy_fails_with_the_body_of_its_request() {
    let (tx, mut body, mut copy) = followed(8);
    tx.send(data("12")).unwrap();
    tx.send(Err("caller went away".into())).unwrap();
    chunk(&mut body).await;
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(chunk(&mut copy).await, "12");
    assert!(is_given_up(copy.frame().await));

    let (_tx, body, mut copy) = followed(8);
    drop(body);
    assert!(is_given_up(copy.frame().await));
}

#[tokio::test]
async fn a_body_that_is_dropped_at_its_known_end_was_whole() {
    let known = http_body_util::Full::new(Bytes::from_static(b"order"));
    let (mut body, mut copies) = split(Body::new(known.map_err(BoxError::from)), 1, 8);
    chunk(&mut body).await;
    drop(body);

    assert_eq!(text(copies.pop().unwrap()).await, "order");
}
