//! What a master of the test's own keeps, in memory.

use std::ops::Range;

use delivery::control::{Beat, Missing, Proof};
use delivery::{ArchiveId, EpochId, GapCause, Hash, Offset, Print, RollCause};

/// What is held of an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    pub(crate) id: EpochId,
    pub(crate) after: Option<EpochId>,
    pub(crate) of: Option<EpochId>,
    pub(crate) base: usize,
    /// From offset 0 on; zeros where there is a gap, or something below the base.
    pub(crate) bytes: Vec<u8>,
    pub(crate) gaps: Vec<(usize, usize, GapCause)>,
    pub(crate) rolls: Vec<(usize, EpochId, RollCause, Option<u64>)>,
    pub(crate) in_line: bool,
    /// So much survives a crash.
    pub(crate) committed: usize,
}

/// What a master keeps.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) id: ArchiveId,
    pub(crate) siblings: Vec<ArchiveId>,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) hellos: usize,
    pub(crate) beats: Vec<Beat>,
    /// The connection that has the stream.
    pub(crate) holder: usize,
}

impl Archive {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            id: ArchiveId::from_bytes([id; 16]),
            siblings: Vec::new(),
            epochs: Vec::new(),
            hellos: 0,
            beats: Vec::new(),
            holder: 0,
        }
    }

    /// Everything, epoch after epoch; what an epoch shares with the one it branched from comes once.
    pub(crate) fn text(&self) -> Vec<u8> {
        let pieces = self.epochs.iter().map(|epoch| &epoch.bytes[epoch.base..]);
        pieces.flatten().copied().collect()
    }

    /// The same without what is missing.
    pub(crate) fn held(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for epoch in &self.epochs {
            let mut at = epoch.base;
            for (from, to, _) in &epoch.gaps {
                text.extend_from_slice(&epoch.bytes[at..*from]);
                at = *to;
            }
            text.extend_from_slice(&epoch.bytes[at..]);
        }
        text
    }

    pub(crate) fn gaps(&self) -> Vec<(usize, usize, GapCause)> {
        self.epochs
            .iter()
            .flat_map(|epoch| epoch.gaps.clone())
            .collect()
    }

    pub(crate) fn epoch(&mut self, id: EpochId) -> &mut Epoch {
        self.epochs.iter_mut().find(|epoch| epoch.id == id).unwrap()
    }

    pub(crate) fn crash(&mut self) {
        for epoch in &mut self.epochs {
            let at = epoch.committed;
            epoch.bytes.truncate(at);
            epoch.gaps.retain(|(_, to, _)| *to <= at);
            epoch.rolls.retain(|(end, ..)| *end <= at);
            epoch.in_line = at > epoch.base && epoch.bytes.last() != Some(&b'\n');
        }
        self.epochs
            .retain(|epoch| epoch.bytes.len() > epoch.base || epoch.rolls.is_empty());
    }
}

impl Epoch {
    /// The print of what is held before `end` and behind any gap.
    pub(crate) fn tail(&self) -> Print {
        let end = self.bytes.len();
        let gap = self
            .gaps
            .iter()
            .map(|(_, to, _)| *to)
            .max()
            .unwrap_or(self.base);
        let end = if gap == end {
            self.gaps
                .iter()
                .map(|(from, ..)| *from)
                .max()
                .unwrap_or(end)
        } else {
            end
        };
        let floor = self
            .gaps
            .iter()
            .map(|(_, to, _)| *to)
            .filter(|to| *to <= end)
            .max();
        let start = end
            .saturating_sub(4096)
            .max(floor.unwrap_or(self.base))
            .min(end);
        Print::of(at(end), &self.bytes[start..end])
    }

    pub(crate) fn proof(&self, asked: Range<usize>) -> Proof {
        let below = [(0, self.base)].into_iter().filter(|_| self.base > 0);
        let mut missing = below.chain(self.gaps.iter().map(|(from, to, _)| (*from, *to)));
        match missing.rfind(|(from, to)| *from < asked.end && *to > asked.start) {
            Some((from, to)) => Some(Missing {
                from: at(from),
                to: at(to),
            })
            .into(),
            None => (self.bytes.get(asked)).map_or(None.into(), |bytes| Hash::of(bytes).into()),
        }
    }

    pub(crate) fn head(&self) -> Print {
        let start = match self.gaps.first() {
            Some((from, to, _)) if *from == self.base => *to,
            _ => self.base,
        };
        let stop = self
            .gaps
            .iter()
            .map(|(from, ..)| *from)
            .filter(|from| *from > start)
            .min();
        let end = (start + 4096).min(stop.unwrap_or(self.bytes.len()));
        Print::of(at(end), &self.bytes[start..end])
    }
}

pub(crate) fn at(n: usize) -> Offset {
    Offset::new(n as u64).unwrap()
}
