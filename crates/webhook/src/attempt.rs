//! One attempt to deliver one message: resolve, check every address, connect to one of them, post, read the status.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::guard::{Policy, Refusal};
use crate::resolve::Resolver;
use crate::signature::{MessageId, Secrets};
use crate::target::Target;
use crate::tls::Roots;

mod answer;

pub use answer::Outcome;
use answer::{retry_after, verdict};

/// How long the parts of an attempt may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a TCP connection stands, over all addresses. Default 5 s.
    pub connect: Duration,
    /// Everything: name, connection, TLS, request, answer. Default 15 s, the least that Standard Webhooks advises.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(15),
        }
    }
}

/// Makes attempts; every one on a connection of its own.
#[derive(Debug)]
pub struct Client<R> {
    resolver: R,
    tls: Arc<ClientConfig>,
    policy: Policy,
    limits: Limits,
    agent: HeaderValue,
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The receiver's URL; it is checked once more.
    pub url: &'a str,
    /// The same over all attempts.
    pub id: &'a MessageId,
    /// Of the attempt, in seconds since 1970.
    pub timestamp: u64,
    /// Without any, there is no signature.
    pub secrets: Option<&'a Secrets>,
    /// JSON.
    pub body: Bytes,
}

/// How an attempt went.
#[derive(Debug)]
pub struct Report {
    /// What to do now.
    pub outcome: Outcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The address that was connected to.
    pub addr: Option<IpAddr>,
    /// How long it took.
    pub elapsed: Duration,
    /// Why there is no answer.
    pub error: Option<AttemptError>,
}

/// Why an attempt got no answer. Shows nothing of a URL but its host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The guard does not let it through; nothing was sent.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The name could not be asked for.
    #[error("cannot resolve {name}: {source}")]
    Resolve {
        /// The name.
        name: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name exists, but has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// No address could be connected to; the last one's error.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// The last address that was tried.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// TLS could not be agreed on, or the certificate is not the receiver's.
    #[error("no TLS with {addr}: {source}")]
    Tls {
        /// The address.
        addr: SocketAddr,
        /// What rustls said.
        source: io::Error,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("no answer from {addr}: {source}")]
    Http {
        /// The address.
        addr: SocketAddr,
        /// What hyper said.
        source: hyper::Error,
    },
    /// The time for the whole attempt is over.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl<R: Resolver> Client<R> {
    /// Makes a client. `agent` is the value of User-Agent; text that cannot stand in a header is left out.
    pub fn new(resolver: R, roots: &Roots, policy: Policy, limits: Limits, agent: &str) -> Self {
        Self {
            resolver,
            tls: roots.client_config(),
            policy,
            limits,
            agent: HeaderValue::from_str(agent).unwrap_or(HeaderValue::from_static("logferry")),
        }
    }

    /// The rules that every address is checked by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Makes one attempt. It ends within [`Limits::whole`].
    pub async fn attempt(&self, request: &Request<'_>) -> Report {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let until = begun + self.limits.whole;
        let done = timeout_at(until, self.post(request, &mut seen)).await;
        let error = match done {
            Ok(result) => result.err(),
            Err(_) => Some(AttemptError::Timeout(self.limits.whole)),
        };
        // An answer whose body breaks off or never ends is an answer: the status has been said.
        let (outcome, error) = match (seen.status, error) {
            (Some(status), _) => (verdict(status, seen.retry_after), None),
            (None, Some(error @ AttemptError::Refused(_))) => (Outcome::Dead, Some(error)),
            (None, error) => (Outcome::Retry { after: None }, error),
        };
        Report {
            outcome,
            status: seen.status.map(|status| status.as_u16()),
            addr: seen.addr,
            elapsed: begun.elapsed(),
            error,
        }
    }

    async fn post(&self, request: &Request<'_>, seen: &mut Seen) -> Result<(), AttemptError> {
        let target = self.policy.check_url(request.url)?;
        let addrs = self.addrs(&target).await?;
        let (stream, addr) = self.connect(&addrs, seen).await?;
        let message = message(&target, &self.agent, request);
        if !target.is_https() {
            return exchange(stream, message, request.timestamp, addr, seen).await;
        }
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        let stream = tls
            .connect(target.server_name()?, stream)
            .await
            .map_err(|source| AttemptError::Tls { addr, source })?;
        exchange(stream, message, request.timestamp, addr, seen).await
    }

    /// Every address of the receiver, all of them checked: one that is refused refuses the name.
    async fn addrs(&self, target: &Target) -> Result<Vec<SocketAddr>, AttemptError> {
        let addrs = match target.literal() {
            Some(addr) => vec![addr],
            None => {
                let name = target.name();
                let found = self.resolver.resolve(name).await;
                found.map_err(|source| AttemptError::Resolve {
                    name: name.to_owned(),
                    source,
                })?
            }
        };
        for addr in &addrs {
            self.policy.check_addr(*addr)?;
        }
        if addrs.is_empty() {
            return Err(AttemptError::NoAddress(target.name().to_owned()));
        }
        let with_port = |addr| SocketAddr::new(addr, target.port());
        Ok(addrs.into_iter().map(with_port).collect())
    }

    /// Connects to the first of the addresses that answers; each has an even share of the time that is left.
    async fn connect(
        &self,
        addrs: &[SocketAddr],
        seen: &mut Seen,
    ) -> Result<(TcpStream, SocketAddr), AttemptError> {
        let addrs = &addrs[..addrs.len().min(MAX_TRIED)];
        let until = Instant::now() + self.limits.connect;
        let mut last = AttemptError::Timeout(self.limits.connect);
        for (at, addr) in (0_u32..).zip(addrs) {
            let left = addrs.len() as u32 - at;
            let share = until.saturating_duration_since(Instant::now()) / left;
            let stream = match timeout(share, TcpStream::connect(*addr)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(source)) => {
                    last = AttemptError::Connect {
                        addr: *addr,
                        source,
                    };
                    continue;
                }
                Err(_) => {
                    let source = io::ErrorKind::TimedOut.into();
                    last = AttemptError::Connect {
                        addr: *addr,
                        source,
                    };
                    continue;
                }
            };
            let peer = stream.peer_addr().map_err(|source| AttemptError::Connect {
                addr: *addr,
                source,
            })?;
            self.check_peer(*addr, peer)?;
            seen.addr = Some(peer.ip());
            return Ok((stream, *addr));
        }
        Err(last)
    }

    /// What the connection went to is what was checked, and would be let through itself.
    fn check_peer(&self, addr: SocketAddr, peer: SocketAddr) -> Result<(), AttemptError> {
        self.policy.check_addr(peer.ip())?;
        if peer.ip().to_canonical() == addr.ip().to_canonical() && peer.port() == addr.port() {
            return Ok(());
        }
        let source = io::Error::other(format!("the connection went to {peer}"));
        Err(AttemptError::Connect { addr, source })
    }
}

