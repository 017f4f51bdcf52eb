//! `[otlp]`: where spans go, and how many records are traced.

use std::{fmt, path::PathBuf};

use serde::Deserialize;
use service::config::{Problems, Source};
use url::{Host, Url};

use super::Tracer;

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawOtlp {
    endpoint: Option<String>,
    sample: Option<f64>,
    ca: Option<PathBuf>,
}

/// The checked table.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where spans are posted to.
    pub endpoint: Endpoint,
    /// Which records are traced.
    pub tracer: Tracer,
    /// Certificate authorities beside the system's.
    pub ca: Option<PathBuf>,
}

/// An address for spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) path: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// Checks the table; problems name their keys.
pub(crate) fn resolve(raw: RawOtlp, source: &Source, problems: &mut Problems) -> Option<Config> {
    let before = problems.0.len();
    let endpoint = match raw.endpoint.as_deref().map(endpoint) {
        Some(Ok(endpoint)) => Some(endpoint),
        Some(Err(what)) => {
            problems.push(source.problem("otlp.endpoint", what));
            None
        }
        None => {
            let what =
                "is missing, like \"http://127.0.0.1:4318\"; without [otlp] nothing is traced";
            problems.push(source.problem("otlp.endpoint", what));
            None
        }
    };
    let sample = raw.sample.unwrap_or(DEFAULT_SAMPLE);
    if !(sample > 0.0 && sample <= 1.0) {
        problems.push(source.problem("otlp.sample", "must be over 0 and at most 1, like 0.01"));
    }
    if let Some(path) = &raw.ca
        && let Err(what) = super::post::authorities(Some(path))
    {
        problems.push(source.problem("otlp.ca", what));
    }
    let endpoint = endpoint.filter(|_| problems.0.len() == before)?;
    Some(Config {
        endpoint,
        tracer: Tracer::new(sample),
        ca: raw.ca,
    })
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        other => return Err(format!("scheme {other:?} is neither http nor https")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    let host = url.host().ok_or("names no host")?.to_owned();
    let local = match &host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    if !https && !local {
        return Err(format!(
            "{text:?}: plain http goes to loopback only; use https"
        ));
    }
    // OTLP's paths are below the endpoint.
    let path = url.path().trim_end_matches('/');
    let path = match path.strip_suffix(PATH) {
        Some(_) => path.to_owned(),
        None => format!("{path}{PATH}"),
    };
    Ok(Endpoint {
        https,
        host,
        port: url.port_or_known_default().ok_or("names no port")?,
        path,
    })
}

/// Where OTLP over HTTP takes spans.
const PATH: &str = "/v1/traces";
/// One record in a hundred.
const DEFAULT_SAMPLE: f64 = 0.01;
