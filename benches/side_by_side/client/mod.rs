//! The process of the load client.

mod load;
pub(crate) mod pace;
mod pool;
mod stack;

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::workload::Workload;
use mesh_tower::Body;

use crate::identities::WEB;
use crate::matrix::Flavour;
use crate::outcome::Outcome;
use crate::role::{Load, Side};
use crate::server::mesh;
use crate::service::Question;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client of any kind.
pub(crate) trait Sends: Clone + Send + Sync + 'static {
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;

    fn send(&self, request: Request<Bytes>) -> impl Future<Output = Result<Response<Self::Body>, BoxError>> + Send;
}

/// Measures, and prints what came out as a line of JSON.
pub(crate) async fn run(side: Side, load: Load) -> Result<(), Box<dyn std::error::Error>> {
    let authority = match side.flavour {
        Flavour::Mesh => "orders".to_owned(),
        Flavour::Bare | Flavour::Tower => side.address.to_string(),
    };
    let question = Question::new(side.traffic, &authority);
    let outcome = measured(&side, &load, question).await?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn measured(side: &Side, load: &Load, question: Question) -> Result<Outcome, Box<dyn std::error::Error>> {
    let rate = side.traffic.rate();
    Ok(match (side.flavour, side.is_tls) {
        (Flavour::Bare, false) => load::run(pool::plain(side), question, load, rate).await?,
        (Flavour::Bare, true) => load::run(pool::tls(side)?, question, load, rate).await?,
        (Flavour::Tower, false) => load::run(stack::around(pool::plain(side)), question, load, rate).await?,
        (Flavour::Tower, true) => load::run(stack::around(pool::tls(side)?), question, load, rate).await?,
        (Flavour::Mesh, _) => {
            let mesh = mesh(side, Workload::new("shop", WEB)).await?;
            load::run(mesh.client(), question, load, rate).await?
        }
    })
}

impl Sends for mesh_tower::client::Client {
    type Body = Body;

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        Ok(Self::send(self, request.map(Body::full)).await?)
    }
}
