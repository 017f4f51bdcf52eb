//! The `run` command: puts the parts together, one task a stream.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use offsets::{Ledger, Store};
use serde_json::json;
use service::config::Environment;
use service::status::Server;
use service::{Failure, Telemetry};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument as _, info, info_span, warn};

use crate::config::Config;
use crate::identity::Identities;
use crate::limits::Limits;
use crate::link::{Link, Shared};
use crate::metrics::Metrics;
use crate::patience::Patience;
use crate::state::{LEDGER, STORE};
use crate::status::Board;
use crate::stream;

/// Runs the forwarder until SIGTERM or SIGINT.
///
/// # Errors
/// A bad configuration, a state directory in use, damaged state.
pub fn run(path: &Path) -> Result<(), Failure> {
    let (config, source) = Config::load(path, &Environment::process())?;
    service::init_tracing();
    for notice in &config.notices {
        warn!("{notice}");
    }
    let _lock = service::lock(&config.state).map_err(|error| error.failure(&source, "state"))?;
    let runtime = service::runtime(THREADS)?;
    runtime.block_on(async {
        let stop = service::stop_signal();
        forward(&config, Limits::default(), stop).await
    })?;
    // A read that a dead disk never ends must not keep us from ending.
    runtime.shutdown_timeout(CLOSE);
    Ok(())
}

/// The streams' tasks share one thread: they wait and encrypt; files are read on the blocking threads.
const THREADS: usize = 1;

/// Forwards until `stop`. The state directory is the caller's, locked.
///
/// # Errors
/// The status endpoint can't be opened, damaged state, or what no other connection would mend.
pub async fn forward(
    config: &Config,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut telemetry = Telemetry::new("forwarder", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&mut telemetry.registry);
    let health = telemetry.health();
    let server = Server::bind(&config.status)?;
    let store = Store::open(config.state.join(STORE))
        .await
        .context("open the state")?;
    let ledger = config.state.join(LEDGER);
    let opened = tokio::task::spawn_blocking(move || Ledger::open(ledger))
        .await
        .context("open the ledger")?
        .context("open the ledger")?;
    if let Some(torn) = opened.torn {
        warn!(path = %torn.quarantine.display(), bytes = torn.len, "ledger's torn end set aside");
    }
    let shared = Shared {
        store,
        ledger: Arc::new(Mutex::new(opened.ledger)),
        identities: Arc::new(Identities::new(
            config.identity.clone(),
            config.check.clone(),
        )),
        masters: config.masters.clone().into(),
        delivery: config.delivery,
        limits,
    };
    let (tell, told) = watch::channel(false);
    let streams = config.streams.len();
    let about = move || json!({ "streams": streams });
    let bus = bus::Bus::start(config.bus.as_ref(), &mut telemetry, about);
    let mut boards = Vec::new();
    let mut tasks = JoinSet::new();
    for stream in &config.streams {
        let path = stream.path.display().to_string();
        let board = Board::new(&stream.name, &path, metrics.stream(&stream.name));
        boards.push(board.clone());
        let name = format!("stream/{}", stream.name);
        let parts = (
            board,
            Patience::new(&health, &name),
            health.component(&name),
        );
        let link = Link::open(config, stream, shared.clone(), parts)
            .await
            .with_context(|| format!("stream `{}`", stream.name))?;
        let span = info_span!("forward", stream = %stream.name);
        tasks.spawn(stream::run(link, told.clone()).instrument(span));
    }
    let identities = Arc::clone(&shared.identities);
    let page = move || {
        let ends = identities.not_after().map(|end| {
            end.duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        });
        json!({
            "streams": boards.iter().map(Board::to_json).collect::<Vec<_>>(),
            "certificate_not_after": ends,
        })
    };
    let mut status = JoinSet::new();
    status.spawn(server.run(telemetry.into(), page));
    service::notify::ready();
    info!(streams = config.streams.len(), "forwarding");
    let result = supervise(&mut tasks, &tell, bus.or_stop(stop)).await;
    service::notify::stopping();
    status.shutdown().await;
    bus.close().await;
    close(shared.store).await;
    Ok(result?)
}

/// Closes the state, so that it is in one file for whoever copies it. On a dead disk that may never end.
async fn close(store: Store) {
    match tokio::time::timeout(CLOSE, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(error = %anyhow::Error::from(error), "state is left open"),
        Err(_) => warn!("state is left open: the disk does not answer"),
    }
}

/// Longest wait for the state's last write.
const CLOSE: Duration = Duration::from_secs(1);

/// Waits for the stop, tells the streams and joins them. A stream that fails ends the program: its unit starts it
/// again, and what went wrong is in the log.
async fn supervise(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    tell: &watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    tokio::select! {
        () = stop => {}
        Some(ended) = tasks.join_next() => result = ended.context("a stream's task").flatten(),
    }
    let _ = tell.send(true);
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.context("a stream's task").flatten();
        if result.is_ok() {
            result = ended;
        }
    }
    result
}
