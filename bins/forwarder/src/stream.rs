//! One stream: from its stored offset to a master, again and again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use offsets::{Fact, Ledger, Store};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use ratelimit::Backoff;
use serde_json::json;
use service::Seldom;
use service::status::Component;
use tail::{Follower, Gap, Options, TailError, Watch};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::config::{Config, Master, StreamConfig};
use crate::connection::Connection;
use crate::delivery::{End, plain};
use crate::identity::Identities;
use crate::import;
use crate::limits::Limits;
use crate::patience::Patience;
use crate::state::{self, Stored};
use crate::status::Board;
use crate::tailer::{OBSERVE, Tailer};

/// What all streams share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) masters: Arc<[Master]>,
    pub(crate) limits: Limits,
}

/// What a session needs of its stream.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) tailer: Tailer,
    pub(crate) board: Board,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
    shared: Shared,
    health: Component,
    stored: Stored,
    /// The follower's count of changes when its epochs were last stored.
    remembered: Option<u64>,
    watch: Option<Watch>,
    complaint: Seldom<&'static str>,
    troubled: bool,
}

impl Link {
    /// Opens a stream where it was left, or at DECNET's offset, or at the start of its file.
    ///
    /// # Errors
    /// Damaged state, or an offset that can't be imported.
    pub(crate) async fn open(
        config: &Config,
        stream: &StreamConfig,
        shared: Shared,
        (board, patience, health): (Board, Patience, Component),
    ) -> anyhow::Result<Self> {
        let mut options = Options::new(&stream.path);
        options.max_line = framing::MAX_FRAME;
        options.read = shared.limits.batch;
        options.max_lag = config.max_lag_bytes;
        let stored = state::load(&shared.store, &stream.name).await?;
        let follower = match (&stored, &stream.import_offset) {
            (None, Some(import)) => {
                let offset = import::offset(import)
                    .await
                    .context("import DECNET's offset")?;
                info!(stream = %stream.name, path = %import.display(), offset, "first start: DECNET's offset");
                match offset {
                    Some(offset) => Follower::import(options, offset)?,
                    None => Follower::new(options, None),
                }
            }
            _ => Follower::new(options, stored.clone().map(|stored| stored.checkpoint)),
        };
        let watch = Watch::new(&stream.path)
            .inspect_err(|error| warn!(stream = %stream.name, %error, "no watch on the file, polling instead"))
            .ok();
        Ok(Self {
            name: stream.name.clone(),
            tailer: Tailer::new(follower),
            board,
            limits: shared.limits,
            patience,
            shared,
            health,
            stored: stored.unwrap_or_default(),
            remembered: None,
            watch,
            complaint: Seldom::new(Duration::from_secs(60)),
            troubled: false,
        })
    }

    /// Everything up to step `seq` is delivered: confirms it and stores the new offset.
    pub(crate) async fn confirm(&mut self, seq: u64) -> anyhow::Result<()> {
        self.tailer.here()?.confirm(seq);
        self.save().await
    }

    /// Stores which epochs there are, when there are new ones: before anything of them is sent.
    pub(crate) async fn remember(&mut self) -> anyhow::Result<()> {
        let changes = self.tailer.here()?.changes();
        if self.remembered == Some(changes) {
            return Ok(());
        }
        self.save().await
    }

    /// A store that can't be written is no reason to stop: after a crash more would be sent again, that is all.
    async fn save(&mut self) -> anyhow::Result<()> {
        let follower = self.tailer.here()?;
        let changes = follower.changes();
        self.stored.checkpoint = follower.checkpoint();
        match state::save(&self.shared.store, &self.name, &self.stored).await {
            Ok(()) => {
                self.remembered = Some(changes);
                self.board.metrics.commits.inc();
            }
            Err(error) => self.complain("store", &format!("{error:#}")),
        }
        Ok(())
    }

