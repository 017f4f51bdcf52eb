//! From a name to addresses, at each attempt anew.

use std::io;
use std::net::IpAddr;

/// Turns names into addresses. Never asked for a host that is an address already.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, IPv4 and IPv6, in the order in which they should be tried.
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// The host's own: `getaddrinfo`, with /etc/hosts and nsswitch.conf. It keeps nothing of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        let mut addrs: Vec<IpAddr> = Vec::new();
        for addr in found.map(|addr| addr.ip()) {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(addrs)
    }
}
