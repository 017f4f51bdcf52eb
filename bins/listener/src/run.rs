//! From a checked configuration to a running listener, and back down in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use anyhow::Context as _;
use archive::{Archive, Options};
use delivery::receiver::ReceiverLimits;
use pki::{ServerTls, Trust};
use serde_json::{Value, json};
use service::config::{Problem, Problems, Source};
use service::status::{self, Telemetry};
use service::{Failure, Lock};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::intake::Intake;
use crate::keeper::{Keeper, Tools};
use crate::merge::{self, Feed, Outputs};
use crate::metrics::Metrics;
use crate::server::Server;
use crate::session::{LARGE_KIB, Shared};
use crate::upkeep::{self, Upkeep};
use crate::workers::{Shown, Workers};

/// Looks at what the configuration names, without changing or binding anything.
pub(crate) async fn inspect(config: &Config, source: &Source) -> Result<ServerTls, Problems> {
    let mut problems = Problems::new();
    let writable = |key: &str, dir: &Path| {
        service::check_writable(dir)
            .map_err(|e| source.problem(key, format!("{} cannot be written: {e}", dir.display())))
    };
    problems.take(writable("data", &config.data));
    for (key, path) in [
        ("merged.log", &config.merged_log),
        ("merged.json", &config.merged_json),
    ] {
        if let Some(path) = path {
            problems.take(merged_writable(path).map_err(|what| source.problem(key, what)));
        }
    }
    let tls = ServerTls::open(&config.data, config.trust).await;
    let tls = problems.take(tls.map_err(|e| -> Problem { source.problem("data", chain(&e)) }));
    match (tls, problems) {
        (Some(tls), problems) => problems.none_or(tls),
        (None, problems) => Err(problems.none_or(()).err().unwrap_or_default()),
    }
}

fn merged_writable(path: &Path) -> Result<(), String> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    service::check_writable(dir)
        .map_err(|e| format!("{} cannot be written: {e}", dir.display()))?;
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(format!("{} is a directory", path.display())),
        Ok(_) => rustix::fs::access(path, rustix::fs::Access::WRITE_OK)
            .map_err(|e| format!("{} cannot be written: {e}", path.display())),
        Err(_) => Ok(()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let what = error.to_string();
        if !text.contains(&what) {
            text = format!("{text}: {what}");
        }
        source = error.source();
    }
    text
}

