//! A Docker daemon with one container: its log in memory, its API on a socket in a temporary directory.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use docker_demux::Stream;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::source::{
    Container, Cursor, Event, Gap, Pool,
    api::{ApiError, Endpoint, run},
};

/// One stored entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    stream: Stream,
    stamp: String,
    text: Vec<u8>,
}

/// What followers do wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// A follower that has sent so many new entries and is behind goes on at the newest one.
    Skips(usize),
    /// A follower that has sent so many new entries begins again with the oldest, once.
    Repeats(usize),
    /// The connection is cut after so many entries.
    Cuts(usize),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) entries: Vec<Entry>,
    /// Those before are rotated away.
    pub(super) oldest: usize,
    pub(super) running: bool,
    pub(super) fault: Fault,
    pub(super) requests: Vec<String>,
    closing: bool,
    tty: bool,
}

pub(super) struct Daemon {
    dir: TempDir,
    pub(super) state: Arc<Mutex<State>>,
    change: watch::Sender<()>,
    server: JoinHandle<()>,
    pub(super) container: Container,
    pub(super) clock: u64,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Daemon {
    pub(super) fn start(tty: bool, driver: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State {
            entries: Vec::new(),
            oldest: 0,
            running: true,
            fault: Fault::None,
            requests: Vec::new(),
            closing: false,
            tty,
        };
        let state = Arc::new(Mutex::new(state));
        let (change, changed) = watch::channel(());
        let listener = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
        let server = tokio::spawn(serve(listener, state.clone(), changed));
        let container = Container {
            id: "0123".into(),
            tty,
            log_driver: driver.into(),
            rotates: true,
            ..Container::default()
        };
        Self {
            dir,
            state,
            change,
            server,
            container,
            clock: 0,
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Stores a line in pieces, as the driver does.
    pub(super) fn line(&mut self, stream: Stream, text: &str) {
        self.clock += 1000;
        let stamp = stamp(self.clock);
        self.stamped(stream, &stamp, text);
    }

    pub(super) fn stamped(&mut self, stream: Stream, stamp: &str, text: &str) {
        let body = if self.container.tty {
            format!("{text}\r")
        } else {
            text.to_owned()
        };
        let mut pieces: Vec<Vec<u8>> = body.as_bytes().chunks(16384).map(<[u8]>::to_vec).collect();
        if body.len().is_multiple_of(16384) {
            pieces.push(Vec::new());
        }
        if self.container.log_driver != "local" || pieces.len() == 1 {
            pieces.last_mut().unwrap().push(b'\n');
        }
        for text in pieces {
            self.piece(stream, stamp, text);
        }
    }

    pub(super) fn piece(&mut self, stream: Stream, stamp: &str, text: Vec<u8>) {
        self.state.lock().unwrap().entries.push(Entry {
            stream,
            stamp: stamp.to_owned(),
            text,
        });
        self.change.send_replace(());
    }

    pub(super) fn out(&mut self, text: &str) {
        self.line(Stream::Stdout, text);
    }

    pub(super) fn stop(&self) {
        self.state.lock().unwrap().running = false;
        self.change.send_replace(());
    }

    /// Wakes the followers.
    pub(super) fn stir(&self) {
        self.change.send_replace(());
    }

    /// Ends all followers' streams in good order, as a daemon does that goes down.
    pub(super) fn end_streams(&self) {
        self.state.lock().unwrap().closing = true;
        self.stir();
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// Waits for a follower at the live edge.
    pub(super) async fn followed(&self) {
        let asked = |request: &String| request.contains("follow=1");
        let wait = async {
            while !self.state.lock().unwrap().requests.iter().any(asked) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .unwrap();
    }

    pub(super) fn reader(&self, cursor: &Cursor) -> Running {
        let (sender, events) = mpsc::channel(1);
        let (endpoint, container, cursor) = (
            self.endpoint(),
            Arc::new(self.container.clone()),
            cursor.clone(),
        );
        let pool = Pool::new(2);
        let task =
            tokio::spawn(
                async move { run(&endpoint, container, Some(cursor), sender, pool).await },
            );
        Running { events, task }
    }
}

pub(super) fn stamp(clock: u64) -> String {
    let (seconds, nanos) = (clock / 1_000_000_000, clock % 1_000_000_000);
    format!(
        "2026-11-21T00:{:02}:{:02}.{nanos:09}Z",
        seconds / 60,
        seconds % 60
    )
}

/// A reader at work.
pub(super) struct Running {
    events: mpsc::Receiver<Event>,
    pub(super) task: JoinHandle<Result<(), ApiError>>,
}

/// What readers gave.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) lines: Vec<String>,
    pub(super) gaps: Vec<Gap>,
    pub(super) cursor: Cursor,
    pub(super) ended: bool,
}

impl Running {
    /// Takes one batch; false when the reader has returned.
    pub(super) async fn batch(&mut self, got: &mut Got) -> bool {
        let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv())
            .await
            .unwrap();
        let Some(Event::Batch(batch)) = event else {
            return false;
        };
        for (line, octets) in batch.lines.iter() {
            let mark = if line.stream == Stream::Stderr {
                "!"
            } else {
                ""
            };
            let part = line
                .part
                .map_or(String::new(), |part| format!("#{}", part.n));
            let text = String::from_utf8(octets.to_vec()).unwrap();
            let text = if text.len() > 50 {
                format!("{}…{}", &text[..20], text.len())
            } else {
                text
            };
            got.lines.push(format!("{mark}{text}{part}"));
        }
        got.gaps.extend(batch.gaps.iter().copied());
        got.cursor = serde_json::from_slice(&serde_json::to_vec(&batch.cursor).unwrap()).unwrap();
        got.ended |= batch.end;
        true
    }

    /// Takes batches until there are so many lines.
    pub(super) async fn until(&mut self, got: &mut Got, lines: usize) {
        while got.lines.len() < lines {
            assert!(
                self.batch(got).await,
                "{:?} after {:?}",
                (&mut self.task).await,
                got.lines
            );
        }
    }

    /// Takes all there is until the reader returns.
    pub(super) async fn rest(mut self, got: &mut Got) -> Result<(), ApiError> {
        while self.batch(got).await {}
        self.task.await.unwrap()
    }
}

async fn serve(listener: UnixListener, state: Arc<Mutex<State>>, changed: watch::Receiver<()>) {
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that goes away is no error.
        tasks.spawn(answer(stream, state.clone(), changed.clone()));
        while tasks.try_join_next().is_some() {}
    }
}

async fn answer(
    mut stream: UnixStream,
    state: Arc<Mutex<State>>,
    mut changed: watch::Receiver<()>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let path = String::from_utf8(head)
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    state.lock().unwrap().requests.push(path.clone());
    if path.ends_with("/json") {
        let body = format!(
            "{{\"State\":{{\"Running\":{}}}}}",
            state.lock().unwrap().running
        );
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        return stream.write_all(text.as_bytes()).await;
    }
    if !path.starts_with("/containers/0123/logs?") {
        let body = "{\"message\":\"No such container\"}";
        let text = format!(
            "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        return stream.write_all(text.as_bytes()).await;
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let follow = path.contains("follow=1");
    let tail = path
        .split("tail=")
        .nth(1)
        .and_then(|tail| tail.parse::<usize>().ok())
        .unwrap_or(usize::MAX);
    let (mut at, end) = {
        let state = state.lock().unwrap();
        (
            state.entries.len().saturating_sub(tail).max(state.oldest),
            state.entries.len(),
        )
    };
    let mut sent = 0;
    loop {
        changed.borrow_and_update();
        loop {
            let chunk = {
                let mut state = state.lock().unwrap();
                let ready = if follow { state.entries.len() } else { end };
                match state.fault {
                    Fault::Skips(after) if follow && at >= end + after && ready - at > 1000 => {
                        at = ready - 1
                    }
                    Fault::Repeats(after) if follow && at == end + after => {
                        at = state.oldest;
                        state.fault = Fault::None;
                    }
                    Fault::Cuts(after) if sent == after => return Ok(()),
                    _ => {}
                }
                if at == ready {
                    break;
                }
                at += 1;
                sent += 1;
                coded(&state.entries[at - 1], state.tty)
            };
            stream
                .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await?;
            stream.write_all(&chunk).await?;
            stream.write_all(b"\r\n").await?;
        }
        let over = {
            let state = state.lock().unwrap();
            !state.running || state.closing
        };
        if !follow || over {
            return stream.write_all(b"0\r\n\r\n").await;
        }
        if changed.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn coded(entry: &Entry, tty: bool) -> Vec<u8> {
    let payload = [entry.stamp.as_bytes(), b" ", &entry.text].concat();
    if tty {
        return payload;
    }
    let mut frame = vec![1 + entry.stream.index() as u8, 0, 0, 0];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}
