//! A receiver of webhooks on loopback that behaves as a test says, and remembers what it was sent.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with this status.
    Status(u16),
    /// Reads and says nothing, until the sender gives up.
    Hang,
    /// Closes without an answer.
    Reset,
}

/// A webhook as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: serde_json::Value,
    /// The same as it came, for signatures.
    #[allow(dead_code, reason = "this file is in two test binaries")]
    pub(crate) text: String,
    /// How it was answered.
    pub(crate) manner: Manner,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.fields["webhook-id"]
    }

    pub(crate) fn message(&self) -> &str {
        self.body["data"]["event"]["message"].as_str().unwrap()
    }
}

/// Ends with its value.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    manners: Arc<Mutex<Manners>>,
    _server: JoinSet<()>,
}

/// Those of the next requests, then always the last.
#[derive(Debug)]
struct Manners {
    next: Vec<Manner>,
    then: Manner,
}

impl Receiver {
    pub(crate) async fn start(then: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, then)
    }

    pub(crate) fn on(listener: TcpListener, then: Manner) -> Self {
        let addr = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let manners = Manners {
            next: Vec::new(),
            then,
        };
        let manners = Arc::new(Mutex::new(manners));
        let (seen, asked) = (Arc::clone(&received), Arc::clone(&manners));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, move |fields, text| {
            let manner = {
                let mut manners = asked.lock().unwrap();
                manners.next.pop().unwrap_or(manners.then)
            };
            seen.lock().unwrap().push(Received {
                fields,
                body: serde_json::from_str(&text).unwrap(),
                text,
                manner,
            });
            manner
        }));
        Self {
            addr,
            received,
            manners,
            _server: server,
        }
    }

    /// From now on: `next` for one request each, then `then`.
    pub(crate) fn behave(&self, next: &[Manner], then: Manner) {
        let next = next.iter().rev().copied().collect();
        *self.manners.lock().unwrap() = Manners { next, then };
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook/t0ken", self.addr)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The messages of webhooks that were answered well, in their order.
    pub(crate) fn delivered(&self) -> Vec<String> {
        let all = self.received();
        let good = all.iter().filter(|one| one.manner == Manner::Status(200));
        good.map(|one| one.message().to_owned()).collect()
    }
}

/// Serves for ever; `decide` is told fields and body of each request.
pub(crate) async fn serve(
    listener: TcpListener,
    decide: impl Fn(BTreeMap<String, String>, String) -> Manner + Send + Sync + 'static,
) {
    let decide = Arc::new(decide);
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let decide = Arc::clone(&decide);
        open.spawn(async move {
            // A sender that was killed is none of our concern.
            drop(answer(stream, &*decide).await);
        });
        while open.try_join_next().is_some() {}
    }
}

async fn answer(
    mut stream: TcpStream,
    decide: impl Fn(BTreeMap<String, String>, String) -> Manner,
) -> io::Result<()> {
    let mut text = Vec::new();
    let (fields, body) = loop {
        if let Some(whole) = whole(&text) {
            break whole;
        }
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    };
    match decide(fields, body) {
        Manner::Status(status) => {
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await
        }
        Manner::Hang => stream.read_buf(&mut text).await.map(drop),
        Manner::Reset => Ok(()),
    }
}

/// The fields and the body of a request that is there to its end.
fn whole(text: &[u8]) -> Option<(BTreeMap<String, String>, String)> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let fields: BTreeMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length: usize = fields["content-length"].parse().unwrap();
    (body.len() == length).then(|| (fields.clone(), body.to_owned()))
}
