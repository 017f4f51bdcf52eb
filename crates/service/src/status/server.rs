//! The HTTP server behind the status endpoint.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::Telemetry;
use super::access::Access;
use super::listen::{Listen, Short};
use super::pages::Pages;
use super::routes::Routes;

/// Connections served at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16;
/// The longest a connection lives, whatever it does.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(15);
/// The longest a request head may take to arrive.
const MAX_HEAD_TIME: Duration = Duration::from_secs(5);
/// The largest request head; the least that hyper allows.
const MAX_HEAD_BYTES: usize = 8192;
/// The pause after an accept that failed: descriptors are short, and spinning frees none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address or path can't be bound.
    #[error("status endpoint {at}: {source}")]
    Io {
        /// Where.
        at: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// Something that is not a socket stands at the path, and is left alone.
    #[error("status endpoint {}: a file that is no socket is in the way", .0.display())]
    NotASocket(PathBuf),
    /// Another process answers there.
    #[error("status endpoint {}: another process answers there", .0.display())]
    InUse(PathBuf),
}

/// A bound endpoint. Its socket file goes with it.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    file: Option<OwnFile>,
    routes: Option<Arc<dyn Routes>>,
    access: Access,
    pub(super) head_time: Duration,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Our socket file, removed on drop if it is still ours.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let ours =
            std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            // Left behind it would only be stale, which the next start handles.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Server {
    /// Opens the endpoint; inside a runtime. A stale socket file (one that nobody answers on) is replaced, and the
    /// new one has mode 0600 from the moment it can be seen.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        let failed = |source| BindError::Io {
            at: listen.clone(),
            source,
        };
        match listen {
            Listen::Loopback(addr) => {
                let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                Ok(Self {
                    socket: Socket::Tcp(listener),
                    file: None,
                    routes: None,
                    access: Access::default(),
                    head_time: MAX_HEAD_TIME,
                })
            }
            Listen::Unix(path) => {
                if let Ok(found) = std::fs::symlink_metadata(path) {
                    if !found.file_type().is_socket() {
                        return Err(BindError::NotASocket(path.clone()));
                    }
                    if answers(path).map_err(failed)? {
                        return Err(BindError::InUse(path.clone()));
                    }
                }
                let (listener, file) = bind_unix(path).map_err(failed)?;
                Ok(Self {
                    socket: Socket::Unix(listener),
                    file: Some(file),
                    routes: None,
                    access: Access::default(),
                    head_time: MAX_HEAD_TIME,
                })
            }
        }
    }

    /// Serves these pages as well.
    #[must_use]
    pub fn with_routes(mut self, routes: Arc<dyn Routes>) -> Self {
        self.routes = Some(routes);
        self
    }

    /// On a port answers only whom `access` permits, but for health. A socket file has its mode.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        if matches!(self.socket, Socket::Tcp(_)) {
            self.access = access;
        }
        self
    }

    /// The address in use, with the port the system chose for port 0; `None` for a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Serves until dropped. `status` gives the program's own part of `/status`, an object.
    pub async fn run<F>(self, telemetry: Arc<Telemetry>, status: F)
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        let Self {
            socket,
            file: _file,
            routes,
            access,
            head_time,
        } = self;
        let pages = Arc::new(Pages {
            telemetry,
            status,
            routes,
            access,
        });
        let mut connections = JoinSet::new();
        loop {
            while connections.len() >= MAX_CONNECTIONS {
                connections.join_next().await;
            }
            while connections.try_join_next().is_some() {}
            let pages = pages.clone();
            let accepted = match &socket {
                Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    connections.spawn(connection(stream, pages, head_time));
                }),
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    connections.spawn(connection(stream, pages, head_time));
                }),
            };
            if let Err(error) = accepted {
                tracing::debug!(%error, "status connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether someone listens on the socket file.
fn answers(path: &Path) -> io::Result<bool> {
    let (dir, name) = Short::of(path)?;
    match std::os::unix::net::UnixStream::connect(dir.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Binds inside a new private directory and renames the socket into place once its mode is right.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, OwnFile)> {
    let (dir, name) = Short::of(path)?;
    let private = dir.join(format!(".status-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&private);
    std::fs::DirBuilder::new().mode(0o700).create(&private)?;
    let bound = private.join("s");
    let result = UnixListener::bind(&bound).and_then(|listener| {
        std::fs::set_permissions(&bound, std::fs::Permissions::from_mode(0o600))?;
        let inode = std::fs::symlink_metadata(&bound)?.ino();
        std::fs::rename(&bound, dir.join(name))?;
        let path = path.to_owned();
        Ok((listener, OwnFile { path, inode }))
    });
    let _ = std::fs::remove_dir_all(&private);
    result
}

async fn connection<S, F>(stream: S, pages: Arc<Pages<F>>, head_time: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn() -> Value + Send + Sync + 'static,
{
    let serve = service_fn(move |request| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(pages.answer(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serve);
    // A client that breaks off or is too slow is its own affair.
    let _ = tokio::time::timeout(MAX_CONNECTION_TIME, connection).await;
}
