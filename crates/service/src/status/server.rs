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

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::listen::{Listen, Short};
use super::{Telemetry, exposition};

/// Connections served at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 16;
/// The longest a connection lives, whatever it does.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(10);
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
                    head_time: MAX_HEAD_TIME,
                })
            }
        }
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
            head_time,
        } = self;
        let pages = Arc::new(Pages { telemetry, status });
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
        async move { Ok::<_, Infallible>(pages.answer(&request)) }
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

/// The pages of the endpoint.
struct Pages<F> {
    telemetry: Arc<Telemetry>,
    status: F,
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl<F: Fn() -> Value> Pages<F> {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                match exposition::encode(&[&self.telemetry.registry, &self.telemetry.foreign]) {
                    Ok(text) => page(StatusCode::OK, exposition::CONTENT_TYPE, text),
                    Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, String::new()),
                }
            }
            "/livez" => self.live(),
            "/readyz" => self.ready(),
            "/status" => page(StatusCode::OK, JSON, format!("{}\n", self.status())),
            _ => page(
                StatusCode::NOT_FOUND,
                PLAIN,
                "pages: /metrics /livez /readyz /status\n".into(),
            ),
        }
    }

    fn live(&self) -> Response<Full<Bytes>> {
        let stalled = self.telemetry.health.stalled();
        if stalled.is_empty() {
            return page(StatusCode::OK, PLAIN, "ok\n".into());
        }
        let line = |(name, silent): &(String, Duration)| {
            format!("{name}: silent for {} s\n", silent.as_secs())
        };
        let text = stalled.iter().map(line).collect();
        page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let components = self.telemetry.health.components();
        let failed = components.iter().filter_map(|(name, state)| {
            let why = state.as_ref()?;
            Some(format!("{name}: {why}\n"))
        });
        let text: String = failed.collect();
        if text.is_empty() {
            return page(StatusCode::OK, PLAIN, "ok\n".into());
        }
        page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
    }

    fn status(&self) -> Value {
        let telemetry = &self.telemetry;
        let components = telemetry.health.components();
        let stalled = telemetry.health.stalled();
        let mut status = json!({
            "program": telemetry.program,
            "version": telemetry.version,
            "pid": std::process::id(),
            "uptime_seconds": telemetry.health.uptime().as_secs(),
            "live": stalled.is_empty(),
            "ready": components.values().all(Option::is_none),
            "components": components
                .iter()
                .map(|(name, state)| (name.clone(), json!(state.as_deref().unwrap_or("ok"))))
                .collect::<serde_json::Map<_, _>>(),
        });
        if let (Some(all), Value::Object(own)) = (status.as_object_mut(), (self.status)()) {
            all.extend(own);
        }
        status
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
