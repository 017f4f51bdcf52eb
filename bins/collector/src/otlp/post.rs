//! One request to the receiver: OTLP over HTTP/1.1, to loopback in the clear and elsewhere over TLS.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Host;

use super::{config::Endpoint, message::ExportTraceServiceResponse};

/// Posts spans.
pub(super) struct Poster {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
}

/// What the receiver said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It took the spans, but for so many.
    Taken { rejected: u64 },
    /// It did not; perhaps it will another time.
    Refused { status: StatusCode, again: bool },
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Poster({})", self.endpoint)
    }
}

impl Poster {
    pub(super) fn new(endpoint: &Endpoint, ca: Option<&Path>) -> anyhow::Result<Poster> {
        let tls = endpoint.https.then(|| connector(ca)).transpose()?;
        Ok(Poster {
            endpoint: endpoint.clone(),
            tls,
        })
    }

    /// Posts one request, on a connection of its own.
    pub(super) async fn post(&self, body: Bytes) -> anyhow::Result<Answer> {
        let stream = self.connect().await?;
        let Some(tls) = &self.tls else {
            return self.exchange(stream, body).await;
        };
        let name = match &self.endpoint.host {
            Host::Domain(name) => ServerName::try_from(name.clone())?,
            Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
            Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(*ip)),
        };
        let stream = tls.connect(name, stream).await.context("agree on TLS")?;
        self.exchange(stream, body).await
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let port = self.endpoint.port;
        let addrs: Vec<SocketAddr> = match &self.endpoint.host {
            Host::Ipv4(ip) => vec![(*ip, port).into()],
            Host::Ipv6(ip) => vec![(*ip, port).into()],
            Host::Domain(name) => {
                let found = tokio::net::lookup_host((name.as_str(), port)).await;
                found.context("resolve the endpoint")?.collect()
            }
        };
        // Whatever the name says here: nothing leaves this host in the clear.
        if !self.endpoint.https {
            let local = addrs
                .iter()
                .all(|addr| addr.ip().to_canonical().is_loopback());
            ensure!(local, "{} is not on loopback", self.endpoint.host);
        }
        let mut failure = None;
        for addr in addrs {
            match TcpStream::connect(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error).context("connect"),
            None => bail!("{} has no address", self.endpoint.host),
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(&self.endpoint.path)
            .header(
                HOST,
                format!("{}:{}", self.endpoint.host, self.endpoint.port),
            )
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(
                USER_AGENT,
                concat!("logferry-collector/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONNECTION, "close")
            .body(Full::new(body))?;
        let asked = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            anyhow::Ok((status, body.map(|body| body.to_bytes())))
        };
        tokio::pin!(connection, asked);
        let (status, body) = tokio::select! {
            answer = &mut asked => answer?,
            ended = &mut connection => {
                ended?;
                asked.await?
            }
        };
        if !status.is_success() {
            let again = AGAIN.contains(&status);
            return Ok(Answer::Refused { status, again });
        }
        // The spans are taken whatever becomes of the answer's body.
        let said = body
            .ok()
            .and_then(|body| ExportTraceServiceResponse::decode(body).ok());
        let partial = said.and_then(|said| said.partial_success);
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        Ok(Answer::Taken {
            rejected: u64::try_from(rejected).unwrap_or(0),
        })
    }
}

/// The system's certificate authorities, and those in a file.
pub(super) fn authorities(extra: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some(path) = extra else {
        return Ok(store);
    };
    let before = store.len();
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    for cert in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
        let cert = cert.map_err(|error| failed(&error))?;
        store.add(cert).map_err(|error| failed(&error))?;
    }
    if store.len() == before {
        return Err(failed(&"holds no certificate"));
    }
    Ok(store)
}

fn connector(ca: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let roots = authorities(ca).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Octets of an answer that are looked at.
const MAX_ANSWER: usize = 64 << 10;
/// What OTLP calls retryable.
const AGAIN: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];
