//! Watches the Docker daemon and reports containers, for ever: through a daemon that is not there
//! yet, restarts, or goes away.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use ratelimit::Backoff;
use service::Seldom;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tracing::{info, warn};

use crate::{
    config::{Config, read_names},
    docker::{Docker, Event, EventKind, Inspected},
    fleet::{Chosen, Observation},
    metrics::Metrics,
    select::{Facts, Rules, Summary},
    source::api::Endpoint,
};

/// The watcher of one daemon.
#[derive(Debug)]
pub struct Watch {
    endpoint: Endpoint,
    relist: Duration,
    decnet_state: Option<PathBuf>,
    /// What was said last about the state file, so that it is said once.
    names_problem: Option<String>,
    rules: Rules,
    /// Facts that an inspection gave since the event stream was last whole.
    inspected: BTreeMap<String, Facts>,
    observations: mpsc::Sender<Observation>,
    metrics: Metrics,
    docker_ok: service::status::Component,
    refusals: Seldom,
}

impl Watch {
    /// A watcher that reports to `observations`.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        config: &Config,
        own: Option<String>,
        observations: mpsc::Sender<Observation>,
        metrics: Metrics,
        docker_ok: service::status::Component,
    ) -> Watch {
        Watch {
            endpoint,
            relist: config.relist,
            decnet_state: config.decnet_state.clone(),
            names_problem: None,
            rules: Rules {
                labels: config.labels.clone(),
                names: BTreeSet::new(),
                own,
            },
            inspected: BTreeMap::new(),
            observations,
            metrics,
            docker_ok,
            refusals: Seldom::new(REFUSALS_EVERY),
        }
    }

    /// Watches until nobody receives observations any more.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RECONNECT_BASE, RECONNECT_CAP);
        let mut said = false;
        loop {
            let mut connected = false;
            let ended = self.session(&mut connected).await;
            self.metrics.docker_connected.set(0);
            let Err(error) = ended else { return };
            if std::mem::take(&mut connected) {
                backoff.reset();
                said = false;
            }
            let error = format!("{error:#}");
            if !std::mem::replace(&mut said, true) {
                warn!(server.addr = %self.endpoint_name(), error, "docker is not there, trying on for ever");
            }
            self.docker_ok.failed(error);
            let pause = backoff.next(&mut rand::rng());
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection: `Ok` when nobody listens any more, else why it was lost.
    async fn session(&mut self, connected: &mut bool) -> anyhow::Result<()> {
        let docker = Docker::connect(&self.endpoint)
            .await
            .context("connect to docker")?;
        // Events first, then the listing: what happens in between is in the events.
        let from = SystemTime::now() - EVENT_OVERLAP;
        let (sender, mut events) = mpsc::channel(EVENTS_AHEAD);
        let pump = pump(docker.events(from), sender);
        let mut pump = pin!(pump);
        self.inspected.clear();
        let mut ticks = tokio::time::interval(self.relist);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let open = tokio::select! {
                ended = &mut pump => return Err(ended),
                event = events.recv() => match event {
                    Some(event) => self.event(&docker, event).await?,
                    None => true,
                },
                _ = ticks.tick() => {
                    let listing = self.list(&docker);
                    // The pump must run while a listing is awaited: the daemon's memory of events is short.
                    let open = tokio::select! {
                        ended = &mut pump => return Err(ended),
                        open = listing => open?,
                    };
                    if !std::mem::replace(connected, true) {
                        self.metrics.docker_connected.set(1);
                        self.docker_ok.ok();
                        info!(server.addr = %self.endpoint_name(), "docker connected");
                    }
                    open
                }
            };
            if !open {
                return Ok(());
            }
        }
    }

    /// Lists everything and reports it; false when nobody listens.
    async fn list(&mut self, docker: &Docker) -> anyhow::Result<bool> {
        self.read_names();
        let listed = docker.list().await.context("list containers")?;
        let present: BTreeSet<_> = listed.iter().map(|summary| summary.id.clone()).collect();
        self.inspected.retain(|id, _| present.contains(id));
        let mut chosen = Vec::new();
        for summary in listed {
            let why = self.rules.judge(&summary);
            if !why.collects() {
                continue;
            }
            if let Some(facts) = self.facts(docker, summary).await? {
                chosen.push(Chosen { facts, why });
            }
        }
        Ok(self
            .observations
            .send(Observation::Listed { chosen, present })
            .await
            .is_ok())
    }

    /// Facts of a listed container; asks the daemon only when something changed.
    async fn facts(&mut self, docker: &Docker, summary: Summary) -> anyhow::Result<Option<Facts>> {
        let known = self.inspected.get_mut(&summary.id);
        if let Some(known) = known
            && known.summary.running == summary.running
        {
            known.summary.name = summary.name;
            return Ok(Some(known.clone()));
        }
        match docker.inspect(&summary.id).await.context(INSPECT)? {
            Inspected::Found(facts) => {
                self.inspected.insert(summary.id, facts.clone());
                Ok(Some(facts))
            }
            Inspected::Gone => Ok(None),
            Inspected::Refused(error) => {
                self.refused(&summary.id, &error);
                // What was known is better than nothing: without it, its reader would be ended.
                Ok(self.inspected.get(&summary.id).cloned())
            }
        }
    }

    async fn event(&mut self, docker: &Docker, event: Event) -> anyhow::Result<bool> {
        self.read_names();
        let inspected = match event.kind {
            EventKind::Destroyed => Inspected::Gone,
            // Also after its end: the inspection says whether it was started again since.
            EventKind::Changed | EventKind::Died => {
                docker.inspect(&event.id).await.context(INSPECT)?
            }
        };
        let observation = match inspected {
            Inspected::Found(facts) => {
                let why = self.rules.judge(&facts.summary);
                if !why.collects() {
                    return Ok(true);
                }
                self.inspected.insert(event.id, facts.clone());
                Observation::Seen(Chosen { facts, why })
            }
            Inspected::Gone => self.gone(event),
            Inspected::Refused(error) => {
                self.refused(&event.id, &error);
                return Ok(true);
            }
        };
        Ok(self.observations.send(observation).await.is_ok())
    }

    /// A container that is not there any more. That it ran, and would have been collected, is a loss
    /// if nobody ever looked at it.
    fn gone(&mut self, event: Event) -> Observation {
        let seen = self.inspected.remove(&event.id).is_some();
        let name = event.attributes.get("name").cloned().unwrap_or_default();
        let summary = Summary {
            id: event.id,
            name,
            labels: event.attributes,
            ..Summary::default()
        };
        let Summary { id, name, .. } = &summary;
        if !seen && event.kind == EventKind::Died && self.rules.judge(&summary).collects() {
            let (id, name) = (id.clone(), name.clone());
            return Observation::Missed { id, name };
        }
        Observation::Gone(id.clone())
    }

    fn refused(&self, id: &str, error: &str) {
        if let Some(more) = self.refusals.allow((), Instant::now()) {
            warn!(id, error, more, "docker can't tell of a container");
        }
    }

    fn read_names(&mut self) {
        let Some(path) = &self.decnet_state else {
            return;
        };
        match read_names(path) {
            Ok(names) => {
                self.rules.names = names;
                self.names_problem = None;
            }
            // The names of the last good file stay.
            Err(problem) => {
                if self.names_problem.as_ref() != Some(&problem) {
                    warn!(error = problem, "decnet state file can't be read");
                    self.names_problem = Some(problem);
                }
            }
        }
    }

    fn endpoint_name(&self) -> String {
        crate::docker::name(&self.endpoint)
    }
}

/// Hands events on until the stream is lost, and says why.
async fn pump(
    events: impl futures_util::Stream<Item = Result<Event, bollard::errors::Error>>,
    sender: mpsc::Sender<Event>,
) -> anyhow::Error {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if sender.send(event).await.is_err() {
                    break;
                }
            }
            Err(error) => return anyhow::Error::new(error).context("watch events"),
        }
    }
    anyhow::anyhow!("docker ended the stream of events")
}

const RECONNECT_BASE: Duration = Duration::from_millis(500);
/// A daemon that comes back is noticed within this time.
const RECONNECT_CAP: Duration = Duration::from_secs(5);
/// Events from before the connection that are asked for again; a repeated one is harmless.
const EVENT_OVERLAP: Duration = Duration::from_secs(2);
/// Events that wait while a container is inspected.
const EVENTS_AHEAD: usize = 4096;
/// Time between two log lines about containers the daemon can't tell of.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);
const INSPECT: &str = "inspect a container";
