use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use mesh_core::decide::retry::{Attempt, Budget, Repeat, backoff, decide};
use mesh_core::outcome::Outcome;
use mesh_core::policy::model::Origin;
use mesh_core::policy::model::traffic::{RetryBudget, RetryOn, RetryPolicy};
use mesh_core::request::is_grpc;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{Body, BoxError};
use crate::client::Error;
use crate::client::repeat::{Copies, Repeatable};
use crate::client::replay::ReplayBody;
use crate::clock::{Clock, Entropy};
use crate::telemetry::head::grpc_status;

/// Tries requests again, with Envoy's conditions, full jitter, and a budget that keeps retries from becoming a storm.
///
/// A request whose method is not idempotent, and that has no `Idempotency-Key`, is tried again only where no server has
/// seen it. Bodies are kept up to a limit; larger ones are sent once.
///
/// ```
/// use mesh_tower::layer::RetryLayer;
///
/// let retries = RetryLayer::new(3, "5xx,connect-failure".parse()?).replay_limit(16 * 1024);
/// # let _ = retries;
/// # Ok::<(), mesh_tower::core::decide::retry::RetryOnError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetryLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: RetryPolicy,
    /// What the budget is made of.
    allowance: RetryBudget,
    budget: Budget,
    clock: Clock,
    entropy: Entropy,
    replay_limit: usize,
}

impl RetryLayer {
    /// Up to `attempts` further tries on `on`, with the default backoff (25 to 250 ms) and budget (20 % and ten a second).
    #[must_use]
    pub fn new(attempts: u32, on: RetryOn) -> Self {
        Self::from_policy(
            RetryPolicy::new(attempts, on, Origin::default()),
            RetryBudget::default(),
        )
    }

    /// Retries as a policy has them. Its `per_try_timeout` is not this layer's business: put a timeout below it.
    #[must_use]
    pub fn from_policy(policy: RetryPolicy, budget: RetryBudget) -> Self {
        Self {
            shared: Arc::new(Shared {
                policy,
                allowance: budget,
                budget: Budget::new(budget),
                clock: Clock::new(),
                entropy: Entropy::from_system(),
                replay_limit: ReplayBody::DEFAULT_CAP,
            }),
        }
    }

    /// How much of a body is kept to be sent again, in bytes. Default 64 KiB.
    #[must_use]
    pub fn replay_limit(self, bytes: usize) -> Self {
        self.with(|shared| shared.replay_limit = bytes)
    }

    /// The randomness of the pauses.
    #[must_use]
    pub fn entropy(self, entropy: Entropy) -> Self {
        self.with(|shared| shared.entropy = entropy)
    }

    /// Layers are described before they are shared; a clone that exists already keeps its settings.
    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = match Arc::try_unwrap(self.shared) {
            Ok(shared) => shared,
            Err(shared) => Shared {
                policy: shared.policy.clone(),
                allowance: shared.allowance,
                budget: Budget::new(shared.allowance),
                clock: shared.clock,
                entropy: shared.entropy.clone(),
                replay_limit: shared.replay_limit,
            },
        };
        change(&mut shared);
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            shared: Arc::clone(&self.shared),
            inner,
        }
    }
}

/// A service whose requests are tried again. Made by [`RetryLayer`].
#[derive(Clone)]
pub struct Retry<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = RetryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.shared.policy.attempts == 0 {
            return RetryFuture::once(self.inner.call(request.map(Body::new)));
        }
        // The instance that was made ready takes the first try; its clone waits for the next request.
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        RetryFuture::tries(Box::pin(tries(Arc::clone(&self.shared), ready, request.map(Body::new))))
    }
}

type Tries = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

pin_project! {
    /// The answer to the last try. Of a layer that never tries again, the inner service's own.
    pub struct RetryFuture<F> {
        #[pin]
        answering: Either<F, Tries>,
    }
}

impl<F> RetryFuture<F> {
    const fn once(answering: F) -> Self {
        Self {
            answering: Either::Left(answering),
        }
    }

    const fn tries(tries: Tries) -> Self {
        Self {
            answering: Either::Right(tries),
        }
    }
}

impl<F> fmt::Debug for RetryFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}

