//! What a process of a run is told to be: this program runs itself again, with its role in the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::matrix::{Flavour, Traffic};

/// Holds the role, as JSON.
const ROLE: &str = "MESH_SIDE_BY_SIDE_ROLE";

#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    Server(Side),
    Client(Side, Load),
    /// A client that stays, and sends when it is told to.
    Turns(Side),
}

/// What both sides are told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) flavour: Flavour,
    pub(crate) traffic: Traffic,
    /// Whether it speaks TLS itself.
    pub(crate) is_tls: bool,
    /// Where the service listens, or the client connects to.
    pub(crate) address: SocketAddr,
    /// Where certificates are, by the names of `identities`.
    pub(crate) identities: PathBuf,
    /// The policy of the mesh.
    pub(crate) policy: PathBuf,
    /// Threads that serve or send.
    pub(crate) workers: usize,
}

/// What the client does besides.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) warm_up: Duration,
    pub(crate) saturation: Duration,
    /// Zero for a control, which has no such phase.
    pub(crate) fixed: Duration,
    /// The process of the service.
    pub(crate) server: u32,
    /// The processes in between.
    pub(crate) proxies: Vec<u32>,
}

/// What a client that stays is told to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Turn {
    /// As many requests as go through.
    Burst(Duration),
    AtRate {
        /// For which nothing is measured.
        warm_up: Duration,
        length: Duration,
    },
}

impl Role {
    /// Threads that it works with.
    pub(crate) const fn workers(&self) -> usize {
        match self {
            Self::Server(side) | Self::Client(side, _) | Self::Turns(side) => side.workers,
        }
    }

    /// The role of this process, if it has one.
    pub(crate) fn own() -> Option<Result<Self, String>> {
        let text = std::env::var(ROLE).ok()?;
        Some(serde_json::from_str(&text).map_err(|error| format!("{ROLE}: {error}")))
    }

    pub(crate) fn put_into(&self, command: &mut Command) {
        let text = serde_json::to_string(self).unwrap();
        command.env(ROLE, text);
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Server(_) => "the service",
            Self::Client(..) | Self::Turns(_) => "the load client",
        }
    }
}
