//! A master that acknowledges: the real `Receiver` over real TLS, with an archive in memory.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use delivery::control::Held;
use delivery::receiver::{Action, Append, Receiver, ReceiverLimits, Standing};
use delivery::{Code, Hash};
use framing::{Decoder, Frame, MAX_FRAME};
use pki::{Mode, ServerTls, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::archive::{Archive, Epoch, at};
use crate::bed::{Bed, until};

/// How a master treats its forwarders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Commits and acknowledges.
    Serve,
    /// Takes everything and commits nothing.
    Hold,
    /// Refuses with this code.
    Refuse(Code),
    /// Says that it goes away.
    Drain,
    /// Cuts a connection behind so many bytes.
    CutAfter(usize),
}

pub(crate) struct Master {
    pub(crate) port: u16,
    archive: Arc<Mutex<Archive>>,
    manner: watch::Sender<Manner>,
    tasks: Option<JoinSet<()>>,
}

impl Master {
    pub(crate) async fn start(bed: &Bed) -> Self {
        Self::start_at(bed, 0, Archive::new(1), Manner::Serve).await
    }

    pub(crate) async fn start_at(bed: &Bed, port: u16, archive: Archive, manner: Manner) -> Self {
        let tls = ServerTls::open(&bed.data(), Trust::Registry).await.unwrap();
        let tls = Arc::new(tls.with_acknowledged());
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], port)))
            .unwrap();
        let listener = socket.listen(64).unwrap();
        let port = listener.local_addr().unwrap().port();
        let archive = Arc::new(Mutex::new(archive));
        let (manner, told) = watch::channel(manner);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, Arc::clone(&archive), told));
        Self {
            port,
            archive,
            manner,
            tasks: Some(tasks),
        }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Dies; what was not committed is gone.
    pub(crate) async fn kill(mut self) -> Archive {
        self.tasks.take().unwrap().shutdown().await;
        let mut archive = self.archive();
        archive.crash();
        archive
    }

    pub(crate) fn archive(&self) -> Archive {
        self.archive.lock().unwrap().clone()
    }

    /// Somebody changes what it holds.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Archive)) {
        edit(&mut self.archive.lock().unwrap());
    }

    /// Waits until it has this, over all epochs.
    pub(crate) async fn has(&self, text: &[u8]) {
        until(async || self.archive.lock().unwrap().text().len() >= text.len()).await;
        let got = self.archive().text();
        assert_same(&got, text);
    }
}

/// Equal, or where they part.
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    if got == expected {
        return;
    }
    let at = got.iter().zip(expected).position(|(a, b)| a != b);
    let at = at.unwrap_or(got.len().min(expected.len()));
    let show = |bytes: &[u8]| {
        let from = at.saturating_sub(60);
        String::from_utf8_lossy(&bytes[from.min(bytes.len())..bytes.len().min(at + 60)])
            .into_owned()
    };
    panic!(
        "{} bytes instead of {}, different from {at} on: {:?} instead of {:?}",
        got.len(),
        expected.len(),
        show(got),
        show(expected)
    );
}

async fn accept(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    archive: Arc<Mutex<Archive>>,
    manner: watch::Receiver<Manner>,
) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        number += 1;
        let session = Session {
            archive: Arc::clone(&archive),
            number,
            out: Vec::new(),
            closed: false,
        };
        connections.spawn(session.serve(tcp, Arc::clone(&tls), manner.clone()));
    }
}

struct Session {
    archive: Arc<Mutex<Archive>>,
    number: usize,
    out: Vec<u8>,
    closed: bool,
}

