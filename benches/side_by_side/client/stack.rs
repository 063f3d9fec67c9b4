//! What one would put together from tower and tower-http, around the pooled client.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::Connect;
use tower::balance::p2c::Balance;
use tower::buffer::Buffer;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Service, ServiceBuilder, ServiceExt as _};
use tower_http::trace::TraceLayer;

use super::pool::Pool;
use super::{BoxError, Sends};
use crate::server::{AT_A_TIME, TIMEOUT};

/// Retries beside first tries: as in the policy of the mesh, 20 % and ten a second.
const BUDGET: (Duration, u32, f32) = (Duration::from_secs(10), 10, 0.2);
/// What the balancer supposes before it has measured, and how fast it forgets.
const EWMA: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(10));

type Asked = Request<Full<Bytes>>;

/// A trace, load shedding, a limit, retries with a budget, a timeout, and a balancer over the endpoint. The balancer is no clone of
/// anything, so a buffer shares it, as in tonic's balanced channel.
pub(super) fn around<C>(pool: Pool<C>) -> impl Sends
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let (rtt, decay) = EWMA;
    let endpoint = PeakEwma::new(pool, rtt, decay.as_nanos() as f64, CompleteOnResponse::default());
    let balance = Balance::new(ServiceList::new::<Asked>([endpoint]));
    let (ttl, reserve, ratio) = BUDGET;
    let again = Again {
        budget: Arc::new(TpsBudget::new(ttl, reserve, ratio)),
        left: 2,
    };
    let stack = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .load_shed()
        .concurrency_limit(AT_A_TIME)
        .retry(again)
        .timeout(TIMEOUT)
        .service(Buffer::new(balance, AT_A_TIME));
    Stack(stack)
}

/// Tries again what the server failed at.
#[derive(Clone)]
struct Again {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl Policy<Asked, Response<Incoming>, BoxError> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Asked, result: &mut Result<Response<Incoming>, BoxError>) -> Option<Ready<()>> {
        let is_failed = result
            .as_ref()
            .map_or(true, |response| response.status().is_server_error());
        if !is_failed {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Asked) -> Option<Asked> {
        Some(request.clone())
    }
}

#[derive(Clone)]
struct Stack<S>(S);

impl<S, B> Sends for Stack<S>
where
    S: Service<Asked, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Body = B;

    async fn send(&self, request: Request<Bytes>) -> Result<Response<B>, BoxError> {
        self.0.clone().oneshot(request.map(Full::new)).await
    }
}
