//! The process of the load client.

mod load;
pub(crate) mod pace;
mod pool;
mod stack;
mod turns;

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::workload::Workload;
use mesh_tower::Body;

use crate::identities::WEB;
use crate::matrix::Flavour;
use crate::role::{Load, Side};
use crate::server::mesh;
use crate::service::Question;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client of any kind.
pub(crate) trait Sends: Clone + Send + Sync + 'static {
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send;
}

/// What the client is there for.
pub(crate) enum Task {
    /// Both phases once, after which it ends.
    Load(Load),
    /// Turns, when it is told so.
    Turns,
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Measures, and prints what came out in lines of JSON.
pub(crate) async fn run(side: Side, task: Task) -> Done {
    let authority = match side.flavour {
        Flavour::Mesh => "orders".to_owned(),
        Flavour::Bare | Flavour::Tower => side.address.to_string(),
    };
    let question = Question::new(side.traffic, &authority);
    let rate = side.traffic.rate();
    match (side.flavour, side.is_tls) {
        (Flavour::Bare, false) => work(pool::plain(&side), question, task, rate).await,
        (Flavour::Bare, true) => work(pool::tls(&side)?, question, task, rate).await,
        (Flavour::Tower, false) => work(stack::around(pool::plain(&side)), question, task, rate).await,
        (Flavour::Tower, true) => work(stack::around(pool::tls(&side)?), question, task, rate).await,
        (Flavour::Mesh, _) => {
            let mesh = mesh(&side, Workload::new("shop", WEB)).await?;
            work(mesh.client(), question, task, rate).await
        }
    }
}

async fn work(sender: impl Sends, question: Question, task: Task, rate: u32) -> Done {
    match task {
        Task::Load(load) => {
            let outcome = load::run(sender, question, &load, rate).await?;
            println!("{}", serde_json::to_string(&outcome)?);
            Ok(())
        }
        Task::Turns => turns::run(sender, question, rate).await,
    }
}

impl Sends for mesh_tower::client::Client {
    type Body = Body;

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        Ok(Self::send(self, request.map(Body::full)).await?)
    }
}
