//! The `run` command: puts the parts together, and takes them down in the order that loses nothing.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use offsets::{AppendError, Appender, Limits, Store};
use prometheus_client::registry::Registry;
use rand::{SeedableRng as _, rngs::SmallRng};
use service::{Failure, Telemetry, status::Health};
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use tracing::{error, info, warn};

use crate::{
    checkpoint,
    committer::Committer,
    config::Config,
    driver::{Driver, Readers},
    feed::Feed,
    fleet::{Fleet, Known, Observation},
    metrics::Metrics,
    otlp,
    render::Renderer,
    roster::Roster,
    source::{Event, Pool, api::Endpoint, file},
    syslog,
    watch::Watch,
    writer::Writer,
};

/// The ledger's file name in the state directory.
pub const LEDGER: &str = "ledger.jsonl";

/// Where containers come from, and where the program tells how it is doing.
#[derive(Debug)]
pub struct Sources {
    /// What a watcher of the daemon, or a test, reports of containers.
    pub observations: mpsc::Receiver<Observation>,
    /// Counts.
    pub metrics: Metrics,
    /// Components and loops.
    pub health: Health,
    /// Sockets of the syslog source, with its counts.
    pub syslog: Option<(syslog::Sockets, syslog::Metrics)>,
    /// Takes spans.
    pub tracing: Option<otlp::Queue>,
}

/// The parts that are opened before work begins.
#[derive(Debug)]
pub struct Opened {
    store: Store,
    committer: Committer,
    roster: Arc<Roster>,
    known: BTreeMap<String, Known>,
    gone: BTreeMap<String, u64>,
}

impl Opened {
    /// What is known of the containers; filled while collecting.
    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.clone()
    }
}

/// Runs the collector until SIGTERM or SIGINT.
///
/// # Errors
/// A bad configuration, a state directory in use, and what can't be repaired while running.
pub fn run(path: &Path) -> Result<(), Failure> {
    let (config, source) = Config::load(path)?;
    service::init_tracing();
    for notice in &config.notices {
        warn!("{notice}");
    }
    let _lock = service::lock(&config.state).map_err(|error| error.failure(&source, "state"))?;
    let runtime = service::runtime(THREADS)?;
    runtime.block_on(async {
        let stop = service::stop_signal();
        let mut telemetry = Telemetry::new("collector", env!("CARGO_PKG_VERSION"));
        let metrics = Metrics::new(&mut telemetry.registry);
        let health = telemetry.health();
        // Early: what is sent from now on waits in the kernel.
        let syslog = listen(&config, &mut telemetry.registry)?;
        let (tracing, exporter) = trace(&config, &mut telemetry.registry)?.unzip();
        let server = service::status::Server::bind(&config.status.listen(&config.state))?;
        let bus = {
            let metrics = metrics.clone();
            let about = move || metrics.about();
            bus::Bus::start(config.bus.as_ref(), &mut telemetry, about)
        };
        let feed = Feed::start(&bus, &config.sessions, &mut telemetry.registry);
        let (feed, aggregation) = feed.unzip();
        let mut opened = open(&config, &metrics, &health).await?;
        opened.committer.set_feed(feed);
        let roster = opened.roster.clone();
        let listening = syslog.as_ref().map(|(sockets, _)| sockets.to_json());
        let page =
            move || serde_json::json!({ "containers": roster.to_json(), "syslog": listening });
        let status = tokio::spawn(server.run(telemetry.into(), page));
        let (sender, observations) = mpsc::channel(OBSERVATIONS);
        let watch = config.docker.clone().map(|endpoint| {
            let docker_ok = health.component("docker");
            let own = crate::own::own_container();
            let watch = Watch::new(endpoint, &config, own, sender, metrics.clone(), docker_ok);
            tokio::spawn(watch.run())
        });
        service::notify::ready();
        info!(path = %config.log.display(), "collecting");
        let sources = Sources {
            observations,
            metrics,
            health,
            syslog,
            tracing,
        };
        let result = collect(&config, opened, sources, bus.or_stop(stop)).await;
        service::notify::stopping();
        if let Some(exporter) = exporter {
            // Nobody holds the queue any more: what is in it is sent, or not.
            let _ = tokio::time::timeout(LAST_SPANS, exporter).await;
        }
        if let Some(watch) = watch {
            watch.abort();
        }
        status.abort();
        if let Some(aggregation) = aggregation {
            aggregation.finish().await;
        }
        bus.close().await;
        Ok(result?)
    })
}

