//! The services of the shop, each with its own mesh, identity and socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use mesh_core::identity::{SpiffeId, TrustDomain};
use mesh_core::workload::Workload;
use mesh_tls::authority::DevCa;
use mesh_tower::client::Client;
use mesh_tower::server::Identity;
use mesh_tower::{Body, Mesh};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The host of the front door.
pub(crate) const HOST: &str = "shop.example.com";
const NAMESPACE: &str = "shop";
const HOUR: Duration = Duration::from_secs(3600);

/// Where the policies are, and what the demo writes beside them.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) directory: PathBuf,
    /// Certificates, and the addresses of the services.
    pub(crate) scratch: TempDir,
}

impl Policies {
    /// The directory itself, so that an edit is seen.
    pub(crate) fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            scratch: scratch(),
        }
    }

    /// A copy, which may be changed.
    pub(crate) fn copied(directory: &Path) -> anyhow::Result<Self> {
        let scratch = scratch();
        let copy = scratch.path().join("policies");
        std::fs::create_dir(&copy)?;
        for entry in std::fs::read_dir(directory).with_context(|| format!("no policies in {}", directory.display()))? {
            let entry = entry?;
            std::fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        Ok(Self {
            directory: copy,
            scratch,
        })
    }
}

#[expect(
    clippy::expect_used,
    reason = "without a directory for temporary files there is no demo"
)]
fn scratch() -> TempDir {
    tempfile::tempdir().expect("a directory for temporary files")
}

/// A service that runs.
pub(crate) struct Running {
    pub(crate) mesh: Mesh,
    pub(crate) address: SocketAddr,
    /// Whether it fails on purpose.
    pub(crate) fails: Arc<AtomicBool>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The whole shop.
pub(crate) struct Shop {
    pub(crate) policies: Policies,
    pub(crate) ca: DevCa,
    pub(crate) services: BTreeMap<&'static str, Running>,
    /// Plain HTTP on this machine: makes an endpoint fail, and well again.
    pub(crate) control: SocketAddr,
    controlling: JoinHandle<()>,
}

impl Shop {
    /// Opens the sockets, then tells the policy where they are, then starts the services.
    pub(crate) async fn open(policies: Policies) -> anyhow::Result<Self> {
        let ca = DevCa::new(TrustDomain::parse("cluster.local")?, SystemTime::now())?;
        let credential = policies.scratch.path().join("credentials/shop-certificate");
        ca.write_web(credential, &[HOST, "localhost", "127.0.0.1"], HOUR, SystemTime::now())?;
        let mut sockets = BTreeMap::new();
        for name in [
            "gateway",
            "orders-v1",
            "orders-v2",
            "payments-1",
            "payments-2",
            "payments-3",
        ] {
            sockets.insert(name, TcpListener::bind("127.0.0.1:0").await?);
        }
        std::fs::write(policies.scratch.path().join("endpoints.yaml"), endpoints(&sockets)?)?;
        let mut services = BTreeMap::new();
        for (name, socket) in sockets {
            services.insert(name, start(&policies, &ca, name, socket).await?);
        }
        let switches = services
            .iter()
            .map(|(name, running)| (*name, Arc::clone(&running.fails)))
            .collect();
        let (control, controlling) = control(switches).await?;
        Ok(Self {
            policies,
            ca,
            services,
            control,
            controlling,
        })
    }

    pub(crate) fn service(&self, name: &str) -> anyhow::Result<&Running> {
        self.services.get(name).with_context(|| format!("no service `{name}`"))
    }

    pub(crate) fn gateway(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.service("gateway")?.address)
    }

    /// The mesh of a workload that is not part of the shop.
    pub(crate) async fn stranger(&self, account: &str) -> anyhow::Result<Mesh> {
        let workload = Workload::new(NAMESPACE, account);
        Ok(builder(&self.policies, &self.ca, &workload)?
            .without_admin()
            .build()
            .await?)
    }

    /// What `--addresses` writes.
    pub(crate) fn addresses(&self) -> Value {
        let of = |running: &Running| running.address.to_string();
        let gateway = self.services.get("gateway").map(of).unwrap_or_default();
        let inside = self.services.iter().filter(|(name, _)| **name != "gateway");
        let mesh: BTreeMap<_, _> = inside.map(|(name, running)| (name, of(running))).collect();
        let admin = |(name, running): (&&'static str, &Running)| {
            let address = running.mesh.admin_address()?;
            Some((*name, format!("http://{address}")))
        };
        let admin: BTreeMap<_, _> = self.services.iter().filter_map(admin).collect();
        json!({ "gateway": format!("https://{gateway}"), "mesh": mesh, "admin": admin })
    }

    /// Lets open requests finish.
    pub(crate) async fn close(self) {
        self.controlling.abort();
        for running in self.services.values() {
            running.mesh.shutdown();
        }
        for (_, running) in self.services {
            // A service that failed has said so.
            let _ = tokio::time::timeout(Duration::from_secs(3), running.serving).await;
        }
    }
}