/// Runs the listener with the data directory locked, until `stop`.
pub(crate) async fn run(
    config: Config,
    tls: ServerTls,
    _lock: Lock,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    raise_file_limit();
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    if config.trust == Trust::Ca {
        tracing::warn!("trust = \"ca\": every certificate of the CA is served, enrolled or not");
    }
    let mut telemetry = Telemetry::new("listener", env!("CARGO_PKG_VERSION"));
    let metrics = Metrics::register(&mut telemetry.registry);
    let upkeep_metrics = upkeep::Metrics::register(&mut telemetry.registry);
    let health = telemetry.health();
    let status = status::Server::bind(&config.status)?;
    let listener = TcpListener::bind((config.host.as_str(), config.port))
        .await
        .with_context(|| format!("listen on {}:{}", config.host, config.port))?;
    let addr = listener.local_addr().context("read the address in use")?;
    let tls = Arc::new(tls.with_acknowledged());
    let bus = {
        let connections = metrics.connections.clone();
        let about = move || json!({ "connections": connections.get() });
        bus::Bus::start(config.bus.as_ref(), &mut telemetry, about)
    };
    let (stop_tx, stop_rx) = watch::channel(false);
    let workers = Arc::new(Workers::new(
        config.limits.rate,
        config.limits.connections_per_worker,
        metrics.workers.clone(),
    ));

    let archive_id =
        archive::init(&config.data).with_context(|| format!("open {}", config.data.display()))?;
    let (intake, batches) = Intake::new(config.limits.connections, metrics.queued_bytes.clone());
    let (feed, merger) = if Outputs::of(&config).is_on() {
        let (feed, inbox) = Feed::new();
        let tools = merge::Tools {
            inbox,
            metrics: metrics.clone(),
            pulse: Arc::new(health.pulse("merged")),
            stop: stop_rx.clone(),
        };
        let config = config.clone();
        let merger = on_thread("merged", async move || merge::keep(&config, tools).await)?;
        (feed, Some(merger))
    } else {
        (Feed::default(), None)
    };
    let tools = Tools {
        feed: feed.clone(),
        upkeep: Upkeep::new(
            &config,
            feed.clone(),
            upkeep_metrics,
            health.component("retention"),
        ),
        metrics: metrics.clone(),
        disk: health.component("archive"),
        pulse: health.pulse("archive"),
        stop: stop_rx.clone(),
    };
    let (opened, is_open) = oneshot::channel();
    let keeper = {
        let config = config.clone();
        on_thread("archive", async move || {
            let archive = Archive::open(&config.data, options(&config))
                .await
                .context("open the archive")?;
            // Whoever waits for this is gone only at an early stop.
            let _ = opened.send(());
            Keeper::new(archive, batches, &config, tools).run().await
        })?
    };
    let mut threads = Threads {
        keeper,
        merger,
        feed,
    };
    if is_open.await.is_err() {
        return Err(threads.failed().await.into());
    }

    let shared = Arc::new(Shared {
        tls: Arc::clone(&tls),
        intake,
        metrics: metrics.clone(),
        archive: delivery::ArchiveId::from_bytes(archive_id.bytes()),
        limits: receiver_limits(&config),
        // So that a peer which does not finish is told so before it is cut off.
        drain: config.limits.drain / 2,
        max_frame: config.max_frame,
        frame_limit: config.limits.frame,
        idle_limit: config.limits.idle,
        counts_invalid: config.merged_json.is_none(),
        sessions: AtomicUsize::new(0),
        large: Arc::new(tokio::sync::Semaphore::new(LARGE_KIB as usize)),
        stop: stop_rx,
    });
    let server = Server::new(listener, config.limits, shared, Arc::clone(&workers));
    let page = StatusPage {
        archive: archive_id.to_string(),
        listen: addr.to_string(),
        workers,
        tls: Arc::clone(&tls),
        metrics: metrics.clone(),
    };
    let status = tokio::task::spawn(status.run(telemetry.into(), move || page.render()));
    let follow = tokio::task::spawn(follow(tls, metrics));
    service::notify::ready();
    tracing::info!(server.addr = %addr, archive = %archive_id, "listening");

    let mut server = tokio::task::spawn(server.run());
    let result = tokio::select! {
        () = bus.or_stop(stop) => Ok(()),
        error = threads.failed() => Err(error),
        ended = &mut server => Err(anyhow::format_err!("accept loop ended: {ended:?}")),
    };
    service::notify::stopping();
    let _ = stop_tx.send(true);
    if !server.is_finished() {
        server.await.context("end the accept loop")?;
    }
    let result = match result {
        Ok(()) => threads.finish().await,
        Err(error) => Err(error),
    };
    follow.abort();
    status.abort();
    bus.close().await;
    Ok(result?)
}

/// docs/wire.md, "Limits".
fn receiver_limits(config: &Config) -> ReceiverLimits {
    let sibling = |id: &archive::ArchiveId| delivery::ArchiveId::from_bytes(id.bytes());
    ReceiverLimits {
        frame: config.limits.frame,
        idle: config.limits.idle_link(),
        max_frame: config.max_frame,
        siblings: config.siblings.iter().map(sibling).collect(),
        ..ReceiverLimits::default()
    }
}

fn options(config: &Config) -> Options {
    Options {
        segment_max_bytes: config.segment_bytes,
        segment_max_age: config.segment_age,
        // The last batch may pass the limit by a frame and a read.
        window_bytes: config.commit_bytes + u64::from(config.max_frame) + (1 << 20),
        reserve_bytes: reserve(&config.data),
        ..Options::default()
    }
}

