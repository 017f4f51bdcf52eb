//! From frames to the receiver and the queue.

use std::time::Instant;

use bytes::{Buf as _, Bytes};
use delivery::receiver::Append;
use framing::{Decoder, Fault, Frame, FrameError, Unframed};
use tokio::io::{AsyncBufRead, AsyncWrite};

use super::Acknowledged;
use crate::intake::Said;
use crate::session::unix_ms;

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Acknowledged<IO> {
    /// Hands on the next lines or the next control message; `false` when there is no whole frame.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let decoder = Decoder::new(self.shared.max_frame).with_controls();
        let buf = &mut self.wire.inbound.buf;
        let done = match decoder.unframe(buf) {
            Ok(done) => done,
            Err((done, error)) => {
                if done.frames > 0 {
                    self.lines(done);
                }
                self.broken(
                    error.offset_by(0).fault,
                    self.offset + (error.at - done.consumed) as u64,
                );
                return true;
            }
        };
        if done.frames > 0 {
            self.lines(done);
            return true;
        }
        match decoder.decode(buf) {
            Ok(Some((Frame::Control(json), consumed))) => {
                self.receiver.handle_control(json, now);
                buf.advance(consumed);
                self.offset += consumed as u64;
                self.owed += consumed;
                true
            }
            Ok(_) => false,
            Err(FrameError { fault, at, .. }) => {
                self.broken(fault, self.offset + at as u64);
                true
            }
        }
    }

    fn lines(&mut self, done: Unframed) {
        let lines = self.wire.inbound.split(done.consumed, done.len);
        self.offset += done.consumed as u64;
        let metrics = &self.shared.metrics;
        metrics.frames.inc_by(done.frames as u64);
        metrics.bytes.inc_by(done.consumed as u64);
        self.worker.took(done.frames, done.consumed, unix_ms());
        let append = self
            .receiver
            .handle_data(done.frames as u64, done.octets() as u64);
        let Some(Append { from, piece, .. }) = append else {
            return;
        };
        let mut push = |from, bytes: Bytes| {
            if !bytes.is_empty() {
                self.queue.push_back(Said::Lines {
                    from,
                    bytes,
                    room: None,
                });
            }
        };
        if piece {
            // No LF follows a piece.
            push(from, lines.slice(..done.first));
            if let Ok(next) = from.advance(done.first as u64) {
                push(next, lines.slice(done.first + 1..));
            }
        } else {
            push(from, lines);
        }
        self.owed += done.consumed;
    }

    /// Counts what was taken against the worker's rate, or waits until the rate allows for it.
    pub(super) fn pay(&mut self, now: Instant) {
        if self.owed == 0 || self.paused.is_some_and(|until| until > now) {
            return;
        }
        let pause = self.worker.pause(self.owed, now);
        if pause.is_zero() {
            (self.owed, self.paused) = (0, None);
        } else {
            self.paused = Some(now + pause);
        }
    }

    fn broken(&mut self, fault: Fault, offset: u64) {
        self.fault = Some((fault, offset));
        self.receiver.handle_garbage();
    }
}
