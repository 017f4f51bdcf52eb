//! A webhook's URL, parsed once and by one parser; it never shows more of itself than scheme, host and port.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use rustls_pki_types::ServerName;
use url::{Host, Position, Url};

use crate::guard::Refusal;

/// Longest URL in bytes; receivers' URLs with tokens are a few hundred.
pub const MAX_URL: usize = 2048;

/// Where a webhook goes. `Debug` and `Display` leave path and query out: they carry tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host<String>,
    port: u16,
    path: Uri,
}

impl Target {
    /// Parses a URL by the rules of WHATWG, by which `2130706433`, `0x7f.1` and `127.1` are 127.0.0.1.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_URL {
            return Err(Refusal::Url("is longer than 2048 bytes"));
        }
        // The parser would drop these without a word.
        if text.contains(|c: char| c.is_control() || c == ' ') {
            return Err(Refusal::Url("contains a space or control character"));
        }
        let url = Url::parse(text).map_err(|_| Refusal::Url("cannot be parsed"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Url("is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Url("carries a user name or password"));
        }
        if url.fragment().is_some() {
            return Err(Refusal::Url("has a fragment"));
        }
        let host = url.host().ok_or(Refusal::Url("has no host"))?.to_owned();
        let port = url
            .port_or_known_default()
            .ok_or(Refusal::Url("has no port"))?;
        if port == 0 {
            return Err(Refusal::Port(0));
        }
        let path = url[Position::BeforePath..Position::AfterQuery]
            .parse()
            .map_err(|_| Refusal::Url("has a path that cannot be asked for"))?;
        let target = Self {
            url,
            host,
            port,
            path,
        };
        if target.is_https() {
            target.server_name()?;
        }
        Ok(target)
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, when the host is one.
    pub fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Domain(_) => None,
            Host::Ipv4(addr) => Some(addr.into()),
            Host::Ipv6(addr) => Some(addr.into()),
        }
    }

    /// The name in ASCII and lower case, with the dot that it may end with; empty when the host is an address.
    pub fn name(&self) -> &str {
        match &self.host {
            Host::Domain(name) => name,
            Host::Ipv4(_) | Host::Ipv6(_) => "",
        }
    }

    /// The name or address that the receiver's certificate must carry.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, Refusal> {
        if let Some(addr) = self.literal() {
            return Ok(ServerName::IpAddress(addr.into()));
        }
        ServerName::try_from(self.name().trim_end_matches('.').to_owned())
            .map_err(|_| Refusal::Url("has a host that no certificate can name"))
    }

    /// The value of the Host field.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            None => self.host.to_string(),
            Some(port) => format!("{}:{port}", self.host),
        }
    }

    /// Path and query, as the request line has them.
    pub(crate) fn path(&self) -> &Uri {
        &self.path
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.path == "/" { "/" } else { "/…" };
        write!(f, "{}://{}{more}", self.url.scheme(), self.authority())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests;
