//! The `status` command's side of the endpoint.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::AUTHORIZATION;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::access::Access;
use super::listen::{Listen, Short};
use super::render;
use crate::{Failure, out};

/// The longest a question may take.
const MAX_TIME: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nobody listens there.
    #[error("nobody answers on {at}, so the program does not run: {source}")]
    NotRunning {
        /// Where it should listen.
        at: Listen,
        /// What the system says.
        source: io::Error,
    },
    /// No answer within the time limit.
    #[error("no answer from {0} within {time} s", time = MAX_TIME.as_secs())]
    TimedOut(Listen),
    /// The answer broke off, or is no HTTP, or is too long.
    #[error("answer from {at}: {source}")]
    Broken {
        /// Who was asked.
        at: Listen,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Asks a running program for a page (`/status`); gives the HTTP status and the body.
///
/// # Errors
/// See [`QueryError`].
pub async fn query(listen: &Listen, page: &str) -> Result<(u16, Bytes), QueryError> {
    query_as(listen, &Access::default(), page).await
}

/// The same of an endpoint that wants a token.
///
/// # Errors
/// See [`QueryError`].
pub async fn query_as(
    listen: &Listen,
    access: &Access,
    page: &str,
) -> Result<(u16, Bytes), QueryError> {
    let not_running = |source| QueryError::NotRunning {
        at: listen.clone(),
        source,
    };
    let ask = async {
        let answer = match listen {
            Listen::Unix(path) => {
                let (dir, name) = Short::of(path).map_err(not_running)?;
                let stream = UnixStream::connect(dir.join(name)).await;
                exchange(stream.map_err(not_running)?, access, page).await
            }
            Listen::Loopback(addr) => {
                let stream = TcpStream::connect(addr).await;
                exchange(stream.map_err(not_running)?, access, page).await
            }
        };
        answer.map_err(|source| QueryError::Broken {
            at: listen.clone(),
            source,
        })
    };
    match tokio::time::timeout(MAX_TIME, ask).await {
        Ok(answer) => answer,
        Err(_) => Err(QueryError::TimedOut(listen.clone())),
    }
}

/// The whole `status` command: asks, and prints for people or as one JSON line.
///
/// # Errors
/// The program does not run, or its answer is broken; stdout can't be written.
pub fn status_command(listen: &Listen, json: bool) -> Result<(), Failure> {
    page_command(listen, &Access::default(), "/status", json)
}

/// A command that prints a page of a running program, for people or as one JSON line.
///
/// # Errors
/// As [`status_command`].
pub fn page_command(
    listen: &Listen,
    access: &Access,
    page: &str,
    json: bool,
) -> Result<(), Failure> {
    let runtime = crate::runtime(1)?;
    let (code, body) = runtime
        .block_on(query_as(listen, access, page))
        .with_context(|| format!("ask for {page}"))?;
    if code != 200 {
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(anyhow::anyhow!("{page} on {listen} answers {code}: {text}").into());
    }
    let status: Value = serde_json::from_slice(&body).with_context(|| format!("read {page}"))?;
    if json {
        return out::json(&status);
    }
    out::bytes(render::human(&status).as_bytes())
}

async fn exchange<S>(
    stream: S,
    access: &Access,
    page: &str,
) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(page)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    if let Some(value) = access.header() {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let ask = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await?;
        Ok((status, body.to_bytes()))
    };
    // The connection moves while the answer is awaited; its own end says nothing more.
    tokio::pin!(ask);
    tokio::select! {
        answer = &mut ask => answer,
        _ = connection => ask.await,
    }
}
