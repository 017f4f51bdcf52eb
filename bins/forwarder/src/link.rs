//! What a session needs of its stream: the follower, what is stored of it, and where its standing is shown.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use delivery::Control;
use delivery::control::Beat;
use delivery::sender::Doubts;
use offsets::{Fact, Ledger, Store};
use serde_json::json;
use service::Seldom;
use service::status::Component;
use tail::{Follower, Gap, Options, TailError, Watch};
use tracing::{info, warn};

use crate::config::{Config, Delivery, Master, StreamConfig};
use crate::identity::Identities;
use crate::import;
use crate::limits::Limits;
use crate::patience::Patience;
use crate::state::{self, Stored};
use crate::status::{Board, Mode};
use crate::tailer::Tailer;

/// What all streams share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) masters: Arc<[Master]>,
    pub(crate) delivery: Delivery,
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
    pub(crate) shared: Shared,
    pub(crate) health: Component,
    pub(crate) stored: Stored,
    /// The follower's count of changes when its epochs were last stored.
    remembered: Option<u64>,
    pub(crate) watch: Option<Watch>,
    pub(crate) complaint: Seldom<&'static str>,
    troubled: bool,
    /// An earlier epoch has grown: the next acknowledged connection begins with it.
    pub(crate) elsewhere: Option<tail::EpochId>,
    /// What masters could not prove of an epoch.
    pub(crate) doubts: Doubts,
    /// The gap that was recorded last: epoch, end, cause.
    recorded: Option<(tail::EpochId, Option<u64>, tail::Cause)>,
    /// The fallback to plain delivery was told of.
    pub(crate) warned: bool,
    /// The follower's count of syncs when it was last shown.
    syncs: u64,
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
        // A master that acknowledges is never ahead of our own disk, and may know files that we do not.
        options.durable = config.delivery != Delivery::Plain;
        options.ask = config.delivery != Delivery::Plain;
        let stored = state::load(&shared.store, &stream.name).await?;
        let checkpoint = stored.as_ref().map(|stored| stored.checkpoint.clone());
        // Until a master has said that it does not know the file, its first lines are still DECNET's.
        let named = checkpoint
            .as_ref()
            .is_some_and(|known| !known.epochs.is_empty());
        let offset = match &stream.import_offset {
            Some(import) if !named => import::offset(import)
                .await
                .context("import DECNET's offset")?
                .inspect(|offset| info!(stream = %stream.name, path = %import.display(), offset, "first start: DECNET's offset")),
            _ => None,
        };
        let follower = match offset {
            Some(offset) => Follower::import(options, checkpoint, offset)?,
            None => Follower::new(options, checkpoint),
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
            elsewhere: None,
            doubts: Doubts::default(),
            recorded: None,
            warned: false,
            syncs: 0,
        })
    }

    /// Everything up to step `seq` is delivered: confirms it and stores the new offset.
    pub(crate) async fn confirm(&mut self, seq: u64) -> anyhow::Result<()> {
        self.tailer.here()?.confirm(seq);
        self.save().await?;
        Ok(())
    }

    /// Stores which epochs there are, when there are new ones: before anything of them is sent. False: that is not
    /// possible now.
    pub(crate) async fn remember(&mut self) -> anyhow::Result<bool> {
        let changes = self.tailer.here()?.changes();
        if self.remembered == Some(changes) {
            return Ok(true);
        }
        self.save().await
    }

    /// Stores everything. A store that can't be written (false) is no reason to stop: after a crash more would be sent
    /// again, that is all.
    pub(crate) async fn save(&mut self) -> anyhow::Result<bool> {
        let follower = self.tailer.here()?;
        let changes = follower.changes();
        let checkpoint = follower.checkpoint();
        self.stored.turn(checkpoint);
        match state::save(&self.shared.store, &self.name, &self.stored).await {
            Ok(()) => {
                self.remembered = Some(changes);
                self.board.metrics.commits.inc();
                Ok(true)
            }
            Err(error) => {
                self.complain("store", &format!("{error:#}"));
                Ok(false)
            }
        }
    }

    /// Puts a gap into the ledger; false if that is not possible now.
    pub(crate) async fn record(&mut self, gap: Gap) -> anyhow::Result<bool> {
        let key = Some((gap.epoch, gap.to, gap.cause));
        if self.recorded == key {
            return Ok(true);
        }
        let fact = self.fact(&gap);
        let ledger = Arc::clone(&self.shared.ledger);
        let written = tokio::task::spawn_blocking(move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(torn) = ledger.mend()? {
                warn!(path = %torn.quarantine.display(), bytes = torn.len, "ledger's torn end set aside");
            }
            ledger.append(&[fact], SystemTime::now())
        })
        .await
        .context("write the ledger")?;
        if let Err(error) = written {
            self.complain("ledger", &format!("{:#}", anyhow::Error::from(error)));
            return Ok(false);
        }
        self.recorded = key;
        self.stored.books.gap(&gap);
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
        let follower = self.tailer.here()?;
        let (standing, syncs) = (follower.standing(), follower.syncs());
        let sums = self.stored.sums(&follower.checkpoint());
        self.board.books(sums);
        let before = std::mem::replace(&mut self.syncs, syncs);
        self.board.metrics.syncs.inc_by(syncs - before);
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
        changed(&self.watch).await;
    }

    /// Looks at the file while nothing is read: without a session, or while the peer takes nothing. Not cancel safe.
    pub(crate) async fn observe(&mut self) -> anyhow::Result<()> {
        let error = self.patience.wait(self.tailer.observe()).await?;
        if let Some(error) = error {
            self.trouble(&error);
        }
        self.stand()?;
        self.remember().await?;
        Ok(())
    }

    /// The figures of a sign of life.
    pub(crate) fn beat(&self) -> Control {
        let (backlog_bytes, oldest_ms) = self.board.backlog(Instant::now());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Control::Beat(Beat {
            backlog_bytes,
            oldest_ms,
            clock_ms: since.map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }),
        })
    }

    /// A session stands.
    pub(crate) fn up(&mut self, master: String, mode: Mode) {
        self.board.connected(master, mode);
        self.health.ok();
    }
}

/// Waits for a change of the file; for ever without a watch. Cancel safe.
pub(crate) async fn changed(watch: &Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
