//! A receiver as RFC 5425 has it, with faults on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use framing::{Decoder, Frame, MAX_FRAME};
use pki::{ServerTls, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bed::{Bed, until};

/// What one connection brought.
#[derive(Debug, Default, Clone)]
pub(crate) struct Brought {
    pub(crate) messages: Vec<Vec<u8>>,
    /// Octets behind the last whole frame when it ended.
    pub(crate) torn: usize,
    pub(crate) ended: bool,
    /// The sender said `close_notify`.
    pub(crate) orderly: bool,
}

/// How it treats its senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Reads and answers `close_notify`.
    Serve,
    /// Takes connections and reads nothing after the handshake.
    Deaf,
    /// Resets the connection after so many octets of plaintext.
    ResetAfter(usize),
}

pub(crate) struct Receiver {
    pub(crate) port: u16,
    brought: Arc<Mutex<Vec<Brought>>>,
    manner: watch::Sender<Manner>,
    tasks: Option<JoinSet<()>>,
}

impl Receiver {
    pub(crate) async fn start(bed: &Bed) -> Self {
        Self::start_at(bed, 0, Manner::Serve).await
    }

    /// Listens on `port` (0: any).
    pub(crate) async fn start_at(bed: &Bed, port: u16, manner: Manner) -> Self {
        let tls = Arc::new(ServerTls::open(&bed.data(), Trust::Registry).await.unwrap());
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        // Small, so that a deaf receiver is full soon.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], port)))
            .unwrap();
        let listener = socket.listen(64).unwrap();
        let port = listener.local_addr().unwrap().port();
        let brought = Arc::new(Mutex::new(Vec::new()));
        let (manner, told) = watch::channel(manner);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&brought), told));
        Self {
            port,
            brought,
            manner,
            tasks: Some(tasks),
        }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Dies with everything it had; its connections are reset or ended by the kernel.
    pub(crate) async fn kill(mut self) -> Vec<Brought> {
        self.tasks.take().unwrap().shutdown().await;
        self.connections()
    }

    pub(crate) fn connections(&self) -> Vec<Brought> {
        self.brought.lock().unwrap().clone()
    }

    /// All messages, connection after connection.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        self.connections()
            .into_iter()
            .flat_map(|brought| brought.messages)
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.brought
            .lock()
            .unwrap()
            .iter()
            .map(|brought| brought.messages.len())
            .sum()
    }

    pub(crate) async fn has(&self, count: usize) {
        until(async || self.count() >= count).await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    brought: Arc<Mutex<Vec<Brought>>>,
    manner: watch::Receiver<Manner>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        connections.spawn(serve(
            tcp,
            Arc::clone(&tls),
            Arc::clone(&brought),
            manner.clone(),
        ));
    }
}

async fn serve(
    tcp: TcpStream,
    tls: Arc<ServerTls>,
    all: Arc<Mutex<Vec<Brought>>>,
    manner: watch::Receiver<Manner>,
) {
    let Ok(accepted) = tls.accept(tcp, Duration::from_secs(10)).await else {
        return;
    };
    let mut stream = accepted.stream;
    let at = {
        let mut all = all.lock().unwrap();
        all.push(Brought::default());
        all.len() - 1
    };
    let decoder = Decoder::new(MAX_FRAME);
    let mut bytes = Vec::new();
    let mut read = 0;
    loop {
        let now = *manner.borrow();
        match now {
            Manner::Deaf => std::future::pending().await,
            Manner::ResetAfter(limit) if read >= limit => {
                stream.get_ref().0.set_zero_linger().unwrap();
                return;
            }
            Manner::Serve | Manner::ResetAfter(_) => {}
        }
        let got = stream.read_buf(&mut bytes).await;
        let mut done = 0;
        while let Some((frame, consumed)) = decoder.decode(&bytes[done..]).unwrap() {
            let Frame::Message(message) = frame else {
                panic!("a control in plain mode")
            };
            all.lock().unwrap()[at].messages.push(message.to_vec());
            done += consumed;
        }
        bytes.drain(..done);
        match got {
            Ok(more) if more > 0 => read += more,
            ended => {
                let brought = &mut all.lock().unwrap()[at];
                brought.torn = bytes.len();
                brought.ended = true;
                brought.orderly = ended.is_ok();
                break;
            }
        }
    }
    let _ = stream.shutdown().await;
}