impl<F, E> Future for RetryFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answering.as_pin_mut() {
            Either::Left(once) => once.poll(cx).map_err(Into::into),
            Either::Right(tries) => tries.poll(cx),
        }
    }
}

async fn tries<S>(shared: Arc<Shared>, mut service: S, request: Request<Body>) -> Result<Response<Body>, BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
{
    let repeat = Repeat::of(request.method(), request.headers());
    let is_grpc = is_grpc(request.headers());
    let mut request = Repeatable::new(Box::new(request), shared.replay_limit);
    shared.budget.deposit(shared.clock.now());
    let mut number = 0;
    loop {
        number += 1;
        let copies = if number <= shared.policy.attempts {
            Copies::Keep
        } else {
            Copies::None
        };
        let next = request.take(copies).ok_or("the request cannot be sent again")?;
        let result = service.call(*next).await.map_err(Into::into);
        let attempt = attempt(&result, is_grpc);
        let is_wanted = decide(&shared.policy.on, &attempt, repeat).is_retry();
        let is_allowed = number <= shared.policy.attempts && request.can_repeat();
        if !is_wanted || !is_allowed || !shared.budget.withdraw(shared.clock.now()) || !request.take_over() {
            return result;
        }
        drop(result);
        tokio::time::sleep(backoff(number, &shared.policy.backoff, &mut &shared.entropy)).await;
        std::future::poll_fn(|cx| service.poll_ready(cx))
            .await
            .map_err(Into::into)?;
    }
}

/// What a result says. Errors that are not the mesh's count as a connection that broke under way.
fn attempt(result: &Result<Response<Body>, BoxError>, is_grpc: bool) -> Attempt {
    match result {
        Ok(response) => {
            let status = is_grpc.then(|| grpc_status(response.headers())).flatten();
            let attempt = Attempt::response(response.status(), status);
            match response.headers().contains_key("x-envoy-ratelimited") {
                true => attempt.rate_limited(),
                false => attempt,
            }
        }
        Err(error) => Attempt::failed(
            error
                .downcast_ref::<Error>()
                .map_or(Outcome::UpstreamReset, Error::outcome),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Method, StatusCode};
    use http_body_util::BodyExt;
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Fails `failures` times with 503, then echoes the body; tells how often it was asked.
    async fn ask(
        layer: RetryLayer,
        failures: usize,
        method: Method,
        body: &'static str,
    ) -> (StatusCode, String, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Body>| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let mut response = Response::new(Body::from(body));
                if number < failures {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                }
                Ok::<_, BoxError>(response)
            }
        });
        let request = Request::builder()
            .method(method)
            .uri("/")
            .body(Body::from(body))
            .unwrap();
        let response = layer.layer(service).oneshot(request).await.unwrap();
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            String::from_utf8(text.to_vec()).unwrap(),
            asked.load(Ordering::SeqCst),
        )
    }

    fn layer(attempts: u32) -> RetryLayer {
        RetryLayer::new(attempts, "5xx".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_again_with_the_same_body() {
        assert_eq!(
            ask(layer(3), 2, Method::PUT, "order").await,
            (StatusCode::OK, "order".into(), 3)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_further_tries() {
        let (status, _, asked) = ask(layer(2), 9, Method::GET, "").await;
        assert_eq!((status, asked), (StatusCode::SERVICE_UNAVAILABLE, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_that_was_answered_is_not_sent_twice() {
        assert_eq!(ask(layer(3), 1, Method::POST, "order").await.2, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_beyond_the_limit_is_sent_once() {
        assert_eq!(ask(layer(3).replay_limit(4), 1, Method::PUT, "order").await.2, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_a_storm() {
        let none = RetryBudget::new(0, 0, std::time::Duration::from_secs(10));
        let policy = RetryPolicy::new(3, "5xx".parse().unwrap(), Origin::default());
        let layer = RetryLayer::from_policy(policy, none);
        assert_eq!(ask(layer.clone(), 9, Method::GET, "").await.2, 1);
        let changed = layer.clone().replay_limit(4);
        assert_eq!(
            ask(changed, 9, Method::GET, "").await.2,
            1,
            "a clone has a budget of the same size"
        );
    }
}
