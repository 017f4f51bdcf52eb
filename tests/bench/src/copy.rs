//! The measure of all things: the same bytes over one mutual TLS connection of rustls, with the same fsyncs at the
//! receiver and an acknowledgement of each, and nothing else. No frames, no state, no way to go on after a break.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
};
use swarm::{Child, until};

use crate::args::CopyEnd;
use crate::pipeline::Pipeline;
use crate::stage::Turn;

/// The copy, as one that takes its turns with the others.
#[derive(Debug)]
pub(crate) struct Copy {
    program: PathBuf,
}

impl Copy {
    /// Starts the running program itself for both ends.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find the bench itself")?;
        Ok(Self { program })
    }

    fn start(
        &self,
        name: &str,
        turn: &Turn<'_>,
        identity: &Path,
        file: &Path,
        port: u16,
    ) -> anyhow::Result<Child> {
        let (note, port) = (turn.dir.join(format!("{name}.note")), port.to_string());
        let args = [
            name.as_ref(),
            identity.as_os_str(),
            file.as_os_str(),
            note.as_os_str(),
            port.as_ref(),
        ];
        Child::start(
            &self.program,
            args,
            &[],
            &turn.dir.join(format!("{name}.messages")),
        )
    }
}

impl Pipeline for Copy {
    fn receive(&self, turn: &Turn<'_>) -> anyhow::Result<(Child, u16)> {
        let stage = turn.stage;
        let mut child = self.start("copy-receive", turn, &stage.master, &turn.output(), 0)?;
        let note = turn.dir.join("copy-receive.note");
        let port = until(
            "the copy's receiver listens",
            Duration::from_secs(10),
            || {
                child.check_alive()?;
                let text = fs::read_to_string(&note).unwrap_or_default();
                Ok(text.strip_suffix('\n').and_then(|port| port.parse().ok()))
            },
        )?;
        Ok((child, port))
    }

    fn send(&self, turn: &Turn<'_>, port: u16) -> anyhow::Result<Child> {
        self.start(
            "copy-send",
            turn,
            &turn.stage.worker,
            &turn.stage.input,
            port,
        )
    }

    fn is_done(&self, turn: &Turn<'_>) -> anyhow::Result<bool> {
        Ok(turn.dir.join("copy-send.note").exists())
    }
}

/// The receiving end: one connection into one file.
///
/// # Errors
/// The file, the network, or a peer without our CA's certificate.
pub fn receive(end: &CopyEnd) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen")?;
    let mut file =
        File::create(&end.file).with_context(|| format!("create {}", end.file.display()))?;
    fs::write(&end.note, format!("{}\n", listener.local_addr()?.port()))?;
    let (mut socket, _) = listener.accept().context("accept")?;
    socket.set_nodelay(true)?;
    let mut tls = ServerConnection::new(server(&end.identity)?)?;
    let mut tls = Stream::new(&mut tls, &mut socket);
    let mut chunk = vec![0; CHUNK];
    let (mut written, mut stands, mut since) = (0, 0, Instant::now());
    loop {
        let len = tls.read(&mut chunk)?;
        if written == stands {
            since = Instant::now();
        }
        file.write_all(&chunk[..len])?;
        written += len as u64;
        if len == 0 || written - stands >= WINDOW_BYTES || since.elapsed() >= WINDOW_TIME {
            file.sync_data()?;
            stands = written;
            tls.write_all(&stands.to_be_bytes())?;
        }
        if len == 0 {
            return wait_for_the_end();
        }
    }
}

/// The sending end: one file, until all of it is acknowledged.
///
/// # Errors
/// The file, the network, or a peer that is not the master.
pub fn send(end: &CopyEnd) -> anyhow::Result<()> {
    let mut file = File::open(&end.file).with_context(|| format!("open {}", end.file.display()))?;
    let mut socket = TcpStream::connect(("127.0.0.1", end.port)).context("connect")?;
    socket.set_nodelay(true)?;
    let master = ServerName::try_from("logferry-master")?;
    let mut tls = ClientConnection::new(client(&end.identity)?, master)?;
    tls.set_buffer_limit(Some(CHUNK));
    let mut tls = Stream::new(&mut tls, &mut socket);
    let mut chunk = vec![0; CHUNK];
    let mut sent = 0;
    loop {
        let len = file.read(&mut chunk)?;
        if len == 0 {
            break;
        }
        tls.write_all(&chunk[..len])?;
        sent += len as u64;
    }
    tls.conn.send_close_notify();
    tls.flush()?;
    let mut stands = 0;
    while stands < sent {
        let mut ack = [0; 8];
        tls.read_exact(&mut ack)
            .context("wait for the last acknowledgement")?;
        let next = u64::from_be_bytes(ack);
        ensure!(
            next >= stands && next <= sent,
            "an acknowledgement of {next} of {sent} bytes"
        );
        stands = next;
    }
    fs::write(&end.note, "acknowledged\n")?;
    wait_for_the_end()
}

/// Stays to be looked at; the bench ends it.
fn wait_for_the_end() -> anyhow::Result<()> {
    let end = Instant::now() + MAX_STAY;
    while Instant::now() < end {
        std::thread::park_timeout(MAX_STAY);
    }
    Ok(())
}

fn server(identity: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let (roots, chain, key) = load(identity)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    // As our listener does: no tickets, no resumption.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config.into())
}

fn client(identity: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let (roots, chain, key) = load(identity)?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(config.into())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    rustls::crypto::aws_lc_rs::default_provider().into()
}

type Loaded = (
    RootCertStore,
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
);

fn load(dir: &Path) -> anyhow::Result<Loaded> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(dir.join("ca.crt")).context("read ca.crt")? {
        roots.add(ca?)?;
    }
    let chain = CertificateDer::pem_file_iter(dir.join("worker.crt")).context("read worker.crt")?;
    let chain = chain.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(dir.join("worker.key")).context("read worker.key")?;
    Ok((roots, chain, key))
}

/// Octets of one read or write.
const CHUNK: usize = 256 << 10;
/// The listener's commit window.
const WINDOW_BYTES: u64 = 4 << 20;
const WINDOW_TIME: Duration = Duration::from_millis(50);
/// The longest an end lives after its work, if nobody ends it.
const MAX_STAY: Duration = Duration::from_secs(60);
