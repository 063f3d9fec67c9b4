use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{Resolver, TokioResolver};

use super::{Answer, Resolve, ResolveError, Resolving};

/// Asks the name servers of the system's configuration, or others; the system's `hosts` file goes first.
///
/// The configuration (`/etc/resolv.conf` on Unix, search domains included) is read when a name is first asked for.
#[derive(Default)]
pub struct SystemResolver {
    servers: Vec<SocketAddr>,
    resolver: OnceLock<Result<TokioResolver, String>>,
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl SystemResolver {
    /// A resolver by the system's configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A resolver that asks these name servers, by UDP and TCP, in place of the system's.
    #[must_use]
    pub fn at(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            servers: servers.into_iter().collect(),
            resolver: OnceLock::new(),
        }
    }

    fn resolver(&self) -> &Result<TokioResolver, String> {
        self.resolver
            .get_or_init(|| self.build().map_err(|error| error.to_string()))
    }

    fn build(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().copied().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Who follows a name asks when its answer has expired: a cache would only hide a new answer.
        options.cache_size = 0;
        builder.build()
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let failed = |reason: String| ResolveError::Failed {
                name: name.to_owned(),
                reason,
            };
            let resolver = self.resolver().as_ref().map_err(|reason| failed(reason.clone()))?;
            let found = match resolver.lookup_ip(name).await {
                Ok(found) => found,
                Err(NetError::Dns(DnsError::NoRecordsFound(_))) => return Err(not_found(name)),
                Err(error) => return Err(failed(error.to_string())),
            };
            let addresses: Vec<IpAddr> = found.iter().collect();
            if addresses.is_empty() {
                return Err(not_found(name));
            }
            let valid_for: Duration = found.valid_until().saturating_duration_since(Instant::now());
            Ok(Answer::new(addresses, valid_for))
        })
    }
}

fn not_found(name: &str) -> ResolveError {
    ResolveError::NotFound { name: name.to_owned() }
}
