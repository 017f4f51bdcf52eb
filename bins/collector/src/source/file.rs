//! The `file` reader: the json-file driver's own files, for all containers on one thread.
//!
//! Each container is a `log::Log`: a chain of open files from where it stands to the one that Docker writes to. The
//! reader takes turns: a chunk of each container that has something to read. While there is nothing to read, or
//! nobody takes what was read, it looks for rotated files and opens them, so that Docker can't remove them unread.

mod input;
mod log;
mod resume;
mod rotation;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    sync::mpsc::{self, Permit, error::TryRecvError},
    task::JoinSet,
};

use super::{
    Batch, Container, Cursor, Event, Lease, Pool,
    api::{self, ApiError, Endpoint},
};
use log::{Log, Output, Step};

/// What the reader is told.
#[derive(Debug)]
pub enum Command {
    /// Read this container from the cursor on, or from the oldest entry there is. For a container that is being read
    /// it takes back an `Ended`, and the cursor is ignored. After an `Ended`, wait for the batch with `end` before
    /// attaching again, and use that batch's cursor.
    Attach {
        /// The container.
        container: Arc<Container>,
        /// Where to go on.
        cursor: Option<Cursor>,
    },
    /// The container has stopped: read what is left, hand out its last line even without LF, then send `end`. If the
    /// container runs again by then, a line without LF may go on: it is left to the next reader.
    Ended {
        /// The container's id.
        id: String,
    },
    /// Let go of the container at once; nothing more is sent for it.
    Detach {
        /// The container's id.
        id: String,
    },
}

/// The pause after a container had nothing to read; it doubles up to [`PAUSE_MAX`] while that stays so.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest time until new output of a silent container, or a rotation, is noticed.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Tells whether the `file` reader can serve a container: a json-file log whose path can be opened.
///
/// # Errors
///
/// Says what stands in the way.
pub fn probe(container: &Container) -> io::Result<()> {
    let path = log::log_path(container)?;
    File::open(path)
        .map(|_| ())
        .map_err(|error| named(container, error))
}

/// Reads the containers it is told of until `commands` is closed or `events` has no receiver.
///
/// `endpoint` is asked whether a container runs; without one a container that has ended stays so.
///
/// Reads block on the disk: run it on a thread of its own (a current-thread runtime with time and IO enabled).
pub async fn run(
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    pool: Pool,
    endpoint: Option<Endpoint>,
) {
    raise_open_files();
    let mut reader = Reader {
        events,
        pool,
        endpoint,
        turns: VecDeque::new(),
        shared: Vec::new(),
    };
    // The end of either channel is the end of the work, not an error.
    let _ = reader.work(commands).await;
}

/// Each container is an open file or more, and a service begins with 1024 of them.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "can't raise the limit of open files");
    }
}

struct Reader {
    events: mpsc::Sender<Event>,
    pool: Pool,
    endpoint: Option<Endpoint>,
    turns: VecDeque<Turn>,
    /// What is read goes through here, for all containers.
    shared: Vec<u8>,
}

/// A container and when it is to be looked at next.
struct Turn {
    log: Log,
    due: Instant,
    pause: Duration,
    /// Whether the container runs, asked when the log had been read up to a position; at most one is under way.
    question: JoinSet<(u64, Result<bool, ApiError>)>,
}

/// Nobody listens any more.
struct Closed;