impl Session {
    async fn serve(
        mut self,
        tcp: TcpStream,
        tls: Arc<ServerTls>,
        mut manner: watch::Receiver<Manner>,
    ) {
        let Ok(accepted) = tls.accept(tcp, Duration::from_secs(10)).await else {
            return;
        };
        assert_eq!(accepted.mode, Mode::Acknowledged);
        let (mut read, mut write) = tokio::io::split(accepted.stream);
        let limits = ReceiverLimits {
            siblings: self.archive.lock().unwrap().siblings.clone(),
            ..ReceiverLimits::default()
        };
        let id = self.archive.lock().unwrap().id;
        let mut receiver = Receiver::new(limits, id, Instant::now());
        if let Err(refusal) = tls.recheck(&accepted.peer) {
            receiver.handle_refused(Code::Revoked, &refusal.to_string());
        }
        let mut buf = Vec::new();
        let mut total = 0;
        loop {
            let now = *manner.borrow_and_update();
            match now {
                Manner::Refuse(code) => receiver.handle_refused(code, "the test says so"),
                Manner::Drain => receiver.handle_drain(1000),
                Manner::CutAfter(limit) if total >= limit => return,
                _ => {}
            }
            if now != Manner::Hold {
                self.commit(&mut receiver);
            }
            self.act(&mut receiver);
            let out = std::mem::take(&mut self.out);
            if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
                return;
            }
            if self.closed {
                break;
            }
            let more = tokio::select! {
                more = read.read_buf(&mut buf) => more,
                _ = manner.changed() => continue,
            };
            match more {
                Ok(more) if more > 0 => total += more,
                _ => break,
            }
            let done = self.take(&mut receiver, &buf);
            buf.drain(..done);
            receiver.handle_progress(!buf.is_empty(), Instant::now());
        }
        let _ = write.shutdown().await;
        // What is unread would reset the connection.
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(300), read.read_to_end(&mut rest)).await;
    }

    fn take(&mut self, receiver: &mut Receiver, buf: &[u8]) -> usize {
        let decoder = Decoder::new(MAX_FRAME).with_controls();
        let mut done = 0;
        while !self.closed {
            let Some((frame, used)) = decoder.decode(&buf[done..]).unwrap() else {
                break;
            };
            match frame {
                Frame::Message(message) => {
                    if let Some(append) = receiver.handle_data(1, message.len() as u64) {
                        self.append(append, message);
                    }
                }
                Frame::Control(json) => receiver.handle_control(json, Instant::now()),
            }
            self.act(receiver);
            done += used;
        }
        done
    }

    fn append(&mut self, append: Append, message: &[u8]) {
        let mut archive = self.archive.lock().unwrap();
        if archive.holder != self.number {
            self.closed = true;
            return;
        }
        let epoch = archive.epoch(append.epoch);
        assert_eq!(append.from.get() as usize, epoch.bytes.len());
        epoch.bytes.extend_from_slice(message);
        if !append.piece {
            epoch.bytes.push(b'\n');
        }
        epoch.in_line = append.piece;
        assert_eq!(append.to.get() as usize, epoch.bytes.len());
    }

    fn commit(&mut self, receiver: &mut Receiver) {
        let Some((epoch, offset)) = receiver.position() else {
            return;
        };
        if receiver.is_settled() {
            return;
        }
        for epoch in &mut self.archive.lock().unwrap().epochs {
            epoch.committed = epoch.bytes.len();
        }
        receiver.handle_committed(epoch, offset, Hash::of(b"ledger"));
    }

    fn act(&mut self, receiver: &mut Receiver) {
        while let Some(action) = receiver.poll_action() {
            let mut archive = self.archive.lock().unwrap();
            match action {
                Action::Control(control) => {
                    framing::encode_control(&control.encode().unwrap(), &mut self.out);
                }
                Action::Claim { .. } => {
                    archive.hellos += 1;
                    archive.holder = self.number;
                    drop(archive);
                    receiver.handle_claimed();
                }
                Action::List => {
                    let held = archive.epochs.iter().rev().take(16).map(|epoch| Held {
                        epoch: epoch.id,
                        end: at(epoch.bytes.len()),
                        head: epoch.head(),
                        tail: epoch.tail(),
                    });
                    receiver.handle_epochs(held.collect());
                }
                Action::Open(opening) => {
                    if !archive.epochs.iter().any(|epoch| epoch.id == opening.epoch) {
                        let base = opening.base.get() as usize;
                        archive.epochs.push(Epoch {
                            id: opening.epoch,
                            after: opening.after,
                            of: opening.of,
                            base,
                            bytes: vec![0; base],
                            gaps: Vec::new(),
                            rolls: Vec::new(),
                            in_line: false,
                            committed: base,
                        });
                    }
                    let epoch = archive.epoch(opening.epoch);
                    receiver.handle_standing(Standing {
                        offset: at(epoch.bytes.len()),
                        tail: epoch.tail(),
                        ledger: Hash::of(b"ledger"),
                        in_line: epoch.in_line,
                        sealed: false,
                    });
                }
                Action::Blank { epoch, count, .. } => {
                    let epoch = archive.epoch(epoch);
                    let len = epoch.bytes.len() + count as usize;
                    epoch.bytes.resize(len, b'\n');
                    epoch.in_line = false;
                }
                Action::Gap {
                    epoch,
                    from,
                    to,
                    cause,
                } => {
                    let (from, to) = (from.get() as usize, to.get() as usize);
                    let epoch = archive.epoch(epoch);
                    assert_eq!(epoch.bytes.len(), from);
                    epoch.bytes.resize(to, 0);
                    epoch.gaps.push((from, to, cause));
                }
                Action::Roll {
                    epoch,
                    end,
                    next,
                    cause,
                    lost,
                } => {
                    let epoch = archive.epoch(epoch);
                    assert_eq!(epoch.bytes.len(), end.get() as usize);
                    epoch.rolls.push((epoch.bytes.len(), next, cause, lost));
                }
                Action::Prove { epoch, end, len } => {
                    let end = end.get() as usize;
                    let held = archive.epochs.iter().find(|known| known.id == epoch);
                    let start = end - len as usize;
                    receiver.handle_proof(held.map_or(None.into(), |held| held.proof(start..end)));
                }
                Action::Commit => {
                    drop(archive);
                    self.commit(receiver);
                }
                Action::Beat(beat) => archive.beats.push(beat),
                Action::Renew { .. } => {}
                Action::Close(why) => {
                    if let delivery::receiver::Closing::Violation(what) = why {
                        panic!("the forwarder broke the protocol: {what}");
                    }
                    self.closed = true;
                }
            }
        }
    }
}
