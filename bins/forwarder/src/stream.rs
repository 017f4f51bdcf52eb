//! One stream: from its stored offset to a master, again and again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use delivery::sender::{Outcome, Why};
use delivery::{Failover, Pause};
use pki::ALPN_ACKNOWLEDGED;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use ratelimit::Backoff;
use tail::Renamed;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::config::Delivery;
use crate::connection::Connection;
use crate::delivery::ask::{self, Asking};
use crate::delivery::{End, acknowledged, plain};
use crate::link::{Link, Shared};
use crate::status::Mode;
use crate::tailer::{Blanks, OBSERVE};

/// Sessions in a row that may end with "connect again at once" and without an acknowledgement.
const HASTY: u32 = 3;

/// Delivers the stream until `stop`.
///
/// # Errors
/// What no other connection would mend.
pub(crate) async fn run(mut link: Link, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(link.limits.backoff, link.limits.backoff_most);
    let mut rng = SmallRng::from_seed(rand::random());
    let masters = link.shared.masters.len();
    let mut course = Course {
        failover: Failover::new(masters),
        asking: Asking::new(masters),
        round: 0,
        hasty: 0,
    };
    loop {
        link.observe().await?;
        let turn = if link.has_nothing() {
            None
        } else {
            match course.turn(&mut link, &mut stop).await? {
                Turn::Stopped => return Ok(()),
                Turn::Again => continue,
                Turn::Failed(why, pause) => Some((why, pause)),
            }
        };
        let wait = match turn {
            None => OBSERVE,
            Some((why, pause)) => {
                if pause == Pause::Reset {
                    backoff.reset();
                }
                let wait = match pause {
                    Pause::None => Duration::ZERO,
                    Pause::Wait | Pause::Reset => backoff.next(&mut rng),
                };
                link.lost(&why, wait);
                wait
            }
        };
        if !away(&mut link, wait, &mut stop).await? {
            return Ok(());
        }
    }
}

/// Which master is next.
#[derive(Debug)]
struct Course {
    failover: Failover,
    asking: Asking,
    /// The list of files that masters are asked about.
    round: u64,
    /// Sessions in a row that ended with "connect again at once" and brought nothing.
    hasty: u32,
}

/// What came of a connection.
enum Turn {
    Stopped,
    /// Go on at once.
    Again,
    /// Not as it should be: why, and how long to wait.
    Failed(String, Pause),
}

impl Course {
    /// Makes a connection and does with it what is next.
    async fn turn(
        &mut self,
        link: &mut Link,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Turn> {
        let ask = link.strangers() > 0;
        let round = link.tailer.here()?.strangers_round();
        if std::mem::replace(&mut self.round, round) != round {
            self.asking.restart();
        }
        let master = if ask {
            self.asking.master()
        } else {
            self.failover.master()
        };
        let connecting = link.patience.wait(connect(&link.shared, master));
        let found = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(Turn::Stopped),
            found = connecting => found,
        };
        match found {
            Ok(connection) if ask => self.ask(link, connection, stop).await,
            Ok(connection) => self.deliver(link, connection, stop).await,
            Err(error) => {
                let pause = if ask {
                    self.unasked(link).await?
                } else {
                    self.failover.failed()
                };
                Ok(Turn::Failed(format!("{error:#}"), pause))
            }
        }
    }

    async fn ask(
        &mut self,
        link: &mut Link,
        connection: Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Turn> {
        let master = self.asking.master();
        if !connection.speaks_acknowledged() {
            // It can't be asked; but if it was the last one, it can have the lines.
            self.asking.answered(Vec::new());
            link.decide(&mut self.asking).await?;
            if link.strangers() == 0 && master == self.failover.master() {
                return self.deliver(link, connection, stop).await;
            }
            return Ok(Turn::Again);
        }
        match ask::ask(link, connection, self.asking.begun(), stop).await? {
            Ok(answers) if answers.len() < link.strangers() => {
                self.asking.begin(answers);
                Ok(Turn::Again)
            }
            Ok(answers) => {
                self.asking.answered(answers);
                if link.decide(&mut self.asking).await? {
                    return Ok(Turn::Again);
                }
                let why = "files changed while masters were asked about them".to_owned();
                Ok(Turn::Failed(why, Pause::Wait))
            }
            Err(_) if *stop.borrow() => Ok(Turn::Stopped),
            Err(why) => {
                let why = format!("{}: {why}", link.shared.masters[master]);
                let pause = self.unasked(link).await?;
                Ok(Turn::Failed(why, pause))
            }
        }
    }

    /// A master could not be asked; after some time the others' word is enough.
    async fn unasked(&mut self, link: &mut Link) -> anyhow::Result<Pause> {
        let pause = self.asking.failed(Instant::now());
        link.decide(&mut self.asking).await?;
        Ok(pause)
    }

    async fn deliver(
        &mut self,
        link: &mut Link,
        connection: Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Turn> {
        let master = self.failover.master();
        match link.deliver(connection, master, stop).await? {
            End::Stopped => {
                link.board.disconnected(None);
                Ok(Turn::Stopped)
            }
            End::Lost { why, outcome } => {
                self.hasty = if at_once(&outcome) { self.hasty + 1 } else { 0 };
                let pause = match self.failover.ended(&outcome) {
                    Pause::None if self.hasty > HASTY => Pause::Wait,
                    pause => pause,
                };
                Ok(Turn::Failed(why, pause))
            }
        }
    }
}

/// Connects to one of the masters.
async fn connect(shared: &Shared, master: usize) -> anyhow::Result<Connection> {
    let alpn: &[&[u8]] = match shared.delivery {
        Delivery::Plain => &[],
        Delivery::Auto | Delivery::Acknowledged => &[ALPN_ACKNOWLEDGED],
    };
    let master = &shared.masters[master];
    let connection = Connection::open(master, &shared.identities, alpn, &shared.limits)
        .await
        .with_context(|| master.to_string())?;
    if shared.delivery == Delivery::Acknowledged && !connection.speaks_acknowledged() {
        bail!(
            "{master}: the master does not speak acknowledged delivery (ALPN logferry/1), and `delivery` is \"acknowledged\": use \"auto\" to fall back to plain"
        );
    }
    Ok(connection)
}

/// Waits, and looks at the file meanwhile: what is rotated now must be held on to. False: told to stop.
async fn away(
    link: &mut Link,
    wait: Duration,
    stop: &mut watch::Receiver<bool>,
) -> anyhow::Result<bool> {
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(!*stop.borrow());
        }
        let nap = link.patience.wait(tokio::time::sleep(left.min(OBSERVE)));
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Ok(false),
            () = nap => {}
        }
        link.observe().await?;
    }
}

