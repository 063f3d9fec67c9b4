//! The part of a request's body that a check has: it is held back, and goes on to the application whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use mesh_core::policy::model::authorizer::{CheckedBody, LargerBody};

use crate::body::{Body, BoxError};

/// The beginning of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) bytes: Bytes,
    /// Whether there is more.
    pub(super) is_partial: bool,
}

/// Why there is no sample.
#[derive(Debug)]
pub(super) enum NoSample {
    /// The body is larger than the policy has checks see.
    TooLarge,
    /// The caller's body failed.
    Broken(BoxError),
}

/// Reads as much of the body as a check has; the request keeps all of it.
///
/// # Cancel safety
///
/// Not cancel safe: the request loses what was read. Whoever gives up answers it himself.
pub(super) async fn sample(request: &mut Request<Body>, wanted: CheckedBody) -> Result<Sample, NoSample> {
    let limit = wanted.limit as usize;
    if wanted.larger == LargerBody::Refuse && request.body().size_hint().lower() > u64::from(wanted.limit) {
        return Err(NoSample::TooLarge);
    }
    let mut held = Held::new(std::mem::take(request.body_mut()));
    while held.length <= limit {
        match held.rest.frame().await {
            Some(Ok(frame)) => held.keep(frame),
            Some(Err(error)) => return Err(NoSample::Broken(error)),
            None => {
                // What has ended is not polled again.
                held.rest = Body::empty();
                break;
            }
        }
    }
    let is_partial = held.length > limit;
    if is_partial && wanted.larger == LargerBody::Refuse {
        return Err(NoSample::TooLarge);
    }
    held.join();
    let bytes = held.first(limit);
    *request.body_mut() = Body::new(held);
    Ok(Sample { bytes, is_partial })
}

/// Pieces below this size, in bytes, are put together.
const SMALL: usize = 1024;

/// A body whose beginning has been read.
struct Held {
    frames: VecDeque<Frame<Bytes>>,
    /// Small pieces in a row, which stand behind the frames: one frame for each would cost a hundred times what it holds.
    small: BytesMut,
    /// Bytes in both.
    length: usize,
    rest: Body,
}

impl Held {
    fn new(rest: Body) -> Self {
        Self {
            frames: VecDeque::new(),
            small: BytesMut::new(),
            length: 0,
            rest,
        }
    }

    fn keep(&mut self, frame: Frame<Bytes>) {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => {
                self.join();
                return self.frames.push_back(other);
            }
        };
        self.length += data.len();
        if data.len() < SMALL {
            return self.small.extend_from_slice(&data);
        }
        self.join();
        self.frames.push_back(Frame::data(data));
    }

    /// Makes one frame of the small pieces.
    fn join(&mut self) {
        if !self.small.is_empty() {
            self.frames.push_back(Frame::data(self.small.split().freeze()));
        }
    }

    /// At most this many bytes, copied only where they came in several pieces.
    fn first(&self, limit: usize) -> Bytes {
        let mut chunks = self.frames.iter().filter_map(Frame::data_ref);
        let (Some(first), second) = (chunks.next(), chunks.next()) else {
            return Bytes::new();
        };
        let Some(second) = second else {
            return first.slice(..first.len().min(limit));
        };
        let mut all = BytesMut::with_capacity(self.length);
        for chunk in [first, second].into_iter().chain(chunks) {
            all.extend_from_slice(chunk);
        }
        all.truncate(limit);
        all.freeze()
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.frames.pop_front() {
            self.length -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (held, rest) = (self.length as u64, self.rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(held.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(held.saturating_add(upper));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;

    use super::*;

    fn request(chunks: &[&'static str]) -> Request<Body> {
        let frames = chunks
            .iter()
            .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(*chunk))));
        let stream = futures_util::stream::iter(frames.collect::<Vec<_>>());
        Request::new(Body::new(StreamBody::new(stream)))
    }

    fn wanted(limit: u32, larger: LargerBody) -> CheckedBody {
        let mut wanted = CheckedBody::new(limit);
        wanted.larger = larger;
        wanted
    }

    async fn whole(request: Request<Body>) -> Bytes {
        request.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn the_application_gets_all_that_was_read() {
        for (chunks, limit, expected, is_partial) in [
            (&["ab", "cd", "ef"][..], 3, "abc", true),
            (&["ab", "cd", "ef"], 6, "abcdef", false),
            (&["abcdef"], 2, "ab", true),
            (&["abcdef"], 7, "abcdef", false),
            (&[], 7, "", false),
        ] {
            let mut request = request(chunks);
            let found = sample(&mut request, wanted(limit, LargerBody::Part)).await.unwrap();

            let expected = Sample {
                bytes: expected.into(),
                is_partial,
            };
            assert_eq!(found, expected);
            assert_eq!(whole(request).await, chunks.concat());
        }
    }

    #[tokio::test]
    async fn a_larger_body_is_refused_where_a_part_is_not_enough() {
        let known = Request::new(Body::from("abcdef"));
        for mut request in [request(&["ab", "cd", "ef"]), known] {
            let found = sample(&mut request, wanted(5, LargerBody::Refuse)).await;
            assert!(matches!(found, Err(NoSample::TooLarge)));
        }
        let exact = sample(&mut request(&["abc", "def"]), wanted(6, LargerBody::Refuse)).await;
        assert!(!exact.unwrap().is_partial);
    }

    #[tokio::test]
    async fn the_length_is_that_of_the_whole_body() {
        let mut request = Request::new(Body::from("abcdef"));
        let _ = sample(&mut request, wanted(2, LargerBody::Part)).await.unwrap();
        assert_eq!(request.body().size_hint().exact(), Some(6));
    }

    /// Many small pieces are one frame, empty ones none; all of it goes on in its order.
    #[tokio::test]
    async fn small_pieces_are_put_together() {
        let mut request = request(&["a", "", "b", "", "c", "defghij"]);

        let sample = sample(&mut request, wanted(4, LargerBody::Part)).await.unwrap();

        assert_eq!((&sample.bytes[..], sample.is_partial), (&b"abcd"[..], true));
        let first = request.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "abcdefghij");
        assert!(request.body_mut().frame().await.is_none());
    }
}
