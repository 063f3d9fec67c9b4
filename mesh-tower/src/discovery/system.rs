use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::{Resolver, TokioResolver};

use super::{Answer, Resolve, ResolveError, Resolving};

/// Asks the name servers of the system's configuration, or others; the system's `hosts` file goes first.
///
/// The configuration (`/etc/resolv.conf` on Unix, search domains included) is read when a name is first asked for. A
/// name that has addresses of IPv4 resolves to those alone: a host without IPv6 could not tell which of both to call.
#[derive(Default)]
pub struct SystemResolver {
    servers: Vec<SocketAddr>,
    resolver: OnceLock<TokioResolver>,
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

    fn resolver(&self) -> Result<&TokioResolver, NetError> {
        made_once(&self.resolver, || self.build())
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
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // Who follows a name asks when its answer has expired: a cache would only hide a new answer.
        options.cache_size = 0;
        builder.build()
    }
}

/// What was made is kept. A failure is not: the next question tries again, for a configuration may be late.
pub(super) fn made_once<T, E>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

async fn lookup(resolver: &TokioResolver, name: &str) -> Result<Lookup, NetError> {
    let found = Lookup::from(resolver.lookup_ip(name).await?);
    match name.parse::<IpAddr>() {
        Ok(_) => Ok(found),
        Err(_) => unless_ipv4_failed(resolver, found).await,
    }
}

/// The resolver goes on to IPv6 when the question for IPv4 failed, too. The answer would then replace addresses of
/// IPv4 that are still good, so it counts only where there are none.
async fn unless_ipv4_failed(resolver: &TokioResolver, found: Lookup) -> Result<Lookup, NetError> {
    if found.query().query_type() != RecordType::AAAA {
        return Ok(found);
    }
    match resolver.lookup(found.query().name().clone(), RecordType::A).await {
        Ok(ipv4) if addresses(&ipv4).next().is_some() => Ok(ipv4),
        Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(found),
        Err(error) => Err(error),
    }
}

fn addresses(found: &Lookup) -> impl Iterator<Item = IpAddr> {
    found.answers().iter().filter_map(|record| record.data.ip_addr())
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
            let resolver = self.resolver().map_err(|error| failed(error.to_string()))?;
            let found = match lookup(resolver, name).await {
                Ok(found) => found,
                Err(NetError::Dns(DnsError::NoRecordsFound(_))) => return Err(not_found(name)),
                Err(error) => return Err(failed(error.to_string())),
            };
            let addresses: Vec<IpAddr> = addresses(&found).collect();
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
