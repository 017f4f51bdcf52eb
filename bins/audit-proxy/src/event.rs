//! What connections tell the gatherer.

use std::sync::Arc;

use audit_codec::Tag;
use bytes::Bytes;
use rfc5424::Timestamp;
use tokio::sync::watch;

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Peer {
    /// Process; `None` where the kernel does not tell.
    pub(crate) pid: Option<i32>,
    /// User.
    pub(crate) uid: Option<u32>,
    /// Group.
    pub(crate) gid: Option<u32>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its number, not used by an earlier connection of which a record is durable.
    pub(crate) conn: u64,
    pub(crate) peer: Peer,
}

/// One thing that happened on a connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A whole frame.
    Frame {
        client: Arc<Client>,
        tag: Tag,
        payload: Bytes,
        arrival: Timestamp,
    },
    /// The connection ended, or was ended, for a fault of the client.
    Broken { client: Arc<Client>, why: Broken },
    /// The connection ended without one octet: a client that finds its batch too large does that, for ever.
    Empty { client: Arc<Client> },
}

/// Why a connection's last frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Broken {
    /// Its tag is not known.
    Tag,
    /// It is over the limit.
    Size,
    /// The connection ended inside of it.
    Truncated,
    /// It did not become whole in time.
    Timeout,
}

impl Broken {
    /// The word in metrics and ledger.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Size => "size",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
        }
    }
}

/// Waits until a flag is raised, or its owner is gone, which means the same.
pub(crate) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}
