//! TLS on the listener's side: one configuration per connection, made from files that may change under way.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{Acceptor, NoServerSessionStorage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ALPN_ACKNOWLEDGED;
use crate::crypto::{VERSIONS, provider};
use crate::gate::{Gate, Judge};
use crate::layout::CaFiles;
use crate::loaded::{Expiry, Loaded, ServerTlsError, watched_files};
use crate::peer::{self, Peer};
use crate::refusal::Refusal;
use crate::registry::RegistryError;
use crate::reload::{News, Watched};
use crate::watch::RegistryWatch;

/// Whose certificates are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Only those that the registry has as active.
    Registry,
    /// Any certificate of the CA with a worker's name in it, unless the registry says it is revoked. What
    /// DECNET does, and what a DECNET CA directory needs that was never imported.
    Ca,
}

/// What the two ends speak, chosen by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// RFC 5425 and nothing else.
    Plain,
    /// `logferry/1`. The registry was not asked yet: the session does so with [`ServerTls::recheck`] and
    /// refuses in its own words.
    Acknowledged,
}

/// A connection whose peer is known.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<IO> {
    /// The connection.
    pub stream: TlsStream<IO>,
    /// Whose it is.
    pub peer: Peer,
    /// What it speaks.
    pub mode: Mode,
}

/// The listener's TLS. Cheap to ask per connection; follows its files and the registry.
#[derive(Debug)]
pub struct ServerTls {
    files: CaFiles,
    acknowledged: bool,
    judge: Arc<Judge>,
    loaded: ArcSwap<Loaded>,
    watched: Mutex<Watched>,
    failed_reloads: AtomicU64,
    generation: watch::Sender<u64>,
}

impl ServerTls {
    /// Loads `DATA/ca/{ca.crt,crl.pem}`, `DATA/ca/master/{ca.crt,worker.crt,worker.key}` and the registry.
    /// `crl.pem` may be absent; under [`Trust::Ca`] so may the registry.
    ///
    /// # Errors
    /// [`ServerTlsError`] naming the file at fault.
    pub async fn open(data: &Path, trust: Trust) -> Result<Self, ServerTlsError> {
        let files = CaFiles::in_data(data);
        let watched = Watched::new(watched_files(&files));
        let loaded = Loaded::load(&files, SystemTime::now())?;
        let registry = match RegistryWatch::open(data).await {
            Ok(registry) => Some(registry),
            Err(RegistryError::Missing(_)) if trust == Trust::Ca => None,
            Err(error) => return Err(error.into()),
        };
        let generation = match &registry {
            Some(registry) => registry.generation(),
            None => watch::Sender::new(0),
        };
        Ok(Self {
            files,
            acknowledged: false,
            judge: Arc::new(Judge { trust, registry }),
            loaded: ArcSwap::from_pointee(loaded),
            watched: Mutex::new(watched),
            failed_reloads: AtomicU64::new(0),
            generation,
        })
    }

    /// Serves ALPN `logferry/1` as [`Mode::Acknowledged`]; without this every client is plain.
    #[must_use]
    pub fn with_acknowledged(mut self) -> Self {
        self.acknowledged = true;
        self
    }