impl Reader {
    async fn work(&mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), Closed> {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.obey(command).await?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(Closed),
                }
            }
            let now = Instant::now();
            for _ in 0..self.turns.len() {
                let Some(mut turn) = self.turns.pop_front() else {
                    break;
                };
                if turn.due > now || self.turn(&mut turn).await? {
                    self.turns.push_back(turn);
                }
            }
            let wake = self
                .turns
                .iter()
                .map(|turn| turn.due)
                .min()
                .unwrap_or(now + PAUSE_MAX);
            if wake > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(wake.into()) => {}
                    command = commands.recv() => self.obey(command.ok_or(Closed)?).await?,
                    () = self.events.closed() => return Err(Closed),
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<(), Closed> {
        match command {
            Command::Attach { container, cursor } => {
                if let Some(turn) = self
                    .turns
                    .iter_mut()
                    .find(|turn| turn.log.container.id == container.id)
                {
                    turn.question = JoinSet::new();
                    turn.log.output = Output::Open;
                    turn.log.container = container;
                    return Ok(());
                }
                match Log::open(container.clone(), cursor) {
                    Ok(log) => self.turns.push_back(Turn {
                        log,
                        due: Instant::now(),
                        pause: PAUSE_MIN,
                        question: JoinSet::new(),
                    }),
                    Err(error) => self.fail(container, error).await?,
                }
            }
            Command::Ended { id } => {
                if let Some(turn) = self
                    .turns
                    .iter_mut()
                    .find(|turn| turn.log.container.id == id)
                {
                    turn.log.output = Output::Ended;
                    turn.due = Instant::now();
                }
            }
            Command::Detach { id } => self.turns.retain(|turn| turn.log.container.id != id),
        }
        Ok(())
    }

    /// Reads a chunk of one container; false when it is done with.
    async fn turn(&mut self, turn: &mut Turn) -> Result<bool, Closed> {
        turn.hear();
        let stirs = match turn.log.stirs() {
            Ok(stirs) => stirs,
            Err(error) => {
                self.fail(turn.log.container.clone(), error).await?;
                return Ok(false);
            }
        };
        if !stirs {
            turn.rest();
            return Ok(true);
        }
        let (permit, mut lines) = room(&self.events, &self.pool, &mut self.turns, turn).await?;
        let log = &mut turn.log;
        let done = log.step(&mut self.shared, &mut lines).and_then(|step| {
            let end = step == Step::End;
            if !lines.is_empty() || log.has_news() || end {
                let (cursor, gaps, corrupt) = log.account(&lines)?;
                let container = log.container.clone();
                permit.send(Event::Batch(Batch {
                    container,
                    lines,
                    cursor,
                    gaps,
                    corrupt,
                    end,
                }));
            }
            Ok(step)
        });
        match done {
            Ok(Step::Read) => {
                turn.due = Instant::now();
                turn.pause = PAUSE_MIN;
                Ok(true)
            }
            Ok(Step::Idle) => {
                turn.rest();
                Ok(true)
            }
            Ok(Step::Within) => {
                self.ask(turn);
                Ok(true)
            }
            Ok(Step::End) => Ok(false),
            Err(error) => {
                self.fail(turn.log.container.clone(), error).await?;
                Ok(false)
            }
        }
    }

    /// Asks whether the container runs, after everything was read: what is in the log then is whole if it does not.
    fn ask(&self, turn: &mut Turn) {
        turn.rest();
        let at = turn.log.position();
        let Some(endpoint) = &self.endpoint else {
            turn.log.output = Output::Over(at);
            return;
        };
        if turn.question.is_empty() {
            let (endpoint, id) = (endpoint.clone(), turn.log.container.id.clone());
            turn.question
                .spawn(async move { (at, api::runs(&endpoint, id).await) });
        }
    }

    async fn fail(&self, container: Arc<Container>, error: io::Error) -> Result<(), Closed> {
        let error = named(&container, error);
        self.events
            .send(Event::Failed { container, error })
            .await
            .map_err(|_| Closed)
    }
}

impl Turn {
    /// Takes the daemon's answer; a question without one is asked again.
    fn hear(&mut self) {
        if let Some(Ok((at, Ok(runs)))) = self.question.try_join_next() {
            self.log.output = if runs {
                Output::Resumed
            } else {
                Output::Over(at)
            };
        }
    }

    fn rest(&mut self) {
        self.due = Instant::now() + self.pause;
        self.pause = (2 * self.pause).min(PAUSE_MAX);
    }
}

/// Waits until something read can be handed over, and pins rotated files meanwhile.
async fn room<'a>(
    events: &'a mpsc::Sender<Event>,
    pool: &Pool,
    others: &mut VecDeque<Turn>,
    this: &mut Turn,
) -> Result<(Permit<'a, Event>, Lease), Closed> {
    let both = async {
        Ok::<_, Closed>((
            events.reserve().await.map_err(|_| Closed)?,
            pool.take().await,
        ))
    };
    tokio::pin!(both);
    loop {
        tokio::select! {
            biased;
            both = &mut both => return both,
            () = tokio::time::sleep(PAUSE_MIN) => {
                for turn in others.iter_mut().chain([&mut *this]) {
                    // An error shows again when the container is read.
                    let _ = turn.log.follow();
                }
            }
        }
    }
}

/// Says which file an error is about.
fn named(container: &Container, error: io::Error) -> io::Error {
    let path = container
        .log_path
        .as_deref()
        .unwrap_or_else(|| "log file".as_ref());
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
