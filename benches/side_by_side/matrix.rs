//! What is compared: who carries the requests, and which requests.

use serde::{Deserialize, Serialize};

/// Who carries a request from the load client to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Configuration {
    /// hyper-util's pooled client and axum, in plain text: no mesh at all.
    BarePool,
    /// The same over mutual TLS.
    BarePoolMtls,
    /// This library on both sides, in plain text.
    MeshPlain,
    /// This library on both sides, with everything that it does.
    MeshMtls,
    /// Layers of tower and tower-http, put together by hand.
    Tower,
    /// The same over mutual TLS.
    TowerMtls,
    /// One HAProxy between the bare pair, in plain text.
    Haproxy,
    /// An HAProxy beside client and server each, mutual TLS between them.
    HaproxyPair,
    /// One nginx.
    Nginx,
    /// A pair of nginx.
    NginxPair,
    /// One Envoy.
    Envoy,
    /// A pair of Envoys that speak the client's version of HTTP to each other.
    EnvoyPair,
    /// A pair of Envoys that speak HTTP/2 to each other where the client speaks HTTP/1.1.
    EnvoyPairH2,
}

/// What client and server are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Flavour {
    /// hyper-util and axum.
    Bare,
    /// This library.
    Mesh,
    /// Layers of tower around the bare pair.
    Tower,
}

/// Somebody else's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Product {
    Haproxy,
    Nginx,
    Envoy,
}

use Configuration::{
    BarePool, BarePoolMtls, Envoy, EnvoyPair, EnvoyPairH2, Haproxy, HaproxyPair, MeshMtls, MeshPlain, Nginx, NginxPair,
    Tower, TowerMtls,
};

impl Configuration {
    pub(crate) const ALL: [Self; 13] = [
        BarePool,
        BarePoolMtls,
        MeshPlain,
        MeshMtls,
        Tower,
        TowerMtls,
        Haproxy,
        HaproxyPair,
        Nginx,
        NginxPair,
        Envoy,
        EnvoyPair,
        EnvoyPairH2,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            BarePool => "bare_pool",
            BarePoolMtls => "bare_pool_mtls",
            MeshPlain => "mesh_plain",
            MeshMtls => "mesh_mtls",
            Tower => "tower",
            TowerMtls => "tower_mtls",
            Haproxy => "haproxy",
            HaproxyPair => "haproxy_pair_mtls",
            Nginx => "nginx",
            NginxPair => "nginx_pair_mtls",
            Envoy => "envoy",
            EnvoyPair => "envoy_pair_mtls",
            EnvoyPairH2 => "envoy_pair_mtls_h2",
        }
    }

    pub(crate) const fn flavour(self) -> Flavour {
        match self {
            MeshPlain | MeshMtls => Flavour::Mesh,
            Tower | TowerMtls => Flavour::Tower,
            _ => Flavour::Bare,
        }
    }

    pub(crate) const fn product(self) -> Option<Product> {
        match self {
            Haproxy | HaproxyPair => Some(Product::Haproxy),
            Nginx | NginxPair => Some(Product::Nginx),
            Envoy | EnvoyPair | EnvoyPairH2 => Some(Product::Envoy),
            _ => None,
        }
    }

    /// Whether bytes between the two sides are encrypted, by whomever.
    pub(crate) const fn is_encrypted(self) -> bool {
        match self {
            BarePoolMtls | MeshMtls | TowerMtls | HaproxyPair | NginxPair | EnvoyPair | EnvoyPairH2 => true,
            BarePool | MeshPlain | Tower | Haproxy | Nginx | Envoy => false,
        }
    }

    /// Whether client and server encrypt themselves.
    pub(crate) const fn is_tls_of_the_process(self) -> bool {
        self.is_encrypted() && self.product().is_none()
    }

    /// The bare pair that does the same without a mesh.
    pub(crate) const fn baseline(self) -> Self {
        match self.is_encrypted() {
            true => BarePoolMtls,
            false => BarePool,
        }
    }
}

/// Which requests are sent, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Traffic {
    Http1Small,
    Http1Large,
    Http2Small,
    Http2Large,
    GrpcUnary,
    GrpcStreaming,
}

