//! What the receiver decided, done.

use bytes::Bytes;
use delivery::Control;
use delivery::receiver::{Action, Closing};
use tokio::io::{AsyncBufRead, AsyncWrite};

use super::{Acknowledged, code_name};
use crate::intake::Said;
use crate::metrics::count;
use crate::session::{End, unix_ms};

impl<IO: AsyncBufRead + AsyncWrite + Unpin> Acknowledged<IO> {
    /// Does what the receiver decided.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.receiver.poll_action() {
            match action {
                Action::Control(Control::Ack(ack)) => self.ack = Some(ack),
                Action::Control(control) => {
                    self.tell_ack();
                    self.tell(&control);
                }
                Action::Claim { stream } => {
                    self.stream = Some(self.worker.stream(&stream, &self.shared.metrics));
                    self.ask(Said::Claim(stream));
                }
                Action::List => self.ask(Said::List),
                Action::Open(opening) => self.ask(Said::Open(opening)),
                Action::Prove { epoch, end, len } => self.ask(Said::Prove { epoch, end, len }),
                Action::Blank { from, count, .. } => {
                    // They take no room on the wire, but as much as others in the archive.
                    self.owed += count as usize;
                    self.queue.push_back(Said::Lines {
                        from,
                        bytes: Bytes::from_static(&LFS[..count as usize]),
                        room: None,
                    });
                }
                Action::Gap { to, cause, .. } => {
                    self.settling = true;
                    self.queue.push_back(Said::Gap { to, cause });
                }
                Action::Roll {
                    next, cause, lost, ..
                } => {
                    self.settling = true;
                    self.queue.push_back(Said::Roll { next, cause, lost });
                }
                Action::Commit => self.queue.push_back(Said::Commit),
                Action::Beat(beat) => {
                    if let Some(stream) = &self.stream {
                        stream.beat(&beat, unix_ms(), &self.shared.metrics);
                    }
                }
                Action::Renew { .. } => {
                    tracing::debug!("renewal is not built, the request is ignored");
                    self.shared.metrics.unknown_controls.inc();
                }
                Action::Close(why) => self.closing(why),
            }
        }
    }

    /// Asks the archive's owner something, and takes nothing more until it has answered.
    fn ask(&mut self, question: Said) {
        self.asked = true;
        self.queue.push_back(question);
    }

    pub(super) fn tell_ack(&mut self) {
        if let Some(ack) = self.ack.take() {
            self.tell(&Control::Ack(ack));
        }
    }

    fn tell(&mut self, control: &Control) {
        match control {
            Control::Refuse(refuse) => {
                let metrics = &self.shared.metrics;
                count(&metrics.refusals, "code", code_name(refuse.code), 1);
            }
            Control::Resume(resume) => {
                if let Some(stream) = &self.stream {
                    stream.stands(resume.epoch, resume.offset);
                }
            }
            Control::Ack(ack) => {
                if let Some(stream) = &self.stream {
                    stream.stands(ack.epoch, ack.offset);
                }
            }
            _ => {}
        }
        match control.encode() {
            Ok(json) => self.wire.control(&json),
            Err(error) => tracing::error!(%error, "a control message can't be written"),
        }
    }

    fn closing(&mut self, why: Closing) {
        let end = match (why, self.fault, self.refusal.take()) {
            (_, _, Some(refusal)) => End::Refused(refusal),
            (Closing::Violation(_), Some((fault, offset)), None) => End::Framing { fault, offset },
            (Closing::Violation(what), None, None) => End::Violation(what),
            (Closing::Refused(code), _, None) => End::Declined(code),
            (Closing::Late("frame"), _, None) => End::Stuck {
                offset: self.offset,
            },
            (Closing::Late(_), _, None) => End::Idle,
            (Closing::Void, _, None) => End::Void,
            (_, _, None) => End::Violation("unknown"),
        };
        self.end = Some(end);
    }
}

/// The longest run of empty lines in one control message.
static LFS: [u8; delivery::control::MAX_BLANK as usize] =
    [b'\n'; delivery::control::MAX_BLANK as usize];
