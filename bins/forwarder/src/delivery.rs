//! Delivery modes: what is done with a connection once it stands. A mode takes batches from the link's tailer, decides
//! what counts as delivered, and gives the connection back only by its [`End`].
//!
//! Today there is one, [`plain`]. An acknowledged session takes the same [`Link`](crate::stream::Link): it confirms on
//! `ack` instead of on the kernel's word, syncs the source before sending ([`tail::Follower::sync`]), and tells of
//! gaps and rolls on the wire.

pub(crate) mod plain;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// We were told to stop.
    Stopped,
    /// The connection is gone.
    Lost {
        /// In words for the log.
        why: String,
        /// Something was delivered: the next attempt need not wait long.
        progress: bool,
    },
}
