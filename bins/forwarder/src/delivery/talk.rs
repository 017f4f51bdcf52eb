//! The two directions of an acknowledged connection around a [`Sender`].

use std::time::Instant;

use anyhow::Context as _;
use delivery::Control;
use delivery::sender::Sender;
use framing::{Decoder, Frame};

use crate::connection::{Connection, Outbox, PeerEnd};

/// A connection, what is to be written to it, and what was read from it and not heard yet.
#[derive(Debug)]
pub(super) struct Talk {
    connection: Connection,
    pub(super) out: Outbox,
    inbox: Vec<u8>,
    /// What broke the connection.
    pub(super) problem: Option<String>,
}

impl Talk {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            out: Outbox::default(),
            inbox: Vec::new(),
            problem: None,
        }
    }

    pub(super) fn say(&mut self, control: &Control) -> anyhow::Result<()> {
        self.out.control(control)
    }

    /// Moves bytes until all is written or something came. Cancel safe. For ever once the connection is broken.
    pub(super) async fn exchange(&mut self) -> Moved {
        if self.problem.is_some() {
            return std::future::pending().await;
        }
        match self
            .connection
            .exchange(&mut self.out, &mut self.inbox)
            .await
        {
            Ok(()) => Moved::On,
            Err(problem) => Moved::Broken(problem.to_string()),
        }
    }

    /// Tells the sender what came.
    pub(super) fn hear(&mut self, moved: Moved, sender: &mut Sender) {
        let now = Instant::now();
        let decoder = Decoder::new(1).with_controls();
        let mut done = 0;
        loop {
            match decoder.decode(&self.inbox[done..]) {
                Ok(Some((Frame::Control(json), len))) => {
                    sender.handle_control(json, now);
                    done += len;
                }
                Ok(None) => break,
                Ok(Some((Frame::Message(_), _))) | Err(_) => {
                    sender.handle_garbage();
                    done = self.inbox.len();
                    break;
                }
            }
        }
        self.inbox.drain(..done);
        if let Moved::Broken(problem) = moved {
            self.problem = Some(problem);
            sender.handle_closed();
        }
    }

    /// Writes what is left and ends the connection in order, within `limit`.
    pub(super) async fn farewell(mut self, limit: std::time::Duration) -> PeerEnd {
        if self.problem.is_some() {
            return PeerEnd::Abrupt;
        }
        let until = tokio::time::Instant::now() + limit;
        while !self.out.is_empty() {
            self.inbox.clear();
            match tokio::time::timeout_at(until, self.exchange()).await {
                Ok(Moved::On) => {}
                Ok(Moved::Broken(_)) | Err(_) => return PeerEnd::Abrupt,
            }
        }
        self.connection
            .close(until.duration_since(tokio::time::Instant::now()))
            .await
    }
}

/// What came of moving bytes.
#[derive(Debug)]
pub(super) enum Moved {
    On,
    Broken(String),
}

/// An offset of ours as the protocol has it.
pub(super) fn offset(at: u64) -> anyhow::Result<delivery::Offset> {
    delivery::Offset::new(at).context("a file is too long to be delivered")
}

pub(super) fn theirs(epoch: tail::EpochId) -> delivery::EpochId {
    delivery::EpochId::from_bytes(*epoch.bytes())
}

pub(super) fn ours(epoch: delivery::EpochId) -> tail::EpochId {
    tail::EpochId::from_bytes(*epoch.bytes())
}
