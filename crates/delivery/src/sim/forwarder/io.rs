//! What a forwarder reads from its files and puts on the wire.

use super::*;
use crate::{Run, runs};

impl Forwarder {
    /// What comes next of an epoch.
    pub(super) fn step(
        &mut self,
        epoch: EpochId,
        from: usize,
        (max, max_line): (u64, u32),
        world: &mut World<'_>,
    ) -> Step {
        self.look(world);
        if self.unnamed.is_some() {
            return Step::Elsewhere;
        }
        let here = self.state.iter().position(|known| known.epoch == epoch);
        let Some(here) = here else {
            return Step::Elsewhere;
        };
        let earlier =
            |at: usize| self.is_due(at, world.source) && !self.is_rolled(at, world.source);
        if (0..here).any(earlier) {
            return Step::Elsewhere;
        }
        let next = self.state.get(here + 1).map(|known| known.epoch);
        let Some(file) = self.file(epoch, world.source) else {
            let cause = if self.state[here].cut {
                RollCause::Truncated
            } else {
                RollCause::Gone
            };
            return self.roll(epoch, next, from, cause, world.source);
        };
        if file.broken {
            return Step::Idle;
        }
        if file.bytes.len() < from {
            met("file shorter than what was sent");
            return Step::Elsewhere;
        }
        let rest = &file.bytes[from..];
        let live = world
            .source
            .files
            .first()
            .is_some_and(|live| live.ino == file.ino);
        let line = rest.iter().position(|b| *b == b'\n');
        let whole = rest[..rest.len().min(max as usize)]
            .iter()
            .rposition(|b| *b == b'\n');
        let in_line = from > 0 && file.bytes[from - 1] != b'\n';
        let cap = self.lag_caps && !in_line && world.chance.one_in(30);
        let (len, piece) = match (line, whole) {
            (Some(line), _) if cap => {
                met("gap");
                let (to, cause) = (at(from + line + 1), GapCause::LagCap);
                return Step::Gap { to, cause };
            }
            (line, _) if line.unwrap_or(rest.len()) > max_line as usize => {
                (max_line as usize, true)
            }
            (_, Some(whole)) => (self.no_longer(rest, whole + 1, max_line), false),
            (Some(line), None) => (line + 1, false),
            (None, _) if !live && next.is_some() && !rest.is_empty() => (rest.len(), true),
            (None, _) if !live && next.is_some() => {
                return self.roll(epoch, next, from, RollCause::Rotated, world.source);
            }
            _ => return Step::Idle,
        };
        let to = from + len;
        let read = print(file, at(to));
        self.batch = Batch {
            bytes: rest[..len].to_vec(),
            piece,
        };
        let ino = file.ino;
        if let Some(file) = world.source.by_ino_mut(ino) {
            file.synced = file.synced.max(to);
        }
        self.read.retain(|(known, _)| *known != epoch);
        self.read.push((epoch, read));
        let to = at(to);
        if piece {
            Step::Piece { to }
        } else {
            Step::Lines { to }
        }
    }

    /// Of whole lines, those before one that has to go in pieces.
    fn no_longer(&self, rest: &[u8], whole: usize, max_line: u32) -> usize {
        let mut end = 0;
        for line in rest[..whole].split_inclusive(|b| *b == b'\n') {
            if line.len() > max_line as usize + 1 {
                break;
            }
            end += line.len();
        }
        end
    }

    /// Whether an earlier epoch was already told to its end on this connection, and only waits for its ack.
    fn is_rolled(&self, at_index: usize, source: &Source) -> bool {
        let epoch = self.state[at_index].epoch;
        let end = self.rolled.iter().rfind(|(rolled, _)| *rolled == epoch);
        let file = self.file(epoch, source);
        end.is_some_and(|(_, end)| file.is_none_or(|file| at(file.bytes.len()) == *end))
    }

    fn roll(
        &mut self,
        epoch: EpochId,
        next: Option<EpochId>,
        from: usize,
        cause: RollCause,
        source: &Source,
    ) -> Step {
        let Some(next) = next else {
            return Step::Idle;
        };
        met(match cause {
            RollCause::Rotated => "roll: rotated",
            RollCause::Truncated => "roll: truncated",
            RollCause::Gone => "roll: gone",
        });
        self.rolled.push((epoch, at(from)));
        let (from, size) = self.extent(next, source);
        let known = self.known(next);
        Step::Roll {
            next,
            from,
            size,
            of: known.and_then(|known| known.of),
            base: known.map(|known| known.base),
            cause,
            lost: None,
        }
    }
}

impl Session {
    pub(super) fn listen(&mut self, world: &mut World<'_>) {
        let some = 1 + world.chance.below(400);
        let ended = world
            .net
            .read(self.link, End::Forwarder, some, &mut self.buf);
        let decoder = Decoder::new(64 << 10).with_controls();
        let mut done = 0;
        while let Ok(Some((frame, used))) = decoder.decode(&self.buf[done..]) {
            match frame {
                Frame::Control(json) => self.sender.handle_control(json, world.now),
                Frame::Message(_) => self.sender.handle_garbage(),
            }
            done += used;
        }
        self.buf.drain(..done);
        if ended {
            self.sender.handle_closed();
        }
    }

    /// The epoch that this connection is about, as far as the forwarder knows.
    pub(super) fn sender_epoch(&self, forwarder: &Forwarder) -> Option<EpochId> {
        self.sender
            .epoch()
            .filter(|epoch| forwarder.known(*epoch).is_some())
    }
}

impl World<'_> {
    pub(super) fn control(&mut self, link: u64, control: &Control) {
        let json = control.encode().expect("short");
        let mut wire = Vec::new();
        framing::encode_control(&json, &mut wire);
        self.net.write(link, End::Forwarder, &wire);
    }

    pub(super) fn data(&mut self, link: u64, batch: &Batch) {
        let mut wire = Vec::new();
        if batch.piece {
            framing::encode(&batch.bytes, &mut wire);
            return self.net.write(link, End::Forwarder, &wire);
        }
        for run in runs(&batch.bytes) {
            match run {
                Run::Lines(range) => {
                    framing::encode_lines(&batch.bytes[range], &mut wire);
                }
                Run::Blank(count) => {
                    let json = Control::Blank { count }.encode().expect("short");
                    framing::encode_control(&json, &mut wire);
                }
            }
        }
        self.net.write(link, End::Forwarder, &wire);
    }
}
