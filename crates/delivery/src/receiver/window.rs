//! What becomes of what was taken: it stands, is void, can't be committed now, or is the last of a fenced connection.

use super::*;

impl Receiver {
    /// A window stands: everything of this connection below `offset` of this epoch, and its earlier epochs to their
    /// end, is written, synced, ledgered and indexed. Once a window, never for a part of one.
    pub fn handle_committed(&mut self, epoch: EpochId, offset: Offset, ledger: Hash) {
        if self.is_closed() {
            return;
        }
        let ack = Ack {
            epoch,
            offset,
            ledger,
        };
        self.committed = Some(ack);
        self.actions.push_back(Action::Control(Control::Ack(ack)));
        if self.fenced && self.is_settled() {
            self.handle_refused(Code::Superseded, "a newer connection has the stream");
        }
    }

    /// The window is void: what this connection wrote since the last commit does not stand.
    pub fn handle_void(&mut self) {
        if !self.is_closed() {
            self.close(Closing::Void);
        }
    }

    /// Nothing can be committed now (`true`), or again.
    pub fn handle_blocked(&mut self, blocked: bool, now: Instant) {
        match (blocked, self.repeat_at) {
            (true, None) => self.repeat_at = Some(now + self.limits.repeat),
            (false, _) => self.repeat_at = None,
            _ => {}
        }
    }

    /// A newer connection has the stream: nothing more is taken, what was taken is committed, then this one ends.
    pub fn handle_superseded(&mut self) {
        if self.is_closed() || self.fenced {
            return;
        }
        self.fenced = true;
        if self.is_settled() {
            self.handle_refused(Code::Superseded, "a newer connection has the stream");
        } else {
            self.actions.push_back(Action::Commit);
        }
    }

    /// Whether everything taken is committed.
    pub fn is_settled(&self) -> bool {
        match (self.epoch, self.committed) {
            (Some(epoch), Some(last)) => last.epoch == epoch && last.offset >= self.taken,
            (None, _) => true,
            _ => false,
        }
    }

    pub(super) fn repeat(&mut self) {
        // Before the first resume the peer does not know whose ack it is.
        if let (Some(_), Some(ack)) = (self.epoch, self.committed) {
            self.actions.push_back(Action::Control(Control::Ack(ack)));
        }
    }
}