/// Room that segments leave to the index: a twentieth of a small file system, at most [`RESERVE`].
fn reserve(data: &Path) -> u64 {
    match rustix::fs::statvfs(data) {
        Ok(stat) => RESERVE.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20),
        Err(_) => RESERVE,
    }
}

/// The two threads that wait for disks, and what they ended with.
struct Threads {
    keeper: Ended,
    merger: Option<Ended>,
    feed: Feed,
}

type Ended = oneshot::Receiver<anyhow::Result<()>>;

impl Threads {
    /// Waits for one of them to end while it should not.
    async fn failed(&mut self) -> anyhow::Error {
        let merger = async {
            match &mut self.merger {
                Some(merger) => merger.await,
                None => std::future::pending().await,
            }
        };
        let (name, ended) = tokio::select! {
            ended = &mut self.keeper => ("archive", ended),
            ended = merger => ("merged outputs", ended),
        };
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow::format_err!("{name}: ended early"),
            Err(_) => anyhow::format_err!("{name}: its thread died"),
        }
    }

    /// Waits for both, in order: the merged outputs get what the archive committed last.
    async fn finish(self) -> anyhow::Result<()> {
        let kept = self.keeper.await.context("archive: its thread died")?;
        self.feed.finish();
        let merged = match self.merger {
            Some(merger) => merger.await.context("merged outputs: their thread died")?,
            None => Ok(()),
        };
        kept.and(merged)
    }
}

/// Runs work that blocks on a thread and a runtime of its own.
fn on_thread<F>(name: &str, work: F) -> anyhow::Result<Ended>
where
    F: AsyncFnOnce() -> anyhow::Result<()> + Send + 'static,
{
    let (done, ended) = oneshot::channel();
    let runtime = service::runtime(1).context("make a runtime")?;
    let run = move || {
        let result = runtime.block_on(work());
        // Nobody waits after a failed start.
        let _ = done.send(result);
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .context("start a thread")?;
    Ok(ended)
}

/// Follows registry and certificates, and shows when the first of them expires.
async fn follow(tls: Arc<ServerTls>, metrics: Metrics) {
    let expiry = async {
        let mut minute = tokio::time::interval(std::time::Duration::from_secs(60));
        loop {
            minute.tick().await;
            let first = tls
                .expiries()
                .into_iter()
                .map(|expiry| expiry.not_after)
                .min();
            let since = first.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            metrics.expiry.set(since.map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            }));
        }
    };
    tokio::select! {
        never = tls.follow() => match never {},
        () = expiry => {}
    }
}

/// The program's own part of `/status`.
struct StatusPage {
    archive: String,
    listen: String,
    workers: Arc<Workers>,
    tls: Arc<ServerTls>,
    metrics: Metrics,
}

impl StatusPage {
    fn render(&self) -> Value {
        let expiry = |expiry: pki::Expiry| {
            let at = jiff::Timestamp::try_from(expiry.not_after).map(|at| at.to_string());
            json!({ "path": expiry.path, "not_after": at.ok() })
        };
        let Shown { workers, omitted } = self.workers.status();
        json!({
            "archive": self.archive,
            "listen": self.listen,
            "connections": self.metrics.connections.get(),
            "queued_bytes": self.metrics.queued_bytes.get(),
            "merged_lag_bytes": self.metrics.merged_lag_bytes.get(),
            "workers": workers,
            "workers_omitted": omitted.0,
            "streams_omitted": omitted.1,
            "certificates": self.tls.expiries().into_iter().map(expiry).collect::<Vec<_>>(),
        })
    }
}

/// A connection and a segment take a descriptor each: as many as the system lets us have.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "limit of open files stays");
    }
}

/// The most room that segments leave to the index, in bytes.
const RESERVE: u64 = 64 << 20;
