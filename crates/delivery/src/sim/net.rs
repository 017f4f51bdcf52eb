//! Connections: two pipes of bytes each, which can be slow, cut at any byte, or silently dead.

use std::collections::{BTreeMap, VecDeque};

use super::{Chance, met};

/// Most bytes on their way in one direction.
const CAPACITY: usize = 2000;

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) master: usize,
    up: Pipe,
    down: Pipe,
    /// Nothing arrives any more, and nobody is told.
    dead: bool,
}

#[derive(Debug, Default)]
pub(super) struct Net {
    pub(super) links: BTreeMap<u64, Link>,
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Forwarder,
    Listener,
}

impl Net {
    pub(super) fn connect(&mut self, master: usize) -> u64 {
        self.last += 1;
        let link = Link {
            master,
            ..Link::default()
        };
        self.links.insert(self.last, link);
        self.last
    }

    fn pipes(&mut self, id: u64, end: End) -> Option<(&mut Pipe, &mut Pipe, bool)> {
        let Link { up, down, dead, .. } = self.links.get_mut(&id)?;
        Some(match end {
            End::Forwarder => (down, up, *dead),
            End::Listener => (up, down, *dead),
        })
    }

    /// Whether a write would not wait. On a connection that was cut it fails at once, however much was on its way.
    pub(super) fn has_room(&mut self, id: u64, end: End) -> bool {
        self.pipes(id, end)
            .is_none_or(|(_, to, _)| to.ended || to.bytes.len() < CAPACITY)
    }

    pub(super) fn write(&mut self, id: u64, end: End, bytes: &[u8]) {
        if let Some((_, to, dead)) = self.pipes(id, end)
            && !dead
            && !to.ended
        {
            to.bytes.extend(bytes);
        }
    }

    /// At most `most` bytes; whether the end was reached.
    pub(super) fn read(&mut self, id: u64, end: End, most: usize, buf: &mut Vec<u8>) -> bool {
        let Some((from, _, dead)) = self.pipes(id, end) else {
            return true;
        };
        if dead {
            return false;
        }
        let n = most.min(from.bytes.len());
        buf.extend(from.bytes.drain(..n));
        from.ended && from.bytes.is_empty()
    }

    /// One end closes: what it wrote still arrives, what the other writes does not.
    pub(super) fn close(&mut self, id: u64, end: End) {
        if let Some((from, to, _)) = self.pipes(id, end) {
            to.ended = true;
            from.ended = true;
            from.bytes.clear();
        }
    }

    /// The network cuts a connection, at any byte of each direction.
    pub(super) fn cut(&mut self, id: u64, chance: &mut Chance) {
        if let Some(link) = self.links.get_mut(&id) {
            link.dead = false;
            for pipe in [&mut link.up, &mut link.down] {
                if !pipe.bytes.is_empty() {
                    met("cut with bytes on their way");
                }
                pipe.bytes.truncate(chance.below(pipe.bytes.len() + 1));
                pipe.ended = true;
            }
        }
    }

    pub(super) fn die(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            if !link.dead {
                met("half-open");
            }
            link.dead = true;
        }
    }

    /// Connections that died silently are noticed after all.
    pub(super) fn heal(&mut self, chance: &mut Chance) {
        let dead: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, l)| l.dead)
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            self.cut(id, chance);
        }
    }

    pub(super) fn any(&self, chance: &mut Chance) -> Option<u64> {
        let at = chance.below(self.links.len());
        self.links.keys().nth(at).copied()
    }
}