    /// Puts a gap into the ledger; false if that is not possible now.
    pub(crate) async fn record(&mut self, gap: Gap) -> anyhow::Result<bool> {
        let fact = self.fact(&gap);
        let ledger = Arc::clone(&self.shared.ledger);
        let written = tokio::task::spawn_blocking(move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.append(&[fact], SystemTime::now())
        })
        .await
        .context("write the ledger")?;
        if let Err(error) = written {
            self.complain("ledger", &format!("{:#}", anyhow::Error::from(error)));
            return Ok(false);
        }
        self.board.gap(gap.cause.as_str(), gap.known);
        warn!(epoch = %gap.epoch, offset = gap.from, to = gap.to, bytes = gap.known,
              cause = gap.cause.as_str(), "gap");
        Ok(true)
    }

    fn fact(&self, gap: &Gap) -> Fact {
        let mut fact = Fact {
            kind: "gap".to_owned(),
            epoch: Some(gap.epoch.to_string()),
            base: Some(gap.from),
            len: gap.to.map(|to| to - gap.from),
            ..Fact::default()
        };
        fact.more.insert("stream".to_owned(), json!(self.name));
        fact.more
            .insert("cause".to_owned(), json!(gap.cause.as_str()));
        fact.more.insert("known".to_owned(), json!(gap.known));
        fact
    }

    /// Shows where the follower stands.
    pub(crate) fn stand(&mut self) -> anyhow::Result<()> {
        let standing = self.tailer.here()?.standing();
        self.board.stand(standing, Instant::now());
        Ok(())
    }

    /// The source can't be read now.
    pub(crate) fn trouble(&mut self, error: &TailError) {
        self.board.metrics.read_errors.inc();
        self.troubled = true;
        let error = error.to_string();
        self.health.failed(&error);
        self.complain("source", &error);
    }

    /// The source can be read again, while connected.
    pub(crate) fn relief(&mut self) {
        if std::mem::take(&mut self.troubled) {
            self.health.ok();
        }
    }

    fn complain(&self, about: &'static str, error: &str) {
        if let Some(repeated) = self.complaint.allow(about, Instant::now()) {
            warn!(about, error, repeated, "trouble, trying again");
        }
    }

    /// Begins to watch the file; true if it was not watched before.
    pub(crate) fn arm(&mut self) -> bool {
        let Some(watch) = &mut self.watch else {
            return false;
        };
        !watch.armed() && watch.arm()
    }

    /// Ceases to watch: while there is something to read every change would cost an event.
    pub(crate) fn disarm(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.disarm();
        }
    }

    /// Waits for a change of the file; for ever without a watch. Cancel safe.
    pub(crate) async fn changed(&self) {
        match &self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Looks at the file while nothing is read: without a session, or while the peer takes nothing. Not cancel safe.
    pub(crate) async fn observe(&mut self) -> anyhow::Result<()> {
        let (standing, error) = self.patience.wait(self.tailer.observe()).await?;
        if let Some(error) = error {
            self.trouble(&error);
        }
        self.board.stand(standing, Instant::now());
        self.remember().await
    }
}

/// Delivers the stream until `stop`.
///
/// # Errors
/// What no other connection would mend.
pub(crate) async fn run(mut link: Link, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let limits = link.limits;
    let mut backoff = Backoff::new(limits.backoff, limits.backoff_most);
    let mut rng = SmallRng::from_seed(rand::random());
    loop {
        link.observe().await?;
        let found = {
            let connecting = link.patience.wait(connect(&link.shared));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                found = connecting => found,
            }
        };
        let why = match found {
            Ok((master, connection)) => {
                info!(server.addr = %master, mode = "plain", "connected");
                link.board.connected(master.to_string());
                link.health.ok();
                let end = plain::deliver(&mut link, connection, &mut stop).await?;
                link.tailer.recall().await?.rewind();
                match end {
                    End::Stopped => {
                        link.board.disconnected(None);
                        return Ok(());
                    }
                    End::Lost { why, progress } => {
                        if progress {
                            backoff.reset();
                        }
                        why
                    }
                }
            }
            Err(why) => format!("{why:#}"),
        };
        link.board.metrics.failures.inc();
        link.health.failed(&why);
        let wait = backoff.next(&mut rng);
        if link.complaint.allow("master", Instant::now()).is_some() {
            warn!(
                error = why,
                retry_in_ms = wait.as_millis() as u64,
                "no master"
            );
        } else {
            debug!(
                error = why,
                retry_in_ms = wait.as_millis() as u64,
                "no master"
            );
        }
        link.board.disconnected(Some(why));
        if !away(&mut link, wait, &mut stop).await? {
            return Ok(());
        }
    }
}

/// The first master that answers, in order.
async fn connect(shared: &Shared) -> anyhow::Result<(Master, Connection)> {
    let mut failed: Option<anyhow::Error> = None;
    for master in shared.masters.iter() {
        match Connection::open(master, &shared.identities, &[], &shared.limits).await {
            Ok(connection) => return Ok((master.clone(), connection)),
            Err(error) => {
                let error = error.context(master.to_string());
                failed = Some(match failed {
                    None => error,
                    Some(first) => anyhow::anyhow!("{first:#}; {error:#}"),
                });
            }
        }
    }
    Err(failed.unwrap_or_else(|| anyhow::anyhow!("no master is named")))
}

/// Waits, and looks at the file meanwhile: what is rotated now must be held on to. False: told to stop.
async fn away(
    link: &mut Link,
    wait: Duration,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(!*stop.borrow());
        }
        let nap = link.patience.wait(tokio::time::sleep(left.min(OBSERVE)));
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(false),
            () = nap => {}
        }
        link.observe().await?;
    }
}