/// What is known of an attempt when its time is over.
#[derive(Debug, Default)]
struct Seen {
    addr: Option<IpAddr>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
}

/// Addresses that are connected to in one attempt; all are checked. A receiver has two or four.
const MAX_TRIED: usize = 8;

/// Most of an answer's body that is read, so that a short one ends the connection in good order.
const MAX_ANSWER: usize = 64 << 10;

/// Most of an answer's head: hyper's floor is 8 KiB, and receivers' heads are below one.
const MAX_HEAD: usize = 64 << 10;

/// Most header fields of an answer; hyper's default.
const MAX_FIELDS: usize = 100;

fn message(
    target: &Target,
    agent: &HeaderValue,
    request: &Request<'_>,
) -> hyper::Request<Full<Bytes>> {
    let mut message = hyper::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = hyper::Method::POST;
    *message.uri_mut() = target.path().clone();
    let id = request.id.as_str();
    let mut fields = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", request.timestamp.to_string()),
    ];
    if let Some(secrets) = request.secrets {
        let signature = secrets.sign(request.id, request.timestamp, &request.body);
        fields.push(("webhook-signature", signature));
    }
    let headers = message.headers_mut();
    let text = |text: &str| HeaderValue::from_str(text).expect("visible ASCII and spaces");
    headers.insert(HOST, text(&target.authority()));
    headers.insert(USER_AGENT, agent.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in fields {
        headers.insert(name, text(&value));
    }
    message
}

/// Sends the message, notes the answer's status in `seen`, and reads a little of its body to throw it away.
async fn exchange<S>(
    stream: S,
    message: hyper::Request<Full<Bytes>>,
    now: u64,
    addr: SocketAddr,
    seen: &mut Seen,
) -> Result<(), AttemptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let http = |source| AttemptError::Http { addr, source };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http)?;
    let talk = async {
        let answer = sender.send_request(message).await.map_err(http)?;
        seen.status = Some(answer.status());
        if matches!(answer.status().as_u16(), 429 | 503) {
            let value = answer.headers().get(RETRY_AFTER);
            seen.retry_after = value.and_then(|value| retry_after(value.as_bytes(), now));
        }
        drain(answer).await;
        Ok(())
    };
    // The connection works while we wait for its answer; when it ends, the answer says why.
    let work = async {
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        done = talk => done,
        never = work => match never {},
    }
}

async fn drain(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read >= MAX_ANSWER {
            return;
        }
    }
}
