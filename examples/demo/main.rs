//! A small shop over real sockets: a front door with TLS, `orders` in two versions, `payments` on three endpoints.
//!
//! Each service has its own identity from a development CA; mTLS is strict; the policy is `examples/policies/`, which
//! may be edited while the demo runs. `cargo run --release --example demo`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a demo speaks to its user")]

mod assertions;
mod load;
mod screen;
mod shop;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::load::Load;
use crate::screen::Screen;
use crate::shop::{Policies, Shop};

/// Runs a small shop on the mesh.
#[derive(Debug, Parser)]
struct Arguments {
    /// Writes the addresses as JSON once all listen.
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,
    /// Ends by itself after this time, such as `30s`.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// Changes the policy, breaks it, makes an endpoint fail and calls as somebody else; checks every effect.
    #[arg(long)]
    assert: bool,
    /// Directory of the policies; with --assert a copy of it is used.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/policies"))]
    policies: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    mesh_core::time::parse_duration(text).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // The screen tells what happens; RUST_LOG=info shows the log of every service, too.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let policies = if arguments.assert {
        Policies::copied(&arguments.policies)?
    } else {
        Policies::at(&arguments.policies)
    };
    let shop = Shop::open(policies).await?;
    if let Some(file) = &arguments.addresses {
        write_addresses(file, &shop)?;
    }
    let load = Load::start(&shop);
    let screen = Screen::new(&shop, &load);
    if arguments.assert {
        let limit = arguments.time.unwrap_or(Duration::from_secs(20));
        return assertions::run(&shop, &load, limit).await;
    }
    screen.introduce();
    tokio::select! {
        () = screen.run() => {}
        () = end(arguments.time) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    shop.close().await;
    Ok(())
}

async fn end(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep_until((Instant::now() + time).into()).await,
        None => std::future::pending().await,
    }
}

/// A new file takes the place of the old one, so that nobody reads half of it.
fn write_addresses(file: &PathBuf, shop: &Shop) -> anyhow::Result<()> {
    let draft = file.with_extension("tmp");
    std::fs::write(&draft, serde_json::to_string_pretty(&shop.addresses())?)?;
    std::fs::rename(&draft, file).with_context(|| format!("cannot write {}", file.display()))
}
