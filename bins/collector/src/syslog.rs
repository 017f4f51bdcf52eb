//! The second source: syslog from programs of this host, over UDP, TCP and a Unix datagram socket.
//!
//! To the writer each transport is a container of its own, whose lines take the same way, through the same rendering,
//! dedupe, books and planned append. There is no cursor: what a sender gave away can't be read again. So nothing waits
//! here; what was read is in the writer's next batch.

use std::{collections::BTreeMap, net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use service::status::Pulse;
use tokio::{
    net::{UdpSocket, UnixDatagram},
    sync::{mpsc, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tracing::info;

mod config;
mod datagram;
mod drops;
mod intake;
mod losses;
mod metrics;
mod stream;
mod taken;

pub use config::Config;
pub use metrics::Metrics;
pub use taken::{Taken, Unsaved, tell};

pub(crate) use config::{MAX_DELAY, RawSyslog, resolve};

use crate::{
    render::Label,
    roster::{Roster, Shown},
    source::{Cause, Container, Event, Pool},
};
use drops::Drops;
use intake::Intake;

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// A message a datagram (RFC 5426).
    Udp,
    /// RFC 6587, both framings.
    Tcp,
    /// A message a datagram, as on `/dev/log`.
    Unix,
}

/// The open sockets.
#[derive(Debug)]
pub struct Sockets {
    udp: Option<std::net::UdpSocket>,
    tcp: Option<TcpListener>,
    unix: Option<std::os::unix::net::UnixDatagram>,
    listening: BTreeMap<Transport, String>,
}

/// What the source needs of the program around it.
#[derive(Debug)]
pub struct Supply {
    /// Where lines go.
    pub events: mpsc::Sender<Event>,
    /// The buffers they are put into.
    pub pool: Pool,
    /// Counts.
    pub metrics: Metrics,
    /// Counts what will have to stand in the books at the end.
    pub taken: Taken,
    /// True when the program stops.
    pub stop: watch::Receiver<bool>,
    /// Shows life.
    pub pulse: Pulse,
}

impl Transport {
    const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Unix];

    /// Its key in the configuration, and the `stream` of its lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
        }
    }

    /// The key of its books. A container's is 64 hex digits.
    fn id(self) -> String {
        format!("{ID_PREFIX}{}", self.as_str())
    }

    fn container(self) -> Container {
        Container {
            id: self.id(),
            name: NAME.to_owned(),
            ..Container::default()
        }
    }
}

/// Whether the books under this key are a transport's, and no container's.
#[must_use]
pub fn is_transport(id: &str) -> bool {
    id.starts_with(ID_PREFIX)
}

impl Sockets {
    /// Opens what is configured.
    ///
    /// # Errors
    /// The first socket that can't be opened, by its key.
    pub fn bind(config: &Config) -> anyhow::Result<Sockets> {
        let mut sockets = Sockets {
            udp: None,
            tcp: None,
            unix: None,
            listening: BTreeMap::new(),
        };
        if let Some(address) = config.udp {
            let bound = datagram::bind(address).and_then(|socket| {
                sockets.heard(Transport::Udp, socket.local_addr()?);
                Ok(socket)
            });
            let socket = bound.with_context(|| format!("syslog.udp: listen on {address}"))?;
            sockets.udp = Some(socket);
        }
        if let Some(address) = config.tcp {
            let bound = TcpListener::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                sockets.heard(Transport::Tcp, socket.local_addr()?);
                Ok(socket)
            });
            let socket = bound.with_context(|| format!("syslog.tcp: listen on {address}"))?;
            sockets.tcp = Some(socket);
        }
        if let Some(place) = &config.unix {
            let socket = place.datagram().context("syslog.unix")?;
            socket.set_nonblocking(true).context("syslog.unix")?;
            sockets.heard(Transport::Unix, place.path.display());
            sockets.unix = Some(socket);
        }
        Ok(sockets)
    }

    /// Where it listens, by transport, for the status page.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let entry = |(transport, address): (&Transport, &String)| {
            (transport.as_str().to_owned(), json!(address))
        };
        Value::Object(self.listening.iter().map(entry).collect())
    }

    /// Enters the transports into the roster, under their labels.
    pub(crate) fn enrol(&self, roster: &Roster) {
        for (transport, address) in &self.listening {
            let label = Label {
                name: NAME.to_owned(),
                service: SERVICE.to_owned(),
                id: NO_CONTAINER.to_owned(),
                stream: Some(transport.as_str()),
            };
            let shown = Shown {
                why: format!("syslog.{}", transport.as_str()),
                reader: transport.as_str(),
                state: format!("listening on {address}"),
                current: true,
            };
            roster.show(&transport.id(), label, shown);
        }
    }

    fn heard(&mut self, transport: Transport, address: impl ToString) {
        let address = address.to_string();
        info!(
            transport = transport.as_str(),
            address, "listening for syslog"
        );
        self.listening.insert(transport, address);
    }
}

