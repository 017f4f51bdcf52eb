//! One GET over a connection of its own, its body as it comes.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::Empty;
use hyper::{
    Request, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{ApiError, Endpoint};

/// Until the daemon takes the connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Octets of the answer in memory at once.
const BUFFER: usize = 128 << 10;

/// Octets of a refusal that are kept.
const MAX_MESSAGE: usize = 512;

/// After so much silence TCP asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The body of an answer.
pub(super) struct Answer {
    /// Moves the octets; nobody else polls it.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    body: Incoming,
}

/// Asks for a path and waits for the head of the answer, for ever if `patience` is `None`.
pub(super) async fn get(
    endpoint: &Endpoint,
    path: &str,
    patience: Option<Duration>,
) -> Result<Answer, ApiError> {
    let late = |_| {
        ApiError::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            "connecting took too long",
        ))
    };
    match endpoint {
        Endpoint::Unix(socket) => {
            let stream = timeout(CONNECT, UnixStream::connect(socket))
                .await
                .map_err(late)??;
            request(stream, path, patience).await
        }
        Endpoint::Tcp(address) => {
            let stream = timeout(CONNECT, TcpStream::connect(address))
                .await
                .map_err(late)??;
            rustix::net::sockopt::set_socket_keepalive(&stream, true).map_err(io::Error::from)?;
            rustix::net::sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE).map_err(io::Error::from)?;
            request(stream, path, patience).await
        }
    }
}

async fn request<S>(stream: S, path: &str, patience: Option<Duration>) -> Result<Answer, ApiError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> =
        Box::pin(connection);
    let request = Request::get(path)
        .header("host", "docker")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|error| ApiError::Stream(error.to_string()))?;
    let head = async {
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        let mut open = true;
        poll_fn(|cx| {
            if open && connection.as_mut().poll(cx).is_ready() {
                open = false;
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map(|answer| (answer, open))
    };
    let head = match patience {
        Some(patience) => timeout(patience, head).await.map_err(|_| slow())?,
        None => head.await,
    };
    let (answer, open) = head.map_err(broken)?;
    let status = answer.status();
    let mut answer = Answer {
        connection: open.then_some(connection),
        body: answer.into_body(),
    };
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let mut text = Vec::new();
    while text.len() < MAX_MESSAGE
        && let Some(octets) = timeout(CONNECT, answer.next())
            .await
            .map_err(|_| slow())??
    {
        text.extend_from_slice(&octets);
    }
    text.truncate(MAX_MESSAGE);
    Err(ApiError::Status {
        status: status.as_u16(),
        message: message(&text),
    })
}

/// Takes the daemon's words out of their JSON.
fn message(text: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    match value.as_ref().and_then(|value| value["message"].as_str()) {
        Some(message) => message.to_owned(),
        None => text.trim_ascii().escape_ascii().to_string(),
    }
}

impl Answer {
    /// Waits for more of the body; `None` at its orderly end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Gives more of the body if it is there already.
    pub(super) fn ready(&mut self) -> Option<io::Result<Option<Bytes>>> {
        self.next().now_or_never()
    }

    /// Reads the whole body, up to a limit.
    pub(super) async fn whole(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        while let Some(octets) = self.next().await? {
            if text.len() + octets.len() > limit {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("answer over {limit} octets"),
                ));
            }
            text.extend_from_slice(&octets);
        }
        Ok(text)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(octets) = frame.into_data() {
                        return Poll::Ready(Ok(Some(octets)));
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {}
            }
            let Some(connection) = &mut self.connection else {
                return Poll::Pending;
            };
            if connection.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.connection = None;
        }
    }
}

fn broken(error: hyper::Error) -> ApiError {
    ApiError::Io(io::Error::other(error))
}

fn slow() -> ApiError {
    ApiError::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the daemon did not answer in time",
    ))
}