/// Whether nothing is wrong, and nothing was acknowledged either.
fn at_once(outcome: &Outcome) -> bool {
    matches!(outcome.why, Why::Elsewhere | Why::Branch { .. }) && !outcome.reset
}

impl Link {
    /// Whether there is no file yet of which a master that acknowledges could be told.
    fn has_nothing(&mut self) -> bool {
        self.shared.delivery != Delivery::Plain
            && self.strangers() == 0
            && self
                .tailer
                .here()
                .is_ok_and(|follower| follower.current_epoch().is_none())
    }

    /// How many files wait to be asked about.
    fn strangers(&mut self) -> usize {
        self.tailer
            .here()
            .map_or(0, |follower| follower.strangers())
    }

    /// Delivers over a connection, in the mode that was agreed.
    async fn deliver(
        &mut self,
        connection: Connection,
        master: usize,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<End> {
        let name = self.shared.masters[master].to_string();
        if connection.speaks_acknowledged() {
            self.tailer.frame(Blanks::Told).await?;
            return acknowledged::deliver(self, connection, &name, stop).await;
        }
        self.fall_back(&name);
        info!(server.addr = name, mode = "plain", "connected");
        self.tailer.frame(Blanks::Dropped).await?;
        self.tailer.here()?.set_max_line(framing::MAX_FRAME);
        self.up(name, Mode::Plain);
        let end = plain::deliver(self, connection, stop).await?;
        self.tailer.recall().await?.rewind();
        Ok(end)
    }

    /// Says once that a master can't acknowledge.
    fn fall_back(&mut self, master: &str) {
        if self.shared.delivery == Delivery::Auto && !std::mem::replace(&mut self.warned, true) {
            warn!(
                server.addr = master,
                "the master does not speak acknowledged delivery: falling back to plain, in which lines can be lost or repeated"
            );
        }
    }

    /// Names the files that wait, once enough masters have answered. False: they changed, or can't be read now.
    async fn decide(&mut self, asking: &mut Asking) -> anyhow::Result<bool> {
        let Some(answers) = asking.decided(Instant::now(), self.limits.ask) else {
            return Ok(true);
        };
        let known = answers
            .iter()
            .filter(|answer| **answer != tail::Answer::New)
            .count();
        let waited = self.strangers();
        self.board.metrics.asked.inc_by(waited as u64);
        let named = self
            .tailer
            .with(move |follower| follower.name(&answers, tail::Now::system()))
            .await?;
        asking.again();
        match named {
            Ok(true) => {
                info!(files = waited, known, "asked the masters about files");
                if let Some(renamed) = self.tailer.here()?.renamed() {
                    let Renamed { epoch, next, base } = renamed;
                    info!(%epoch, %next, offset = base, "the file is another epoch");
                    self.board.metrics.branches.inc();
                }
            }
            Ok(false) => return Ok(false),
            Err(error) => {
                self.trouble(&error);
                return Ok(false);
            }
        }
        self.remember().await?;
        Ok(true)
    }

    /// No session stands, and why; the next attempt comes in `wait`.
    fn lost(&mut self, why: &str, wait: Duration) {
        let retry_in_ms = wait.as_millis() as u64;
        if wait.is_zero() {
            debug!(error = why, "connecting again");
        } else {
            self.board.metrics.failures.inc();
            self.health.failed(why);
            if self.complaint.allow("master", Instant::now()).is_some() {
                warn!(error = why, retry_in_ms, "no master");
            } else {
                debug!(error = why, retry_in_ms, "no master");
            }
        }
        self.board.disconnected(Some(why.to_owned()));
    }
}
