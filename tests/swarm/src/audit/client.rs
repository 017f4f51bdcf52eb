//! A thread that writes audit records as a boundary client does: frames of up to ten records, never answered; one that
//! could not be written is kept and written again, whole, on a new connection.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::frame::Session;

/// Records of one frame, at most: a client's own batch.
const BATCH: u32 = 10;
/// Between two frames at most: with [`BATCH`] some thousand records a second.
const PAUSE_MS: u64 = 6;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(5);

/// A client at work.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Session,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<Connection>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many records it may have written by now.
    quota: AtomicU32,
    written: AtomicU32,
    /// Of these, on the connection of now.
    current: AtomicU32,
    over: AtomicBool,
}

/// What was written to one connection, and when.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// First number and time of each frame.
    pub(crate) frames: Vec<(u32, Instant)>,
    /// The number after the last one.
    pub(crate) end: u32,
}

impl Client {
    /// The client with number `n`, of the proxy at `socket`.
    pub(crate) fn start(n: usize, socket: &Path, seed: u64) -> Client {
        let session = Session::new(n);
        let shared = Arc::<Shared>::default();
        let work = Work {
            session: session.clone(),
            socket: socket.to_path_buf(),
            shared: Arc::clone(&shared),
            random: SmallRng::seed_from_u64(seed),
        };
        Client {
            session,
            shared,
            thread: Some(std::thread::spawn(move || work.run())),
        }
    }

    /// Lets it write up to so many records in all.
    pub(crate) fn allow(&self, records: u32) {
        self.shared.quota.store(records, Ordering::Relaxed);
    }

    /// How many it may write in all.
    pub(crate) fn quota(&self) -> u32 {
        self.shared.quota.load(Ordering::Relaxed)
    }

    /// Records in frames that were written.
    pub(crate) fn written(&self) -> u32 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Of these, how many went to the connection that it has now.
    pub(crate) fn current(&self) -> u32 {
        self.shared.current.load(Ordering::Relaxed)
    }

    /// Whether it has written all that it may.
    pub(crate) fn idle(&self) -> bool {
        self.written() >= self.quota() || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it; what it has written to each connection.
    pub(crate) fn finish(&mut self) -> anyhow::Result<Vec<Connection>> {
        self.shared.over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("finished before")?;
        let panicked = |_| anyhow!("the client of {} panicked", self.session.id);
        thread.join().map_err(panicked)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// What its thread has.
struct Work {
    session: Session,
    socket: PathBuf,
    shared: Arc<Shared>,
    random: SmallRng,
}

impl Work {
    fn run(mut self) -> Vec<Connection> {
        let (mut connections, mut stream) = (Vec::<Connection>::new(), None);
        while !self.over() {
            let from = self.shared.written.load(Ordering::Relaxed);
            let quota = self.shared.quota.load(Ordering::Relaxed);
            let to = quota.min(from + self.random.random_range(1..=BATCH));
            if to > from {
                let Some(written) = self.write(from, to, &mut stream, &mut connections) else {
                    break;
                };
                written.end = to;
                let first = written.frames.first().map_or(from, |(first, _)| *first);
                self.shared.current.store(to - first, Ordering::Relaxed);
                self.shared.written.store(to, Ordering::Release);
            }
            let pause = Duration::from_millis(self.random.random_range(0..=PAUSE_MS));
            std::thread::park_timeout(pause);
        }
        connections
    }

    /// Writes a frame, if need be to a new connection; `None` when it is over before that works.
    fn write<'a>(
        &self,
        from: u32,
        to: u32,
        stream: &mut Option<UnixStream>,
        connections: &'a mut Vec<Connection>,
    ) -> Option<&'a mut Connection> {
        let (header, payload) = self.session.frame(from, to);
        loop {
            let open = match stream.take() {
                Some(open) => open,
                None => {
                    connections.push(Connection::default());
                    self.connect()?
                }
            };
            let now = Instant::now();
            let mut writer = &open;
            let written = writer.write_all(&header);
            if written.and_then(|()| writer.write_all(&payload)).is_ok() {
                *stream = Some(open);
                let connection = connections.last_mut()?;
                connection.frames.push((from, now));
                return Some(connection);
            }
        }
    }

    fn connect(&self) -> Option<UnixStream> {
        while !self.over() {
            if let Ok(stream) = UnixStream::connect(&self.socket) {
                return Some(stream);
            }
            std::thread::park_timeout(RETRY);
        }
        None
    }

    fn over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }
}