/// Receives until told to stop, and then what the kernel holds by that time.
///
/// # Errors
/// A socket that the runtime does not take; a task that died.
pub async fn run(sockets: Sockets, config: Config, supply: Supply) -> anyhow::Result<()> {
    let Supply {
        events,
        pool,
        metrics,
        taken,
        stop,
        pulse,
    } = supply;
    let mut tasks = JoinSet::new();
    let mut intakes = Vec::new();
    let mut drops = None;
    let mut intake = |transport: Transport| {
        let container = Arc::new(transport.container());
        let intake = Intake::new(transport, container, &events, &pool, &metrics, &taken);
        intakes.push(intake.clone());
        intake
    };
    if let Some(socket) = sockets.udp {
        let intake = intake(Transport::Udp);
        drops = Some((Drops::of(&socket), intake.clone()));
        let socket = UdpSocket::from_std(socket).context("watch syslog.udp")?;
        tasks.spawn(datagram::receive(socket, intake, stop.clone()));
    }
    if let Some(socket) = sockets.unix {
        let intake = intake(Transport::Unix);
        let socket = UnixDatagram::from_std(socket).context("watch syslog.unix")?;
        tasks.spawn(datagram::receive(socket, intake, stop.clone()));
    }
    if let Some(socket) = sockets.tcp {
        let intake = intake(Transport::Tcp);
        let socket = tokio::net::TcpListener::from_std(socket).context("watch syslog.tcp")?;
        tasks.spawn(stream::serve(socket, intake, config, stop));
    }
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pulse.beat();
        tokio::select! {
            joined = tasks.join_next() => match joined {
                Some(ended) => ended.context("a task of the syslog source died")?,
                None => break,
            },
            _ = tick.tick() => {
                look(&mut drops);
                intakes.iter().for_each(|intake| intake.tell_losses(false));
            }
        }
    }
    look(&mut drops);
    for intake in &intakes {
        intake.tell_last_losses().await;
    }
    Ok(())
}

/// Waits for the word to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // It fails when nobody is left to give the word, which says the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Asks the kernel what it had no room for.
fn look(drops: &mut Option<(Drops, Intake)>) {
    if let Some((drops, intake)) = drops {
        let new = drops.since_last();
        if new > 0 {
            intake.lost(Cause::Overflow, new, None);
        }
    }
}

/// The container of all transports. Docker's names begin with a letter or digit: it is nobody's.
const NAME: &str = "_syslog";
/// APP-NAME of what has none.
const SERVICE: &str = "syslog";
/// Where others have the first digits of a container's id.
const NO_CONTAINER: &str = "000000000000";
const ID_PREFIX: &str = "syslog-";
/// How long a stop goes on reading from senders who go on sending.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a stop waits for a socket to say that something waits in it: the runtime learns it a moment later.
const SETTLE: Duration = Duration::from_millis(20);
/// How often the kernel is asked what it dropped, and losses are told.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
