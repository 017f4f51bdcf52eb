//! The `run` command: puts the parts together.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use offsets::{AppendError, Appender, Recovered, Store};
use serde_json::json;
use service::config::Environment;
use service::status::Server as StatusServer;
use service::{Failure, Telemetry};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::committer::{Committer, End, Leftovers};
use crate::config::Config;
use crate::gatherer::{CONN, Gatherer};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::sessions::{Sessions, announced};
use crate::socket::Socket;

/// Runs the proxy until SIGTERM or SIGINT.
///
/// # Errors
/// A bad configuration, a socket or state directory in use, and what can't be repaired while running.
pub fn run(path: &Path) -> Result<(), Failure> {
    let (config, source) = Config::load(path, &Environment::process())?;
    service::init_tracing();
    for notice in &config.notices {
        warn!("{notice}");
    }
    let _lock = service::lock(&config.state).map_err(|error| error.failure(&source, "state"))?;
    let runtime = service::runtime(THREADS)?;
    runtime.block_on(async {
        let mut stop = std::pin::pin!(service::stop_signal());
        // Polled once, it holds the signals: a stop from here on takes in what clients have written.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = std::future::ready(()) => {}
        }
        // Early: whoever connects now is served later, and does not find the path missing.
        let handed = Socket::handed().map_err(anyhow::Error::from)?;
        let socket = match handed {
            Some(socket) => socket,
            None => Socket::bind(&config).map_err(anyhow::Error::from)?,
        };
        proxy(&config, socket, stop).await
    })?;
    // A write that a dead disk never ends must not keep us from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Serves on `socket` until `stop`. The state directory is the caller's, locked. What clients had written by then is
/// durable at the end.
///
/// # Errors
/// Damaged state, what can't be repaired while running, or a disk that takes nothing at the stop.
pub async fn proxy(
    config: &Config,
    socket: Socket,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut telemetry = Telemetry::new("audit-proxy", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&mut telemetry);
    let health = telemetry.health();
    let disk_ok = health.component("disk");
    let status = StatusServer::bind(&config.status)?;
    let store = Store::open(config.state.join("offsets.sqlite"))
        .await
        .context("open the state")?;
    let bus = {
        let metrics = metrics.clone();
        let about = move || json!({ "connections": metrics.connections.get(), "records": metrics.records.get() });
        bus::Bus::start(config.bus.as_ref(), &mut telemetry, about)
    };
    let mut stop = std::pin::pin!(bus.or_stop(stop));
    let (appender, recovered) = open(config, &store, stop.as_mut()).await?;
    let sessions = Sessions::load(&store, metrics.clone())
        .await
        .context("read the state")?;
    let next_conn = next_conn(&store).await?;
    let left = Leftovers {
        recovered,
        announced: announced(&store).await?,
    };
    let committer = Committer::new(appender, &config.state, left, metrics.clone(), disk_ok).await?;
    let (events, received) = mpsc::channel(EVENTS);
    let (stopping, stopped) = watch::channel(false);
    let server = Server::new(
        socket,
        config.limits,
        metrics.clone(),
        events,
        stopped,
        next_conn,
    )
    .context("watch the socket")?;
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let gatherer = Gatherer::new(
        hostname,
        config.commit,
        config.limits,
        sessions,
        metrics.clone(),
    );
    let parts = Parts {
        server,
        gatherer,
        committer,
        received,
        pulse: health.pulse("gatherer"),
    };
    let page = {
        let (socket, log) = (config.place.path.clone(), config.log.clone());
        move || {
            json!({
                "socket": socket,
                "log": log,
                "connections": metrics.connections.get(),
                "records": metrics.records.get(),
                "dropped": metrics.dropped_records(),
                "sessions": metrics.sessions.get(),
                "sequence_gaps": metrics.gaps.get(),
                "sequence_missing_records": metrics.missing.get(),
                "sequence_duplicates": metrics.duplicates.get(),
                "closed_without_frame": metrics.empty.get(),
            })
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(status.run(telemetry.into(), page));
    service::notify::ready();
    info!(socket = %config.place.path.display(), log = %config.log.display(), "serving");
    let result = parts.work(config.limits.drain, &stopping, stop).await;
    service::notify::stopping();
    tasks.shutdown().await;
    bus.close().await;
    Ok(result?)
}

/// The working parts.
struct Parts {
    server: Server,
    gatherer: Gatherer,
    committer: Committer,
    received: mpsc::Receiver<crate::event::Event>,
    pulse: service::status::Pulse,
}

impl Parts {
    /// Works until `stop` or until the committer fails, then lets connections, gatherer and committer end in that
    /// order.
    async fn work(
        self,
        drain: Duration,
        stopping: &watch::Sender<bool>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let (full, filled) = mpsc::channel(1);
        let (empty, emptied) = mpsc::channel(2);
        let (give_up, told) = watch::channel(false);
        // One task each, joined here whatever happens.
        let mut front = JoinSet::new();
        front.spawn(self.server.run());
        front.spawn(self.gatherer.run(self.received, full, emptied, self.pulse));
        let mut back = JoinSet::new();
        back.spawn(self.committer.run(filled, empty, told));
        let mut ended = None;
        tokio::select! {
            () = stop => {}
            result = back.join_next() => ended = result,
        }
        let _ = stopping.send(true);
        let all = async {
            while front.join_next().await.is_some() {}
            match ended {
                Some(ended) => Some(ended),
                None => back.join_next().await,
            }
        };
        tokio::pin!(all);
        let ended = tokio::select! {
            ended = &mut all => ended,
            () = tokio::time::sleep(drain) => {
                warn!("the stop takes long: a disk that takes nothing is not waited for any more");
                let _ = give_up.send(true);
                all.await
            }
        };
        match ended
            .context("the committer is gone")?
            .context("the committer's task")??
        {
            End::Durable => Ok(()),
            End::GivenUp => anyhow::bail!("the disk took nothing for {drain:?}"),
        }
    }
}

/// Opens the files, and finishes the batch that a crash left, as long as that takes.
async fn open(
    config: &Config,
    store: &Store,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<(Appender, Vec<Recovered>)> {
    let targets = [config.log.clone(), config.json.clone()];
    loop {
        let redo = config.state.join(REDO);
        let limits = offsets::Limits::default();
        match Appender::open(store.clone(), redo, &targets, limits).await {
            Err(AppendError::Blocked { path, source }) => {
                warn!(path = %path.display(), error = %source, "can't write, waiting until it works");
                tokio::select! {
                    () = tokio::time::sleep(OPEN_PAUSE) => {}
                    () = &mut stop => anyhow::bail!("stopped before {} could be written", path.display()),
                }
            }
            opened => return opened.context("open the log"),
        }
    }
}

/// The number after the highest connection of which a record is durable.
async fn next_conn(store: &Store) -> anyhow::Result<u64> {
    let Some(stored) = store.get(CONN).await.context("read the state")? else {
        return Ok(1);
    };
    let text = str::from_utf8(&stored).context("number of the last connection")?;
    let last: u64 = text.parse().context("number of the last connection")?;
    Ok(last + 1)
}

/// The ledger's file in the state directory.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// The directory of the redo files in the state directory.
pub(crate) const REDO: &str = "redo";

/// Frames that wait to be decoded: 32 KiB each at most.
const EVENTS: usize = 64;

/// Everything waits, but for disk writes, which have threads of their own.
const THREADS: usize = 1;

/// Time between two tries to open while the disk is full.
const OPEN_PAUSE: Duration = Duration::from_millis(250);
