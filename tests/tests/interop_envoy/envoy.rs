//! Envoy, set up as Istio sets it up: secrets from files, identities in typed names, protocols by ALPN.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mesh_tests::process::program;
use mesh_tests::world::plain_text_of;
use mesh_tls::authority::{DevCa, Issued};
use serde_json::{Value, json};

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const HTTP: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
/// What Envoy says where it answers itself.
const REASON: &str = "%LOCAL_REPLY_BODY% %UPSTREAM_TRANSPORT_FAILURE_REASON%";
const PROTOCOL: &str = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A running Envoy, killed with the test.
pub(crate) struct Envoy {
    process: Child,
    admin: SocketAddr,
    /// Where its secrets are.
    pub(crate) secrets: Secrets,
}

/// The secrets of an Envoy: a file for each, replaced as a whole.
#[derive(Clone)]
pub(crate) struct Secrets(PathBuf);

/// What Envoy is, and whom it takes.
#[derive(Clone)]
pub(crate) struct Context {
    /// The versions of TLS: `TLSv1_2` or `TLSv1_3`.
    pub(crate) version: &'static str,
    /// The names of the protocols.
    pub(crate) alpn: &'static [&'static str],
    /// The matcher of the peer's URI name.
    pub(crate) peer: Value,
}

impl Secrets {
    /// Puts an identity and the authority that Envoy trusts in place.
    pub(crate) fn new(directory: &Path, own: &Issued, ca: &DevCa) -> Self {
        let secrets = Self(directory.to_owned());
        secrets.own(own);
        secrets.trust(&[ca]);
        secrets
    }

    /// The identity that Envoy shows from now on.
    pub(crate) fn own(&self, own: &Issued) {
        let certificate = json!({
            "certificate_chain": { "inline_string": own.chain_pem },
            "private_key": { "inline_string": own.key_pem },
        });
        self.write("own", "tls_certificate", &certificate);
    }

    /// The authorities that Envoy trusts from now on.
    pub(crate) fn trust(&self, authorities: &[&DevCa]) {
        let pem: String = authorities.iter().map(|ca| ca.certificate_pem()).collect();
        let context = json!({ "trusted_ca": { "inline_string": pem } });
        self.write("roots", "validation_context", &context);
    }

    fn write(&self, name: &str, kind: &str, secret: &Value) {
        let resource = json!({ "@type": format!("{TLS}.Secret"), "name": name, kind: secret });
        let draft = self.0.join(format!("{name}.tmp"));
        std::fs::write(&draft, json!({ "resources": [resource] }).to_string()).unwrap();
        std::fs::rename(draft, self.0.join(format!("{name}.json"))).unwrap();
    }

    fn config(&self, name: &str) -> Value {
        let path = self.0.join(format!("{name}.json"));
        json!({ "name": name, "sds_config": { "path_config_source": { "path": path }, "resource_api_version": "V3" } })
    }
}

impl Context {
    fn common(&self, secrets: &Secrets) -> Value {
        json!({
            "tls_params": { "tls_minimum_protocol_version": self.version, "tls_maximum_protocol_version": self.version },
            "alpn_protocols": self.alpn,
            "tls_certificate_sds_secret_configs": [secrets.config("own")],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": self.peer }],
                },
                "validation_context_sds_secret_config": secrets.config("roots"),
            },
        })
    }

    /// A cluster of one endpoint that is called in mTLS.
    pub(crate) fn cluster(&self, secrets: &Secrets, name: &str, address: SocketAddr, http2: bool) -> Value {
        let mut cluster = plain_cluster(name, address, http2);
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.UpstreamTlsContext"),
                "common_tls_context": self.common(secrets),
                "sni": format!("outbound_.80_._.{name}.shop.svc.cluster.local"),
            },
        });
        cluster
    }

    /// A listener that demands a client certificate and sends requests to a cluster.
    pub(crate) fn listener(&self, secrets: &Secrets, name: &str, cluster: &str) -> Value {
        let mut listener = plain_listener(name, &json!({ "cluster": cluster }));
        let filters = &mut listener["filter_chains"][0];
        filters["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.DownstreamTlsContext"),
                "common_tls_context": self.common(secrets),
                "require_client_certificate": true,
            },
        });
        let manager = &mut filters["filters"][0]["typed_config"];
        manager["forward_client_cert_details"] = json!("SANITIZE_SET");
        manager["set_current_client_cert_details"] = json!({ "uri": true });
        listener
    }
}

