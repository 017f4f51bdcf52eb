//! Carries out what the fleet decides: starts and ends readers, stores what is known of containers,
//! forgets the ones that are long gone.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use offsets::Store;
use rand::rngs::SmallRng;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{debug, info, warn};

use crate::{
    checkpoint,
    fleet::{Action, Finished, Fleet, Observation},
    gap::Notice,
    metrics::Metrics,
    render::Label,
    roster::{Roster, Shown},
    select::{Choice, Facts},
    source::{Container, Cursor, Event, Pool, api, file},
};

/// The hands of a [`Fleet`].
#[derive(Debug)]
pub struct Driver {
    /// Decides.
    pub fleet: Fleet<SmallRng>,
    /// Shows.
    pub roster: Arc<Roster>,
    /// Stores.
    pub store: Store,
    /// When containers were found gone, in Unix seconds.
    pub gone: BTreeMap<String, u64>,
    /// How long a cursor outlives its container.
    pub forget_after: Duration,
    /// What readers need.
    pub readers: Readers,
    /// Gaps that no reader saw.
    pub missed: mpsc::Sender<Notice>,
    /// Counts.
    pub metrics: Metrics,
    /// Shows life.
    pub pulse: service::status::Pulse,
}

/// What starts and ends readers.
#[derive(Debug)]
pub struct Readers {
    /// Where the daemon's API is; `None` where no container is collected.
    pub endpoint: Option<api::Endpoint>,
    /// Orders for the file reader's thread.
    pub commands: mpsc::Sender<file::Command>,
    /// Where readers put what they read.
    pub events: mpsc::Sender<Event>,
    /// The buffers they read into.
    pub pool: Pool,
    /// One task per container that is read through the API.
    pub tasks: JoinSet<()>,
    /// Ends such a task.
    pub stops: BTreeMap<String, oneshot::Sender<()>>,
}

