//! A service mesh inside of a service: client, server, gateway, reload and telemetry, by policy files.
//!
//! [`Mesh`] is where to begin.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mesh_tower::{Body, Mesh, workload};
//!
//! let mesh = Mesh::builder().policy("policy/").workload(workload::from_env()?).build().await?;
//! let orders = mesh.client();
//! let response = orders.send(http::Request::get("http://orders/api").body(Body::empty())?).await?;
//! println!("{}", response.status());
//! # Ok(()) }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`mesh`] | the mesh of a process, its builder, the state of its policy |
//! | [`client`] | the way out: routes, tries, connections |
//! | [`server`] | the way in: mTLS, identity, authorization |
//! | [`gateway`] | the front door |
//! | [`layer`] | single features as tower layers |
//! | [`discovery`] | endpoints by DNS |
//! | [`telemetry`], [`admin`] | metrics, access log, traces; pages that show them |
//! | [`reload`] | watching policy files |
//! | [`testing`] | policy tests in `cargo test` |
//! | [`workload`] | who this process is |
//!
//! # Features
//!
//! `axum` (default): a listener for `axum::serve`, and extractors of the caller's identity.

pub mod admin;
pub mod body;
mod brought;
pub mod client;
pub mod clock;
pub mod discovery;
mod dormant;
pub mod gateway;
mod in_place;
pub mod layer;
pub mod mesh;
pub mod reload;
pub mod server;
pub mod stream;
pub mod telemetry;
pub mod testing;
pub mod workload;

pub use body::Body;
pub use mesh::Mesh;
pub use mesh_core as core;
pub use mesh_tls as tls;

/// Keeps the README's code true.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
