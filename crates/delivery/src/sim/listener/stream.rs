//! Who may write, and what becomes of what was written.

use super::*;

impl Listener {
    pub(super) fn claim(
        &mut self,
        receiver: &mut Receiver,
        stream: &str,
        link: u64,
        now: Instant,
        chance: &mut Chance,
        net: &mut Net,
    ) -> Result<(), String> {
        match self
            .admission
            .claim(WORKER, stream, ConnectionId(link), now)
        {
            Claimed::Granted => receiver.handle_claimed(),
            Claimed::Refused(code) => receiver.handle_refused(code, "limit"),
            Claimed::Takeover {
                fence,
                loser,
                conflict,
            } => {
                met("takeover");
                if loser.is_some() {
                    met("takeover of one that waited");
                }
                if conflict {
                    met("conflict");
                }
                let refused = |c: &mut Connection| {
                    c.receiver.handle_refused(crate::Code::Superseded, "newer")
                };
                loser
                    .and_then(|loser| self.connections.get_mut(&loser.0))
                    .map(refused);
                if let Some(older) = self.connections.get_mut(&fence.0) {
                    older.receiver.handle_superseded();
                }
                for id in [Some(fence), loser].into_iter().flatten() {
                    if let Some(mut older) = self.connections.remove(&id.0) {
                        self.obey(&mut older, id.0, now, chance, net)?;
                        self.connections.insert(id.0, older);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        link: u64,
        now: Instant,
        chance: &mut Chance,
        net: &mut Net,
    ) -> Result<(), String> {
        self.connections.remove(&link);
        let next = self.admission.released(WORKER, ConnectionId(link));
        if let Some(ConnectionId(id)) = next
            && let Some(mut connection) = self.connections.remove(&id)
        {
            connection.receiver.handle_claimed();
            self.obey(&mut connection, id, now, chance, net)?;
            self.connections.insert(id, connection);
        }
        Ok(())
    }

    /// The window: written, synced, ledgered, indexed, acknowledged.
    pub(in crate::sim) fn commit(&mut self, chance: &mut Chance, net: &mut Net) {
        self.commit_with(None, chance, net);
    }

    pub(super) fn commit_with(
        &mut self,
        current: Option<&mut Connection>,
        chance: &mut Chance,
        _: &mut Net,
    ) {
        let due = self.store.uncommitted() > 0;
        self.store.commit(Stage::Indexed, chance);
        let head = self.store.ledger_head();
        let fenced = current.is_some();
        let all = self
            .connections
            .values_mut()
            .filter(|c| !c.over)
            .chain(current);
        for connection in all {
            if let Some((epoch, offset)) = connection.receiver.position()
                && (due || fenced || !connection.receiver.is_settled())
            {
                connection.receiver.handle_committed(epoch, offset, head);
            }
        }
    }

    /// A write or a sync fails, as late as `at`: the window is void, and those who wrote into it are sent away.
    pub(in crate::sim) fn fail(&mut self, at: Stage, chance: &mut Chance) {
        met("failed sync");
        self.store.commit(at, chance);
        self.store.void();
        for connection in self.connections.values_mut() {
            connection.receiver.handle_void();
        }
    }
}