    /// Does the handshake and says who is there.
    ///
    /// # Errors
    /// The [`Refusal`], to be logged once with the peer's address. The peer has got its alert.
    pub async fn accept<IO>(&self, io: IO, limit: Duration) -> Result<Accepted<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        match tokio::time::timeout(limit, self.handshake(io)).await {
            Ok(result) => result,
            Err(_) => Err(Refusal::Timeout(limit)),
        }
    }

    async fn handshake<IO>(&self, io: IO) -> Result<Accepted<IO>, Refusal>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut hello = LazyConfigAcceptor::new(Acceptor::default(), io);
        let start = match Pin::new(&mut hello).await {
            Ok(start) => start,
            Err(error) => {
                if let Some(io) = hello.take_io() {
                    part_from(io).await;
                }
                return Err(Refusal::of(&error));
            }
        };
        // Not before the peer has shown that it speaks TLS: a port scanner costs no query.
        self.refresh().await;
        let mode = self.mode(start.client_hello().alpn().into_iter().flatten());
        let verdict = Arc::new(OnceLock::new());
        let config = self.config(mode, Arc::clone(&verdict));
        let stream = match start.into_stream(config).into_fallible().await {
            Ok(stream) => stream,
            Err((error, io)) => {
                part_from(io).await;
                return Err(verdict
                    .get()
                    .cloned()
                    .unwrap_or_else(|| Refusal::of(&error)));
            }
        };
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let peer = peer::peer(leaf.ok_or(Refusal::NoCertificate)?)?;
        Ok(Accepted { stream, peer, mode })
    }

    /// The configuration for a client that offers these ALPN identifiers. A client that offers none, or none
    /// that is known, is plain: rustls would end the handshake if its list had no match.
    pub fn for_hello(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        self.config(self.mode(alpn.iter().copied()), Arc::default())
    }

    /// Whether the certificate of a connected peer still counts. To be asked again whenever
    /// [`ServerTls::generation`] has moved.
    ///
    /// # Errors
    /// Why it does not.
    pub fn recheck(&self, peer: &Peer) -> Result<(), Refusal> {
        if self.loaded.load().revoked.contains(&peer.serial) {
            return Err(Refusal::Revoked(Some(peer.name.clone())));
        }
        self.judge.judge(peer, SystemTime::now())
    }

    /// A counter that goes up when the registry or the files have changed.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Follows registry and files for ever: run it beside the listener, so that a revocation reaches
    /// connections that are open.
    pub async fn follow(&self) -> Infallible {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
        }
    }

    /// Looks once at the registry, and at the files if the last look is a second ago.
    pub async fn refresh(&self) {
        if let Some(registry) = &self.judge.registry {
            registry.look().await;
        }
        self.reload();
    }

    /// What expires when: the CA, the master's certificate, the CRL.
    pub fn expiries(&self) -> Vec<Expiry> {
        self.loaded.load().expiries.clone()
    }

    /// How often changed files were found unusable, so that the last good ones stayed in force.
    pub fn failed_reloads(&self) -> u64 {
        self.failed_reloads.load(Ordering::Relaxed)
    }

    fn reload(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(news) = watched.look() else { return };
        match Loaded::load(&self.files, SystemTime::now()) {
            Ok(loaded) => {
                watched.settle();
                self.loaded.store(Arc::new(loaded));
                self.generation.send_modify(|generation| *generation += 1);
                tracing::info!(path = %self.files.dir.display(), "certificates loaded again");
            }
            Err(error) => {
                self.failed_reloads.fetch_add(1, Ordering::Relaxed);
                if news == News::Changed {
                    tracing::error!(error = %error, "changed certificates are unusable, the last good ones stay in force");
                }
            }
        }
    }

    fn mode<'a>(&self, mut alpn: impl Iterator<Item = &'a [u8]>) -> Mode {
        if self.acknowledged && alpn.any(|id| id == ALPN_ACKNOWLEDGED) {
            Mode::Acknowledged
        } else {
            Mode::Plain
        }
    }

    fn config(&self, mode: Mode, verdict: Arc<OnceLock<Refusal>>) -> Arc<ServerConfig> {
        let loaded = self.loaded.load();
        let gate = Gate {
            chain: Arc::clone(&loaded.chain),
            anchors: Arc::clone(&loaded.anchors),
            judge: Arc::clone(&self.judge),
            strict: mode == Mode::Plain,
            verdict,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(Arc::new(gate))
            .with_cert_resolver(loaded.identity.clone());
        // An unread ticket makes the close of a client that only writes lose its last data (RFC 8446 §4.6.1
        // meets TCP), and a resumed session would pass by the registry.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // RFC 9662 §6: no early data.
        config.max_early_data_size = 0;
        if mode == Mode::Acknowledged {
            config.alpn_protocols = vec![ALPN_ACKNOWLEDGED.to_vec()];
        }
        Arc::new(config)
    }
}

/// Takes leave of a refused peer: closes our side and reads what is still on its way for a moment. A socket
/// closed with unread bytes in it is reset, and the reset can overtake the alert that says why.
async fn part_from<IO>(mut io: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Long enough for a round trip across an ocean.
    const LINGER: Duration = Duration::from_millis(500);
    /// What a client may have sent before it learns.
    const MOST: u64 = 1 << 18;
    let drain = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(MOST), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is over.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// So that `?` works on IO errors of callers that wrap a handshake of their own.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::of(&error)
    }
}