impl Driver {
    /// Works until `observations` is closed, or for ever where that only says that nothing will change.
    ///
    /// # Errors
    /// A store that fails; a file reader that is gone.
    pub async fn run(
        mut self,
        mut observations: mpsc::Receiver<Observation>,
        mut finished: mpsc::UnboundedReceiver<Finished>,
    ) -> anyhow::Result<()> {
        let mut watched = true;
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            self.pulse.beat();
            let mut actions = Vec::new();
            let now = Instant::now();
            let retry = self.fleet.retry(now, &readable, &mut actions);
            let nap = retry.map_or(self.pulse.period(), |at| at.saturating_duration_since(now));
            tokio::select! {
                biased;
                Some(ended) = finished.recv(), if actions.is_empty() => {
                    self.readers.stops.remove(&ended.id);
                    if let Some(error) = &ended.error {
                        debug!(id = ended.id, error, "reader gave up, trying again");
                    }
                    self.fleet.finished(ended, Instant::now(), &readable, &mut actions);
                }
                observed = observations.recv(), if watched && actions.is_empty() => match observed {
                    Some(observed) => self.fleet.observe(observed, &readable, &mut actions),
                    None => watched = false,
                },
                Some(_) = self.readers.tasks.join_next() => {}
                _ = forget.tick() => self.forget().await?,
                () = tokio::time::sleep(nap.min(self.pulse.period())), if actions.is_empty() => {}
                () = std::future::ready(()), if !actions.is_empty() => {}
            }
            for action in actions {
                self.act(action).await?;
            }
            self.metrics
                .containers
                .set(i64::try_from(self.roster.current()).unwrap_or(i64::MAX));
        }
    }

    async fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Start {
                container,
                cursor,
                api: true,
            } => self.readers.follow(container, cursor),
            Action::Start {
                container,
                cursor,
                api: false,
            } => {
                self.command(file::Command::Attach { container, cursor })
                    .await?;
            }
            Action::Drain { id } => self.command(file::Command::Ended { id }).await?,
            Action::Stop { id } => {
                if let Some(stop) = self.readers.stops.remove(&id) {
                    let _ = stop.send(());
                }
            }
            Action::Show { id } => self.show(&id),
            Action::Drained { id, started_ns } => {
                self.store(&[checkpoint::drained(&id, started_ns)]).await?;
            }
            Action::Lost { id, name } => self.lost(id, name).await,
            Action::Removed { id } => {
                let now = unix_s();
                self.gone.insert(id.clone(), now);
                self.store(&[checkpoint::gone(&id, now)]).await?;
            }
            Action::Returned { id } => {
                self.gone.remove(&id);
                self.store(&[checkpoint::returned(&id)]).await?;
            }
        }
        Ok(())
    }

    fn show(&self, id: &str) {
        let Some(tracked) = self.fleet.tracked(id) else {
            return self.roster.retire(id);
        };
        let reader = match &tracked.choice {
            Some(Choice::File(_)) => "file",
            Some(Choice::Api { .. }) => "api",
            Some(Choice::Unreadable(_)) => "none",
            None => "",
        };
        let shown = Shown {
            why: tracked.why.to_string(),
            reader,
            state: tracked.state(),
            current: true,
        };
        let new = self.roster.show(id, Label::of(&tracked.facts), shown);
        let container = &tracked.facts.summary.name;
        match &tracked.choice {
            None => {}
            _ if !new => {}
            Some(Choice::Unreadable(why)) => warn!(container, why, "container can't be collected"),
            Some(Choice::Api {
                warning: Some(warning),
            }) => {
                warn!(container, reader, warning, "container is collected");
            }
            _ => info!(container, reader, why = %tracked.why, "container is collected"),
        }
    }

    async fn lost(&mut self, id: String, container: String) {
        warn!(
            container,
            "container was removed before everything was read"
        );
        self.metrics.missed.inc();
        let notice = Notice {
            id,
            container,
            cause: "removed".to_owned(),
            ..Notice::default()
        };
        // Only fails while the program stops.
        let _ = self.missed.send(notice).await;
    }

    /// Forgets containers that have been gone for long enough.
    async fn forget(&mut self) -> anyhow::Result<()> {
        let limit = unix_s().saturating_sub(self.forget_after.as_secs());
        let old = self
            .gone
            .iter()
            .filter(|(_, at)| **at < limit)
            .map(|(id, _)| id.clone());
        for id in old.take(FORGET_AT_ONCE).collect::<Vec<_>>() {
            if self.fleet.forget(&id) {
                self.store(&checkpoint::forget(&id)).await?;
                self.gone.remove(&id);
                if let Some(name) = self.roster.forget(&id) {
                    self.metrics.forget(&name);
                }
                debug!(id, "container forgotten");
            }
        }
        Ok(())
    }

    /// Orders something of the file reader, which may be waiting for a full disk: life is shown meanwhile.
    async fn command(&self, command: file::Command) -> anyhow::Result<()> {
        loop {
            match tokio::time::timeout(self.pulse.period(), self.readers.commands.reserve()).await {
                Ok(permit) => {
                    permit.context("reach the file reader")?.send(command);
                    return Ok(());
                }
                Err(_) => self.pulse.beat(),
            }
        }
    }

    async fn store(&self, changes: &[offsets::Change]) -> anyhow::Result<()> {
        self.store
            .commit(changes)
            .await
            .context("store what is known of a container")
    }
}

impl Readers {
    /// Follows one container through the API. Its end comes as an event, behind its last batch.
    fn follow(&mut self, container: Arc<Container>, cursor: Option<Cursor>) {
        let (stop, stopped) = oneshot::channel();
        self.stops.insert(container.id.clone(), stop);
        let Some(endpoint) = self.endpoint.clone() else {
            return;
        };
        let (events, pool) = (self.events.clone(), self.pool.clone());
        self.tasks.spawn(async move {
            let reader = api::run(&endpoint, container.clone(), cursor, events.clone(), pool);
            let error = tokio::select! {
                ended = reader => match ended {
                    Ok(()) => return,
                    Err(error) => io::Error::other(error),
                },
                Ok(()) = stopped => io::Error::other("no longer chosen"),
            };
            // Only fails while the program stops.
            let _ = events.send(Event::Failed { container, error }).await;
        });
    }
}

/// Whether the file reader can serve the container.
fn readable(facts: &Facts) -> bool {
    file::probe(&facts.container()).is_ok()
}

fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Forgetting is spread out, so that it never delays what matters.
const FORGET_AT_ONCE: usize = 256;