/// Who a service is: `orders-v2` is the workload `orders` with the label `version: v2`.
fn workload(name: &str) -> Workload {
    let (app, part) = name.split_once('-').unwrap_or((name, ""));
    let workload = Workload::new(NAMESPACE, app).label("app", app);
    match part {
        "v1" | "v2" => workload.label("version", part),
        _ if app == "gateway" => workload.label("istio", "ingressgateway"),
        _ => workload,
    }
}

/// A file that says where the services listen, since the system chose the ports.
fn endpoints(sockets: &BTreeMap<&'static str, TcpListener>) -> anyhow::Result<String> {
    let mut lines = vec![format!("namespace: {NAMESPACE}"), "services:".to_owned()];
    for app in ["orders", "payments"] {
        lines.push(format!("  {app}:\n    service_account: {app}\n    endpoints:"));
        for (name, socket) in sockets.iter().filter(|(name, _)| name.starts_with(app)) {
            let address = socket.local_addr()?;
            let version = workload(name).label_value("version").unwrap_or("v1").to_owned();
            lines.push(format!(
                "      - {{ address: \"{address}\", labels: {{ version: {version} }} }}"
            ));
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn builder(policies: &Policies, ca: &DevCa, workload: &Workload) -> anyhow::Result<mesh_tower::mesh::MeshBuilder> {
    let scratch = policies.scratch.path();
    let directory = scratch.join("identities").join(&workload.service_account);
    let id = SpiffeId::for_workload(ca.trust_domain(), &workload.namespace, &workload.service_account)?;
    ca.write_workload(&directory, &id, HOUR, SystemTime::now())?;
    Ok(Mesh::builder()
        .policy(&policies.directory)
        .policy(scratch.join("endpoints.yaml"))
        .workload(workload.clone())
        .identity_directory(directory)
        .credentials(scratch.join("credentials")))
}

async fn start(policies: &Policies, ca: &DevCa, name: &'static str, socket: TcpListener) -> anyhow::Result<Running> {
    let mesh = builder(policies, ca, &workload(name))?.build().await?;
    let (address, fails) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
    let serving = mesh.clone();
    let app = match name.split_once('-') {
        Some(("orders", version)) => Some(orders(mesh.client(), version)),
        Some((_, number)) => Some(payments(number, &fails)),
        None => None,
    };
    let serving = tokio::spawn(async move {
        match app {
            Some(app) => serving.serve(socket, app).await,
            None => serving.gateway().serve(socket).await,
        }
    });
    Ok(Running {
        mesh,
        address,
        fails,
        serving,
    })
}

/// An order needs a payment.
fn orders(payments: Client, version: &str) -> Router {
    let version: Arc<str> = version.into();
    let order = move |State((payments, version)): State<(Client, Arc<str>)>, Identity(caller): Identity| async move {
        let request = Request::get("http://payments/charge").body(Body::empty());
        let Ok(request) = request else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let response = match payments.send(request).await {
            Ok(response) => response,
            Err(error) => return (error.status(), error.to_string()).into_response(),
        };
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default();
        if !status.is_success() {
            return (StatusCode::BAD_GATEWAY, body).into_response();
        }
        let payment = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        Json(json!({ "version": &*version, "caller": caller.as_str(), "payment": payment })).into_response()
    };
    let app = Router::new()
        .route("/", get(order))
        .route("/orders", get(order))
        .route("/orders/{id}", get(order));
    app.with_state((payments, version))
}

fn payments(number: &str, fails: &Arc<AtomicBool>) -> Router {
    let (number, fails): (Arc<str>, _) = (number.into(), Arc::clone(fails));
    let charge = move |Identity(caller): Identity| async move {
        if fails.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "out of order").into_response();
        }
        Json(json!({ "endpoint": &*number, "caller": caller.as_str() })).into_response()
    };
    Router::new().route("/charge", get(charge))
}

type Switches = BTreeMap<&'static str, Arc<AtomicBool>>;

/// `POST /fail/payments-2` and `POST /heal/payments-2`.
async fn control(switches: Switches) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let turn = |fails: bool| {
        move |State(switches): State<Arc<Switches>>, axum::extract::Path(name): axum::extract::Path<String>| async move {
            match switches.get(&*name) {
                Some(switch) => {
                    switch.store(fails, Ordering::Relaxed);
                    StatusCode::NO_CONTENT
                }
                None => StatusCode::NOT_FOUND,
            }
        }
    };
    let app = Router::new()
        .route("/fail/{service}", post(turn(true)))
        .route("/heal/{service}", post(turn(false)))
        .with_state(Arc::new(switches));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the control listener ended");
        }
    });
    Ok((address, serving))
}