impl Traffic {
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Http1Small | Self::Http1Large => "h1",
            Self::Http2Small | Self::Http2Large => "h2",
            Self::GrpcUnary | Self::GrpcStreaming => "grpc",
        }
    }

    pub(crate) const fn body(self) -> &'static str {
        match self {
            Self::Http1Small | Self::Http2Small => "1KiB",
            Self::Http1Large | Self::Http2Large => "64KiB",
            Self::GrpcUnary => "unary-1KiB",
            Self::GrpcStreaming => "streaming-100x1KiB",
        }
    }

    pub(crate) const fn is_http2(self) -> bool {
        !matches!(self, Self::Http1Small | Self::Http1Large)
    }

    /// Requests a second of the second phase. A call of the stream is a hundred messages, so there are fewer.
    pub(crate) const fn rate(self) -> u32 {
        match self {
            Self::GrpcStreaming => 200,
            _ => 2_000,
        }
    }
}

/// One row of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) configuration: Configuration,
    pub(crate) traffic: Traffic,
}

/// Who is measured with which requests. Sidecars' cheapest case is small requests in HTTP/1.1, so that is where all of them are; nginx
/// 1.22 speaks no HTTP/2 to servers, so it is in HTTP/1.1 alone.
const MATRIX: [(Traffic, &[Configuration]); 6] = [
    (Traffic::Http1Small, &Configuration::ALL),
    (
        Traffic::Http1Large,
        &[
            BarePool,
            BarePoolMtls,
            MeshMtls,
            TowerMtls,
            HaproxyPair,
            NginxPair,
            EnvoyPair,
        ],
    ),
    (
        Traffic::Http2Small,
        &[
            BarePool,
            BarePoolMtls,
            MeshPlain,
            MeshMtls,
            TowerMtls,
            HaproxyPair,
            EnvoyPair,
        ],
    ),
    (
        Traffic::Http2Large,
        &[BarePool, BarePoolMtls, MeshMtls, HaproxyPair, EnvoyPair],
    ),
    (
        Traffic::GrpcUnary,
        &[BarePool, BarePoolMtls, MeshMtls, TowerMtls, EnvoyPair],
    ),
    (Traffic::GrpcStreaming, &[BarePool, BarePoolMtls, MeshMtls, EnvoyPair]),
];

impl Cell {
    /// The unmeshed pair that tells whether the machine was quiet.
    pub(crate) const CONTROL: Self = Self {
        configuration: BarePool,
        traffic: Traffic::Http1Small,
    };

    pub(crate) fn all() -> Vec<Self> {
        let row = |(traffic, configurations): (Traffic, &[Configuration])| {
            let cell = |&configuration: &Configuration| Self { configuration, traffic };
            configurations.iter().map(cell).collect::<Vec<_>>()
        };
        MATRIX.into_iter().flat_map(row).collect()
    }

    /// The cells whose name contains one of the texts, and the bare pairs that these are compared with.
    pub(crate) fn chosen(only: &[String]) -> Vec<Self> {
        let is_named = |cell: &Self| only.is_empty() || only.iter().any(|text| cell.name().contains(text.as_str()));
        let named: Vec<Self> = Self::all().into_iter().filter(is_named).collect();
        let is_baseline = |cell: &Self| {
            let compares = |other: &Self| other.baselines().contains(cell);
            named.iter().any(compares)
        };
        let is_wanted = |cell: &Self| named.contains(cell) || is_baseline(cell);
        Self::all().into_iter().filter(is_wanted).collect()
    }

    /// The bare pair with as much encryption, and the one without any.
    pub(crate) const fn baselines(self) -> [Self; 2] {
        [
            Self {
                configuration: self.configuration.baseline(),
                ..self
            },
            Self {
                configuration: BarePool,
                ..self
            },
        ]
    }

    pub(crate) fn name(self) -> String {
        let (protocol, body) = (self.traffic.protocol(), self.traffic.body());
        format!("{}/{protocol}/{body}", self.configuration.name())
    }

    /// Whether a bar of the project is set for these requests: such rows are measured in every round, others in every second.
    pub(crate) const fn is_headline(self) -> bool {
        matches!(self.traffic, Traffic::Http1Small)
    }
}
