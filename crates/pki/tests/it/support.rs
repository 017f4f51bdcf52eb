//! A master in a temporary directory, certificates of any shape, and handshakes in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pki::{
    Accepted, Authority, Enrolment, Identity, InitOptions, MasterCheck, Refusal, ServerTls,
    WorkerName, client_config,
};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// An initialised data directory and a place for bundles.
pub(crate) struct Master {
    pub(crate) dir: TempDir,
}

impl Master {
    pub(crate) async fn init() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = Self { dir };
        Authority::init(&master.data(), &InitOptions::default(), SystemTime::now())
            .await
            .unwrap();
        master
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn ca(&self, name: &str) -> PathBuf {
        self.data().join("ca").join(name)
    }

    pub(crate) async fn enrol(&self, name: &str) -> Identity {
        self.enrol_to(name, &self.dir.path().join(name)).await
    }

    pub(crate) async fn enrol_to(&self, name: &str, out: &Path) -> Identity {
        let enrolment = Enrolment {
            name: name.parse().unwrap(),
            names: Vec::new(),
            out: out.to_owned(),
            replace: false,
        };
        pki::enrol(&self.data(), enrolment, SystemTime::now())
            .await
            .unwrap();
        Identity::load(out).unwrap()
    }

    pub(crate) fn issuer(&self) -> Issuer<'static, KeyPair> {
        issuer(&self.ca("ca.crt"), &self.ca("ca.key"))
    }
}

pub(crate) fn issuer(certificate: &Path, key: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&std::fs::read_to_string(key).unwrap()).unwrap();
    Issuer::from_ca_cert_pem(&std::fs::read_to_string(certificate).unwrap(), key).unwrap()
}

/// A good worker's certificate, to be spoiled in one respect.
pub(crate) fn worker_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["w.example".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    valid(&mut params, -(DAY.as_secs() as i64), DAY.as_secs() as i64);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Validity from and to, in seconds from now.
pub(crate) fn valid(params: &mut CertificateParams, from: i64, to: i64) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let at = |offset: i64| {
        rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs(now.checked_add_signed(offset).unwrap())
    };
    params.not_before = at(from);
    params.not_after = at(to);
}

/// Signs and gives chain and key as rustls wants them.
pub(crate) fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> CertifiedKey {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    certified(vec![certificate.der().clone()], &key)
}

pub(crate) fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> CertifiedKey {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = default_provider()
        .key_provider
        .load_private_key(der)
        .unwrap();
    CertifiedKey::new(chain, key)
}

/// Which TLS a client speaks.
pub(crate) const BOTH: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// A client that checks the chain only, and shows what it is given.
pub(crate) fn client(
    ca: &Path,
    version: &'static SupportedProtocolVersion,
    key: Option<CertifiedKey>,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    }
}

/// Our own client.
pub(crate) fn forwarder(identity: &Identity, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let names = pki::MASTER_NAMES.map(str::to_owned).to_vec();
    client_config(identity, MasterCheck::Names(names), alpn).unwrap()
}

/// What came of one handshake.
pub(crate) struct Meeting {
    pub(crate) server: Result<Accepted<DuplexStream>, Refusal>,
    /// The client's side after it has waited for the server's verdict.
    pub(crate) client: Result<TlsStream<DuplexStream>, std::io::Error>,
}

/// A handshake in memory. If the server refuses, the client reads until it learns so: in TLS 1.3 its own
/// handshake is over before that.
pub(crate) async fn meet(tls: &ServerTls, client: impl Into<Arc<ClientConfig>>) -> Meeting {
    meet_as(tls, client, "logferry-master").await
}

/// As [`meet`], with the name that the client looks for.
pub(crate) async fn meet_as(
    tls: &ServerTls,
    client: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> Meeting {
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = pki::server_name(name);
    let connector = TlsConnector::from(client.into());
    let (server, client) = tokio::join!(tls.accept(far, LIMIT), connector.connect(name, near));
    let client = match client {
        Ok(mut stream) if server.is_err() => match stream.read(&mut [0; 1]).await {
            Ok(_) => Ok(stream),
            Err(error) => Err(error),
        },
        client => client,
    };
    Meeting { server, client }
}

impl Meeting {
    /// The reason of a refusal, and what the client was told.
    pub(crate) fn refused(self) -> (Refusal, String) {
        let refusal = self.server.expect_err("the server refuses");
        let told = pki::ConnectProblem::of(&self.client.expect_err("the client is told"));
        (refusal, told.to_string())
    }
}

/// A client that would resume if it could.
pub(crate) fn eager(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::in_memory_sessions(16);
    Arc::new(config)
}

/// Repeats until it holds, at most twenty seconds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + LIMIT;
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn name(name: &str) -> WorkerName {
    name.parse().unwrap()
}
