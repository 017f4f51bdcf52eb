//! What waits to be written to a connection.

use anyhow::Context as _;
use delivery::Control;

/// What is to be written next, in one piece.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(super) bytes: Vec<u8>,
    /// So much of it is with the kernel.
    pub(super) done: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends a control message.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn control(&mut self, control: &Control) -> anyhow::Result<()> {
        let json = control.encode().context("write a control message")?;
        framing::encode_control(&json, &mut self.bytes);
        Ok(())
    }

    /// Appends frames, without a copy where nothing else waits; gives back a buffer to fill again.
    pub(crate) fn frames(&mut self, mut frames: Vec<u8>) -> Vec<u8> {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, &mut frames);
        } else {
            self.bytes.extend_from_slice(&frames);
        }
        frames.clear();
        frames
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.done = 0;
        if self.bytes.capacity() > LARGE {
            self.bytes.shrink_to(0);
        }
    }
}

/// A buffer that a long line made larger than this is not kept.
const LARGE: usize = 1 << 20;