/// Opens the sockets of the syslog source, if it is on.
fn listen(
    config: &Config,
    registry: &mut Registry,
) -> anyhow::Result<Option<(syslog::Sockets, syslog::Metrics)>> {
    let Some(config) = &config.syslog else {
        return Ok(None);
    };
    let sockets = syslog::Sockets::bind(config)?;
    Ok(Some((sockets, syslog::Metrics::new(registry))))
}

/// Starts who sends spans, if there is somewhere to send them.
fn trace(
    config: &Config,
    registry: &mut Registry,
) -> anyhow::Result<Option<(otlp::Queue, JoinHandle<()>)>> {
    let Some(config) = &config.otlp else {
        return Ok(None);
    };
    let (queue, exporter) = otlp::Exporter::new(config, otlp::Metrics::new(registry))?;
    Ok(Some((queue, tokio::spawn(exporter.run()))))
}

/// Opens files and state; finishes what the run before left.
///
/// # Errors
/// Damaged state, or files that can't be opened.
pub async fn open(config: &Config, metrics: &Metrics, health: &Health) -> anyhow::Result<Opened> {
    let store = Store::open(config.state.join("offsets.sqlite"))
        .await
        .context("open the state")?;
    let targets = [config.log.clone(), config.json.clone()];
    let (appender, recovered) = loop {
        let mut limits = Limits::default();
        limits.batch_bytes = MAX_BATCH;
        let opened =
            Appender::open(store.clone(), config.state.join("redo"), &targets, limits).await;
        match opened {
            Err(AppendError::Blocked { path, source }) => {
                warn!(path = %path.display(), error = %source, "can't write, waiting until it works");
                tokio::time::sleep(BLOCKED_PAUSE).await;
            }
            opened => break opened.context("open the log")?,
        }
    };
    let left = checkpoint::load(&store).await.context("read the state")?;
    let roster = Arc::new(Roster::new(&left.checkpoints));
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let of_containers = |(id, _): &(String, _)| !syslog::is_transport(id);
    for (id, checkpoint) in left.checkpoints.into_iter().filter(of_containers) {
        known.entry(id).or_default().cursor = checkpoint.cursor;
    }
    for (id, started_ns) in left.drained {
        known.entry(id).or_default().drained_ns = Some(started_ns);
    }
    for (id, _) in &left.gone {
        known.entry(id.clone()).or_default().gone = true;
    }
    let committer = Committer::new(
        appender,
        config.state.join(LEDGER),
        left.gaps,
        &recovered,
        roster.clone(),
        metrics.clone(),
        health.component("disk"),
    );
    let committer = committer.await?;
    Ok(Opened {
        store,
        committer,
        roster,
        known,
        gone: left.gone.into_iter().collect(),
    })
}

