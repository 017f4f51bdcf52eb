//! A receiver that says what a test wants, and names that lead to it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use webhook::{Client, Limits, MessageId, Policy, Report, Request, Resolver, Roots, Secrets};

/// What a receiver does once it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Writes this and closes.
    Text(String),
    /// Writes this, then more for ever.
    Endless(String),
    /// Says nothing and keeps the connection.
    Hang,
    /// Closes without a word.
    Close,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self::with(status, "")
    }

    /// `fields` with CRLF behind each.
    pub(crate) fn with(status: u16, fields: &str) -> Self {
        Self::Text(format!(
            "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{fields}\r\n"
        ))
    }
}

/// A listener on loopback, and every request that it read.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) async fn plain(answer: Answer) -> Self {
        Self::start("127.0.0.1", answer, None).await
    }

    pub(crate) async fn start(ip: &str, answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, &seen).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, answer, &seen).await,
                            Err(error) => Err(error),
                        },
                    }
                });
            }
        });
        Self { addr, requests }
    }

    /// A URL with the receiver's port.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.addr.port())
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut text = Vec::new();
    while !whole(&text) {
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    }
    seen.lock().unwrap().push(String::from_utf8(text).unwrap());
    match answer {
        Answer::Text(text) => stream.write_all(text.as_bytes()).await?,
        Answer::Endless(text) => {
            stream.write_all(text.as_bytes()).await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        Answer::Hang => std::future::pending().await,
        Answer::Close => {}
    }
    stream.shutdown().await
}

/// Whether a head and the body that it announces are there.
fn whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    body.len() >= length
}

/// Names and, for each, the answers to one question after the other; the last one is repeated.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    pub(crate) fn one(name: &str, answers: &[&[&str]]) -> Self {
        let parse = |addrs: &&[&str]| addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let mut answers: Vec<Vec<IpAddr>> = answers.iter().map(parse).collect();
        answers.reverse();
        Self(Mutex::new(HashMap::from([(name.to_owned(), answers)])))
    }
}

impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names
            .get_mut(name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if answers.len() > 1 {
            return Ok(answers.pop().unwrap());
        }
        Ok(answers[0].clone())
    }
}

pub(crate) fn policy(allow: &[&str]) -> Policy {
    Policy {
        allow_cidrs: allow.iter().map(|net| net.parse().unwrap()).collect(),
        ..Policy::default()
    }
}

/// Long enough for a busy machine; a test that waits for it to pass uses its own.
pub(crate) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(20),
    whole: Duration::from_secs(30),
};

pub(crate) fn client(names: Names, policy: Policy) -> Client<Names> {
    let roots = Roots::load(None).unwrap();
    Client::new(names, &roots, policy, LIMITS, "logferry/0.0.0")
}

/// A client that may reach all of 127/8 and knows no name.
pub(crate) fn loopback() -> Client<Names> {
    client(Names::default(), policy(&["127.0.0.0/8"]))
}

pub(crate) const BODY: &str = r#"{"test":true}"#;

pub(crate) async fn post<R: Resolver>(client: &Client<R>, url: &str) -> Report {
    let id = MessageId::new("01JD_chat").unwrap();
    let secrets = Secrets::parse("t0p-secret").unwrap();
    let request = Request {
        url,
        id: &id,
        timestamp: 1_614_265_330,
        secrets: Some(&secrets),
        body: Bytes::from_static(BODY.as_bytes()),
    };
    client.attempt(&request).await
}
