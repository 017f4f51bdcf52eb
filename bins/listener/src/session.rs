//! One connection whose peer is known: TLS records in, batches out, until the peer, a limit or the operator ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use delivery::receiver::ReceiverLimits;
use delivery::{ArchiveId, Code};
use framing::Fault;
use pki::{Refusal, ServerTls};
use tokio::sync::{Semaphore, watch};

use crate::intake::Intake;
use crate::metrics::Metrics;

mod acknowledged;
mod inbound;
mod plain;
mod wire;

pub(crate) use acknowledged::{Acknowledged, turn_away};
pub(crate) use inbound::LARGE_KIB;
pub(crate) use plain::Plain;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) intake: Intake,
    pub(crate) metrics: Metrics,
    pub(crate) archive: ArchiveId,
    pub(crate) limits: ReceiverLimits,
    pub(crate) max_frame: u32,
    pub(crate) frame_limit: Duration,
    pub(crate) idle_limit: Duration,
    /// How long the peers of acknowledged connections have to finish at a stop.
    pub(crate) drain: Duration,
    /// Nobody makes records of plain frames, which would tell those that are none.
    pub(crate) counts_invalid: bool,
    /// Sessions now, which share the memory for reading.
    pub(crate) sessions: AtomicUsize,
    /// Room for frames that are larger than a connection's own buffer, in KiB.
    pub(crate) large: Arc<Semaphore>,
    /// Turns true when the program stops.
    pub(crate) stop: watch::Receiver<bool>,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// `close_notify`, after a whole frame.
    Clean,
    /// The stream broke the framing, or ended inside a frame, at this octet of the connection's plaintext.
    Framing { fault: Fault, offset: u64 },
    /// The connection broke; also an end without `close_notify` after a whole frame.
    Broken(io::Error),
    /// No octet of a frame for too long.
    Stuck { offset: u64 },
    /// No frame for too long.
    Idle,
    /// The peer's certificate counts no longer.
    Refused(Refusal),
    /// The peer was told no.
    Declined(Code),
    /// The peer broke the protocol of acknowledged delivery.
    Violation(&'static str),
    /// What the peer wrote last does not stand; it sends it again.
    Void,
    /// The program stops.
    Stop,
}

impl End {
    /// The reason, for the metric.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            End::Clean => "clean",
            End::Framing { .. } => "framing",
            End::Broken(_) => "broken",
            End::Stuck { .. } => "stuck",
            End::Idle => "idle",
            End::Refused(_) => "revoked",
            End::Declined(_) => "refused",
            End::Violation(_) => "violation",
            End::Void => "void",
            End::Stop => "stop",
        }
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Longest wait for the peer while closing.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Longest sleep at a time of a worker over its rate.
const MAX_PAUSE: Duration = Duration::from_millis(200);
