//! The `run` command: puts the parts together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use service::config::Environment;
use service::status::Server;
use service::{Failure, Telemetry};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::board::Board;
use crate::config::{Config, Input};
use crate::dispatch::Dispatcher;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::rulefiles::Keeper;
use crate::scan::{Parts, RULES, Scan};
use crate::source::Source;
use crate::source::archive::{ArchiveSource, BEGUN};
use crate::source::file::{FILE, FileSource};
use crate::store::Store;

/// Runs the scanner until SIGTERM or SIGINT.
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
    let result = runtime.block_on(async {
        let stop = service::stop_signal();
        scan(&config, stop).await
    });
    // A read that a dead disk never ends must not keep us from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Pages and deliveries; scanning has a thread of its own.
const THREADS: usize = 2;

/// Scans until `stop`. The state directory is the caller's, locked.
///
/// # Errors
/// The status endpoint can't be opened, damaged state.
pub async fn scan(config: &Config, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let mut telemetry = Telemetry::new("scanner", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::new(&mut telemetry.registry);
    let health = telemetry.health();
    let server = Server::bind(&config.status)?.with_access(config.access.clone());
    let mut store = Store::open(&config.state).await.context("open the state")?;
    let last_good = stored_rules(&mut store).await?;
    let source = open(config, &mut store).await?;
    let dir = config.rules.clone();
    let keeper = tokio::task::spawn_blocking(move || Keeper::new(&dir, &last_good));
    let keeper = keeper.await.context("read the rules")?;
    let dispatcher = Dispatcher::open(
        &config.state,
        &config.webhooks,
        &config.triggers,
        &mut telemetry,
    );
    let dispatcher = dispatcher.await.context("open the webhooks' queue")?;
    let board = Arc::new(Board::new(
        config.input.to_string(),
        config.rules.clone(),
        dispatcher.status(),
    ));
    let wake = Arc::new(Notify::new());
    let parts = Parts {
        store,
        source,
        rules: keeper.shown(),
        metrics,
        board: Arc::clone(&board),
        input: health.component("input"),
        disk: health.component("disk"),
        pulse: health.pulse("scan"),
        wake: Arc::clone(&wake),
        needed: dispatcher.needed(),
    };
    parts.disk.ok();
    let scan = Scan::new(config, parts).await?;
    let (tell, told) = watch::channel(false);
    let mut dispatching = JoinSet::new();
    dispatching.spawn(dispatcher.run(wake, until(told.clone())));
    let mut tasks = JoinSet::new();
    tasks.spawn(keeper.keep());
    let pages = Pages::new(config, Arc::clone(&board));
    let shown = Arc::clone(&board);
    let bus = bus::Bus::start(config.bus.as_ref(), &mut telemetry, move || {
        shown.heartbeat()
    });
    let server = server.with_routes(Arc::new(pages));
    tasks.spawn(server.run(telemetry.into(), move || board.status()));
    let handle = tokio::runtime::Handle::current();
    let mut scanning = tokio::task::spawn_blocking(move || handle.block_on(scan.run(told)));
    service::notify::ready();
    info!(input = %config.input, "scanning");
    let mut lost = None;
    let stop = bus.or_stop(stop);
    let ended = tokio::select! {
        () = stop => None,
        ended = &mut scanning => Some(ended),
        Some(ended) = dispatching.join_next() => {
            lost = ended.err();
            None
        }
    };
    service::notify::stopping();
    let _ = tell.send(true);
    let ended = match ended {
        Some(ended) => ended,
        None => scanning.await,
    };
    // What was committed last is sent by the next start, if not now.
    while let Some(ended) = dispatching.join_next().await {
        lost = lost.or(ended.err());
    }
    tasks.shutdown().await;
    bus.close().await;
    ended.context("the scanning thread").flatten()?;
    match lost {
        Some(error) => Err(anyhow::Error::new(error)
            .context("the webhooks' loop")
            .into()),
        None => Ok(()),
    }
}

/// Ends when it is told so, or nobody can tell any more.
async fn until(mut told: watch::Receiver<bool>) {
    let _ = told.wait_for(|told| *told).await;
}

/// Rule files as they were last good.
async fn stored_rules(store: &mut Store) -> anyhow::Result<BTreeMap<String, String>> {
    let stored = store.value(RULES).await.context("read the state")?;
    let Some(stored) = stored else {
        return Ok(BTreeMap::new());
    };
    serde_json::from_slice(&stored).context("read the stored rules")
}

/// The input, from where it was read to.
async fn open(config: &Config, store: &mut Store) -> anyhow::Result<Source> {
    match &config.input {
        Input::Archive { data } => {
            let begun = store.value(BEGUN).await.context("read the state")?;
            let first = begun.is_none().then_some(config.start);
            let places = store.places().await.context("read the state")?;
            let marks = store.watermarks().await.context("read the state")?;
            let source = ArchiveSource::new(data, places, marks, first);
            Ok(Source::Archive(Box::new(source)))
        }
        Input::File { path } => {
            let saved = store.value(FILE).await.context("read the state")?;
            let file = FileSource::open(path, &config.worker, saved.as_deref(), config.start)?;
            Ok(Source::File(Box::new(file)))
        }
    }
}