/// Collects until `stop`. Whatever the readers handed out by then is durable at the end, unless the
/// disk is full.
///
/// # Errors
/// What can't be repaired while running.
pub async fn collect(
    config: &Config,
    opened: Opened,
    sources: Sources,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Opened {
        store,
        committer,
        roster,
        known,
        gone,
    } = opened;
    let Sources {
        observations,
        metrics,
        health,
        syslog,
        tracing,
    } = sources;
    let committer = committer.traced(tracing.clone());
    let tracing = config.rendering.tracer.zip(tracing);
    let pool = Pool::new(BUFFERS);
    let (events, received) = mpsc::channel(BUFFERS);
    let (commands, ordered) = mpsc::channel(COMMANDS);
    let (missed, no_reader) = mpsc::channel(COMMANDS);
    let (full, filled) = mpsc::channel(1);
    let (empty, emptied) = mpsc::channel(2);
    // Bounded by the number of containers: a reader is started only after its last end was seen.
    let (finished, ended) = mpsc::unbounded_channel();
    let (stopping, told) = watch::channel(false);

    let taken = syslog::Taken::new(&roster);
    let books = roster.clone();
    let counters = syslog.as_ref().map(|(_, metrics)| metrics.clone());
    let mut local = JoinSet::new();
    if let (Some((sockets, metrics)), Some(settings)) = (syslog, &config.syslog) {
        sockets.enrol(&roster);
        let supply = syslog::Supply {
            events: events.clone(),
            pool: pool.clone(),
            metrics,
            taken: taken.clone(),
            stop: told.clone(),
            pulse: health.pulse("syslog"),
        };
        local.spawn(syslog::run(sockets, settings.clone(), supply));
    }
    let file_thread = file_reader(ordered, events.clone(), pool.clone(), config.docker.clone())?;
    let writer = Writer::new(Renderer::new(&config.rendering), roster.clone()).traced(tracing);
    let pulse = health.pulse("writer");
    let writer = tokio::spawn(writer.run(config.commit, received, no_reader, full, emptied, pulse));
    let mut committer = tokio::spawn(committer.run(filled, empty, finished, told));
    let readers = Readers {
        endpoint: config.docker.clone(),
        commands,
        events,
        pool,
        tasks: JoinSet::new(),
        stops: BTreeMap::new(),
    };
    let driver = Driver {
        fleet: Fleet::new(config.read, known, SmallRng::from_rng(&mut rand::rng())),
        roster,
        store,
        gone,
        forget_after: config.forget_after,
        readers,
        missed,
        metrics,
        pulse: health.pulse("driver"),
    };
    let result = tokio::select! {
        result = driver.run(observations, ended) => result,
        result = &mut committer => {
            result.context("the committing task died")??;
            anyhow::bail!("the writer ended early");
        }
        Some(ended) = local.join_next() => {
            ended.context("the syslog source died")??;
            anyhow::bail!("the syslog source ended early");
        }
        () = stop => Ok(()),
    };
    // The driver is gone, and with it the readers' orders: they end, then the writer, then the committer.
    let _ = stopping.send(true);
    tokio::task::spawn_blocking(move || file_thread.join())
        .await
        .context("end the file reader")?
        .map_err(|_| anyhow::anyhow!("the file reader died"))?;
    while let Some(ended) = local.join_next().await {
        ended.context("end the syslog source")??;
    }
    writer.await.context("end the writer")?;
    committer.await.context("end the committer")??;
    result?;
    settle(config, &taken.unsaved(&books), counters.as_ref()).await
}

/// Tells of syslog that was received and could not be written before the end: the disk was full.
///
/// # Errors
/// That there is such.
async fn settle(
    config: &Config,
    unsaved: &[syslog::Unsaved],
    metrics: Option<&syslog::Metrics>,
) -> anyhow::Result<()> {
    if unsaved.is_empty() {
        return Ok(());
    }
    for (unsaved, metrics) in unsaved.iter().zip(metrics.into_iter().cycle()) {
        unsaved.count(metrics);
    }
    let (ledger, facts) = (config.state.join(LEDGER), unsaved.to_vec());
    let told = tokio::task::spawn_blocking(move || syslog::tell(&ledger, &facts));
    if let Err(error) = told.await.context("write the ledger")? {
        error!(
            error = format!("{:#}", anyhow::Error::new(error)),
            "the ledger can't be told of lost syslog"
        );
    }
    let lost: Vec<String> = unsaved
        .iter()
        .map(|unsaved| format!("{} {}", unsaved.parts().0, unsaved.parts().1))
        .collect();
    anyhow::bail!(
        "the disk took nothing before the end, and received syslog is lost (messages: {})",
        lost.join(", ")
    )
}

/// Starts the file reader on a thread of its own: it blocks on the disk.
fn file_reader(
    commands: mpsc::Receiver<file::Command>,
    events: mpsc::Sender<Event>,
    pool: Pool,
    endpoint: Option<Endpoint>,
) -> anyhow::Result<thread::JoinHandle<()>> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("make a runtime")?;
    let work = move || runtime.block_on(file::run(commands, events, pool, endpoint));
    thread::Builder::new()
        .name("file-reader".to_owned())
        .spawn(work)
        .context("start a thread")
}

/// One renders, the other does everything else.
const THREADS: usize = 2;
/// Line buffers of all readers together, about 1.5 MiB each.
const BUFFERS: usize = 16;
/// Orders waiting for the file reader.
const COMMANDS: usize = 64;
/// Reports waiting for the driver.
const OBSERVATIONS: usize = 64;
/// A batch never comes near this; it bounds the redo files.
const MAX_BATCH: usize = 1 << 30;
/// How long the end waits for the last spans to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);
const BLOCKED_PAUSE: Duration = Duration::from_millis(250);
