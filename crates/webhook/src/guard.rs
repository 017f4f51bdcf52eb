//! Whom a webhook may be sent to: the operator's policy over classes of addresses, ports and names.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::target::Target;

mod class;

pub use class::{Class, classify};

/// What an operator allows. The default refuses whatever is not private or public unicast.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Networks that may be reached whatever their class is, except 0.0.0.0/8 and `::`. An address that embeds an IPv4
    /// one is allowed by a network that holds either.
    pub allow_cidrs: Vec<IpNet>,
    /// Whether private and shared (RFC 6598) networks are refused as well.
    pub deny_private: bool,
    /// Ports that are refused, also when `allow_cidrs` names the address.
    pub deny_ports: Vec<u16>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_cidrs: Vec::new(),
            deny_private: false,
            deny_ports: DENIED_PORTS.to_vec(),
        }
    }
}

/// Services that may take a part of a POST for commands of their own: ssh, telnet, mail, DNS, Redis, memcached.
pub const DENIED_PORTS: &[u16] = &[22, 23, 25, 53, 110, 143, 465, 587, 993, 995, 6379, 11211];

/// Why a URL or an address is not one that webhooks are sent to. Shows nothing of a URL but its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The URL is not one, or not one for webhooks.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The port is on the deny list, or 0.
    #[error("port {0} is denied")]
    Port(u16),
    /// The name stands for this host or a metadata service.
    #[error("the name {0} is denied")]
    Name(String),
    /// The address is of a class that is refused.
    #[error("address {addr} is denied ({class})")]
    Address {
        /// The address as it was given or resolved.
        addr: IpAddr,
        /// The class, of the embedded IPv4 address if there is one.
        class: Class,
    },
}

impl Policy {
    /// Checks what is known before any name is asked for: syntax, scheme, port, denied names, literal addresses.
    ///
    /// # Errors
    /// The first rule that the URL breaks.
    pub fn check_url(&self, url: &str) -> Result<Target, Refusal> {
        let target = Target::parse(url)?;
        if self.deny_ports.contains(&target.port()) {
            return Err(Refusal::Port(target.port()));
        }
        match target.literal() {
            Some(addr) => self.check_addr(addr)?,
            None => check_name(target.name())?,
        }
        Ok(target)
    }

    /// Checks one address that a name stands for, or that a connection went to.
    ///
    /// # Errors
    /// [`Refusal::Address`].
    pub fn check_addr(&self, addr: IpAddr) -> Result<(), Refusal> {
        let (class, inner) = classify(addr);
        let refused = Err(Refusal::Address { addr, class });
        if class == Class::Unspecified {
            return refused;
        }
        let allows = |net: &IpNet| net.contains(&addr) || net.contains(&inner);
        if self.allow_cidrs.iter().any(allows) {
            return Ok(());
        }
        match class {
            Class::Public => Ok(()),
            Class::Private | Class::Shared if !self.deny_private => Ok(()),
            _ => refused,
        }
    }
}

/// Names that are refused as text: what they stand for is no receiver, whatever a resolver says.
fn check_name(name: &str) -> Result<(), Refusal> {
    let name = name.trim_end_matches('.');
    let is_local = |name: &str| name == "localhost" || name.ends_with(".localhost");
    if name.is_empty() {
        return Err(Refusal::Url("has an empty host"));
    }
    if is_local(name) || DENIED_NAMES.contains(&name) {
        return Err(Refusal::Name(name.to_owned()));
    }
    Ok(())
}

/// Names of this host by Linux distributions, and of the metadata service of clouds that give it one.
const DENIED_NAMES: &[&str] = &[
    "localhost.localdomain",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data.ec2.internal",
];

#[cfg(test)]
mod tests;
