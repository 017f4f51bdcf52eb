//! From a name to addresses, at each attempt anew.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Turns names into addresses. Never asked for a host that is an address already.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`, IPv4 and IPv6, in the order in which they should be tried.
    fn resolve(&self, name: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// The host's own: `getaddrinfo`, with /etc/hosts and nsswitch.conf. It keeps nothing of its own. A question that hangs
/// occupies a thread beyond its attempt's end, so there are at most eight at a time; further ones wait.
#[derive(Debug, Clone)]
pub struct SystemResolver(Arc<Semaphore>);

/// Half of the threads that our programs have for blocking work.
const MAX_LOOKUPS: usize = 8;

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.0)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let name = name.to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            drop(permit);
            found
        });
        let mut addrs: Vec<IpAddr> = Vec::new();
        for addr in found.await??.map(|addr| addr.ip()) {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        Ok(addrs)
    }
}
