//! A program's place on the bus: one task, which the handle owns.

use std::{process, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use service::{Seldom, Telemetry, status::Health};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    client::{Client, Pace},
    config::Config,
    metrics::Metrics,
    queue::{Publisher, Queue},
};

/// How often a program says on the bus that it lives. DECNET's registry calls it stale after 90 s.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// A program's place on the bus, or none if the bus is off. Dropped, the connection is cut.
#[derive(Debug, Default)]
pub struct Bus {
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    publisher: Publisher,
    told: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Bus {
    /// Starts the task that beats, listens for a stop, and publishes; registers the metrics. The program's name on the
    /// bus is the telemetry's. `extra` gives an object that heartbeats carry beside version, uptime and what fails.
    ///
    /// Without a configuration nothing is started or registered.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn start(
        config: Option<&Config>,
        telemetry: &mut Telemetry,
        extra: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Self {
        let Some(config) = config else {
            return Self::default();
        };
        let metrics = Metrics::new(&mut telemetry.registry);
        let (version, health) = (telemetry.version(), telemetry.health());
        let extra = Box::new(move || about(version, &health, extra()));
        Self::with_pace(config, telemetry.program(), metrics, extra, PACE)
    }

    pub(crate) fn with_pace(
        config: &Config,
        worker: &'static str,
        metrics: Metrics,
        extra: Box<dyn Fn() -> Value + Send + Sync>,
        pace: Pace,
    ) -> Self {
        let queue = Arc::new(Queue::new(rand::random(), metrics));
        let (tell, told) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let client = Client {
            socket: config.socket.clone(),
            worker,
            queue: queue.clone(),
            extra,
            told: tell,
            stop: stopped,
            pace,
            said: Seldom::new(SAID_EVERY),
        };
        let mut task = JoinSet::new();
        task.spawn(client.run());
        let publisher = Publisher(queue);
        let on = Some(On {
            publisher,
            told,
            stop,
            task,
        });
        Self { on }
    }

    /// Publishes; `None` when the bus is off.
    #[must_use]
    pub fn publisher(&self) -> Option<Publisher> {
        self.on.as_ref().map(|on| on.publisher.clone())
    }

    /// Ends with the first of `stop` and a stop that the bus asked for.
    pub fn or_stop<S: Future<Output = ()>>(&self, stop: S) -> impl Future<Output = ()> + use<S> {
        let told = self.on.as_ref().map(|on| on.told.clone());
        async move {
            let told = async {
                if let Some(mut told) = told
                    && told.wait_for(|told| *told).await.is_ok()
                {
                    return;
                }
                // Off, or the task is gone: nobody will ask.
                std::future::pending().await
            };
            tokio::select! {
                () = stop => {}
                () = told => {}
            }
        }
    }

    /// Writes what is queued, as far as the bus takes it within a second, and says goodbye.
    pub async fn close(self) {
        let Some(mut on) = self.on else { return };
        let _ = on.stop.send(true);
        if timeout(GOODBYE, on.task.join_next()).await.is_err() {
            on.task.shutdown().await;
            on.publisher.0.shut(crate::Reason::Lost);
        }
    }
}

/// What every program's heartbeat carries.
fn about(version: &str, health: &Health, extra: Value) -> Value {
    let components = health.components();
    let failing = components.into_iter().filter(|(_, why)| why.is_some());
    let failing = failing.map(|(name, _)| name);
    let silent = health.stalled().into_iter().map(|(name, _)| name);
    let mut about = json!({
        "version": version,
        "pid": process::id(),
        "uptime_sec": health.uptime().as_secs(),
        "failing": failing.chain(silent).collect::<Vec<_>>(),
    });
    if let (Some(about), Value::Object(extra)) = (about.as_object_mut(), extra) {
        about.extend(extra.into_iter().collect::<Map<_, _>>());
    }
    about
}

const PACE: Pace = Pace {
    heartbeat: HEARTBEAT,
    stall: Duration::from_secs(5),
    backoff: (Duration::from_millis(250), Duration::from_secs(5)),
};
/// Time between two log lines of a kind.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// How long the goodbye may take: a stop does not wait for a bus.
const GOODBYE: Duration = Duration::from_secs(1);