/// A cluster in plain text; a connection carries one request, so that the next one has a new handshake.
pub(crate) fn plain_cluster(name: &str, address: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 {
        "http2_protocol_options"
    } else {
        "http_protocol_options"
    };
    let endpoint = json!({ "address": socket(address) });
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }] },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": PROTOCOL,
                "explicit_http_config": { protocol: {} },
                "common_http_protocol_options": { "max_requests_per_connection": 1 },
            },
        },
    })
}

/// A listener in plain text whose requests name their cluster in the header `x-to`; what they say of certificates is kept.
pub(crate) fn outbound(name: &str) -> Value {
    let mut listener = plain_listener(name, &json!({ "cluster_header": "x-to" }));
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["forward_client_cert_details"] = json!("ALWAYS_FORWARD_ONLY");
    listener
}

fn plain_listener(name: &str, route: &Value) -> Value {
    let router = json!({ "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER } });
    let hosts =
        json!([{ "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": route }] }]);
    let manager = json!({
        "@type": HTTP,
        "stat_prefix": name,
        "http_filters": [router],
        "route_config": { "virtual_hosts": hosts },
        "local_reply_config": { "body_format": { "text_format_source": { "inline_string": REASON } } },
    });
    json!({
        "name": name,
        "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// Where Envoy is; `None`, and a word about it, where there is none.
pub(crate) fn binary() -> Option<PathBuf> {
    program("MESH_ENVOY", "envoy")
}

impl Envoy {
    /// Starts it, and waits until it takes requests.
    pub(crate) async fn start(binary: &Path, secrets: &Secrets, listeners: Vec<Value>, clusters: Vec<Value>) -> Self {
        let directory = &secrets.0;
        let bootstrap = json!({
            "admin": { "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))) },
            "static_resources": { "listeners": listeners, "clusters": clusters },
            "node": { "id": "interop", "cluster": "interop" },
        });
        let (config, admin, log) = (
            directory.join("bootstrap.json"),
            directory.join("admin.txt"),
            directory.join("envoy.log"),
        );
        std::fs::write(&config, bootstrap.to_string()).unwrap();
        let said = std::fs::File::create(&log).unwrap();
        let process = Command::new(binary)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
            .args([Path::new("--admin-address-path"), &admin, Path::new("-c"), &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn();
        let mut envoy = Self {
            process: process.unwrap(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            secrets: secrets.clone(),
        };
        envoy.wait(&admin, &log).await;
        envoy
    }

    async fn wait(&mut self, admin: &Path, log: &Path) {
        let says = || std::fs::read_to_string(log).unwrap_or_default();
        for _ in 0..600 {
            assert!(self.process.try_wait().unwrap().is_none(), "envoy ended: {}", says());
            let address = std::fs::read_to_string(admin).ok().and_then(|text| text.parse().ok());
            if let Some(address) = address {
                self.admin = address;
                if self.ask("/ready").await.contains("LIVE") {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("envoy is not ready: {}", says());
    }

    /// A page of its admin interface.
    pub(crate) async fn ask(&self, path: &str) -> String {
        match tokio::net::TcpStream::connect(self.admin).await {
            Ok(_) => plain_text_of("admin", self.admin, path).await,
            Err(_) => String::new(),
        }
    }

    /// Where a listener listens.
    pub(crate) async fn address(&self, listener: &str) -> SocketAddr {
        let page = self.ask("/listeners").await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(listener)?.strip_prefix("::"));
        line.unwrap_or_else(|| panic!("no listener {listener}: {page}"))
            .trim()
            .parse()
            .unwrap()
    }

    /// A counter of Envoy.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let page = self.ask(&format!("/stats?filter={name}")).await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
