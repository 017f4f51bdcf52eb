//! Which file is which epoch, and which epoch comes next. Content decides: the inode only says where to look first.
//!
//! Three rules make it safe to know a file by little. At each look a recognised file's head is stored as long as it is
//! by then, before anything is read, so that whatever was sent of a file with a short head is inside that head. A file
//! that is shorter than what was confirmed is not taken as read, but compared with the listener again. And a file that
//! is the beginning of a newer one is a copy in the making, and left alone.

use super::*;

impl Forwarder {
    pub(super) fn extent(&self, epoch: EpochId, source: &Source) -> (Offset, Offset) {
        match self.file(epoch, source) {
            Some(file) => (Offset::ZERO, at(file.bytes.len())),
            None => {
                let end = self
                    .known(epoch)
                    .map_or(Offset::ZERO, |known| known.tail.end);
                (end, end)
            }
        }
    }

    /// The first epoch that has something to send or to say.
    pub(super) fn due(&self, source: &Source) -> Option<usize> {
        (0..self.state.len()).find(|at| self.is_due(*at, source))
    }

    pub(super) fn is_due(&self, at_index: usize, source: &Source) -> bool {
        let known = &self.state[at_index];
        let changed = self
            .file(known.epoch, source)
            .is_some_and(|file| at(file.bytes.len()) != known.tail.end);
        !known.over || changed
    }

    pub(super) fn known(&self, epoch: EpochId) -> Option<&Known> {
        self.state.iter().find(|known| known.epoch == epoch)
    }

    /// The file of an epoch, if its content says so.
    pub(super) fn file<'s>(&self, epoch: EpochId, source: &'s Source) -> Option<&'s File> {
        let known = self.known(epoch)?;
        let live = source.files.first().map(|file| file.ino);
        let is = |file: &&File| self.is(known, file, live == Some(file.ino));
        source.by_ino(known.ino).filter(is)
    }

    fn is(&self, known: &Known, file: &File, live: bool) -> bool {
        if file.broken {
            return known.ino == file.ino;
        }
        // A copy may have been made before the last lines came. The live file is none.
        let short = known.head.starts_with(&file.bytes) && !file.bytes.is_empty();
        let here = known.ino == file.ino;
        let head = file.bytes.starts_with(&known.head) || short && !live;
        // Nobody copies a file into the place of the live one.
        let head = head && (here || !live || known.head.len() >= PROOF);
        let agrees = |print: &Print| {
            let range = print.start().get() as usize..print.end.get() as usize;
            match file.bytes.get(range) {
                Some(bytes) => print.len == 0 || Hash::of(bytes) == print.blake3,
                None => !live || known.head.len() >= PROOF,
            }
        };
        let read = self.read.iter().find(|(epoch, _)| *epoch == known.epoch);
        head && agrees(&known.tail) && read.is_none_or(|(_, print)| agrees(print))
    }

    /// Whether the file begins with more of another epoch than of this one, of which little is known: its copy.
    fn is_another(&self, known: &Known, file: &File) -> bool {
        let more = |other: &Known| other.head.len() > known.head.len();
        let other = |other: &Known| more(other) && file.bytes.starts_with(&other.head);
        known.head.len() < PROOF && !file.broken && self.state.iter().any(other)
    }

    /// Whether a look may find something to send.
    pub(super) fn news(&self, source: &Source) -> bool {
        let Some((epoch, sent)) = self.session.as_ref().and_then(|s| s.sender.position()) else {
            return true;
        };
        self.file(epoch, source)
            .is_none_or(|file| at(file.bytes.len()) > sent)
            || source.files.len() > 1
    }

    /// Which file is which epoch; those that are none get a name, after asking if they may have had one.
    pub(super) fn look(&mut self, world: &mut World<'_>) {
        let (strangers, unread) = self.recognise(world.source);
        if self.asked_file(world.source).is_none() {
            self.unnamed = None;
        }
        if self.unnamed.is_some() {
            return;
        }
        if self.fresh {
            if let Some(ino) = strangers.first() {
                self.ask(*ino, (None, None), world.source);
                return;
            }
            self.fresh = unread;
        }
        for ino in strangers {
            let epoch = EpochId::from_bytes(world.chance.id());
            self.name(epoch, ino, (None, Offset::ZERO), world.source);
        }
        // A file may be back: one that could not be read, one that was put aside.
        let old = self.state.len().saturating_sub(REMEMBERED);
        let mut at = 0;
        self.state.retain(|known| {
            at += 1;
            at > old || !known.over || known.ino != 0
        });
    }

    /// Gives each known epoch its file. The files that are none, the oldest first; whether there are others that can't
    /// be read.
    fn recognise(&mut self, source: &Source) -> (Vec<u64>, bool) {
        let mut free: Vec<usize> = (0..self.state.len()).collect();
        // Of a file and its copy the file is asked first.
        let mut left: Vec<&File> = source.seen().collect();
        // The better the proof, the sooner. What can't be read keeps its name if nothing else has a claim to it.
        let here = |known: &Known, file: &File| known.ino == file.ino;
        let whole =
            |known: &Known, file: &File| !file.broken && file.bytes.len() >= known.head.len();
        // Few bytes may begin another file as well, also one that has the inode now.
        let strong = |known: &Known, file: &File| known.head.len() >= PROOF && whole(known, file);
        let ranks: [Rank<'_>; 6] = [
            &|known, file| here(known, file) && strong(known, file),
            &|known, file| strong(known, file),
            &|known, file| here(known, file) && whole(known, file),
            &|known, file| whole(known, file),
            &|_, file| !file.broken,
            &|known, file| here(known, file),
        ];
        for rank in ranks {
            left.retain(|file| {
                let live = source.files[0].ino == file.ino;
                let is = |at: &usize| {
                    let known = &self.state[*at];
                    rank(known, file) && self.is(known, file, live) && !self.is_another(known, file)
                };
                let Some(found) = free.iter().position(is) else {
                    return true;
                };
                let known = &mut self.state[free.remove(found)];
                if known.ino != file.ino {
                    met("file found by its content");
                    trace(|| format!("  {} is now {file:?}", known.epoch));
                }
                known.ino = file.ino;
                if !file.broken && file.bytes.len() > known.head.len() {
                    known.head = file.head();
                }
                false
            });
        }
        // An epoch without a file has none, also when another one has its inode now.
        for at in free {
            let known = &mut self.state[at];
            known.cut |= known.ino != 0 && source.by_ino(known.ino).is_some();
            known.ino = 0;
        }
        self.order(source);
        let newer = |ino: u64| source.seen().take_while(move |other| other.ino != ino);
        let is_copy = |file: &File| {
            let begins = |whole: &File| !whole.broken && whole.bytes.starts_with(&file.bytes);
            newer(file.ino).any(begins)
        };
        let unread = left.iter().any(|file| file.broken);
        left.retain(|file| !file.broken && !file.bytes.is_empty() && !is_copy(file));
        (left.iter().rev().map(|file| file.ino).collect(), unread)
    }

    /// Puts the epochs that have files into the order of these, the oldest first.
    fn order(&mut self, source: &Source) {
        let age = |known: &Known| source.files.iter().position(|file| file.ino == known.ino);
        let places: Vec<usize> = (0..self.state.len())
            .filter(|at| age(&self.state[*at]).is_some())
            .collect();
        let mut here: Vec<Known> = places.iter().map(|at| self.state[*at].clone()).collect();
        here.sort_by_key(|known| std::cmp::Reverse(age(known)));
        for (at, known) in places.into_iter().zip(here) {
            self.state[at] = known;
        }
    }

    fn name(
        &mut self,
        epoch: EpochId,
        ino: u64,
        (of, base): (Option<EpochId>, Offset),
        source: &Source,
    ) {
        let Some(file) = source.by_ino(ino) else {
            return;
        };
        trace(|| format!("  {epoch} is {file:?}, from {base}, of {of:?}; of {source:?}"));
        self.state.push(Known {
            epoch,
            ino,
            head: file.head(),
            tail: print(file, base),
            of,
            base,
            acked: Vec::new(),
            over: false,
            cut: false,
        });
        // Files are older than those that were there when they were rotated.
        let age = |ino| source.files.iter().position(|file| file.ino == ino);
        let newer = |known: &Known| {
            let file = self.file(known.epoch, source);
            file.is_some_and(|file| age(file.ino) < age(ino))
        };
        if let Some(at) = self.state.iter().position(newer)
            && let Some(known) = self.state.pop()
        {
            self.state.insert(at, known);
        }
    }

    pub(super) fn adopt(&mut self, found: Adopted, world: &mut World<'_>) {
        let Some(ino) = self.asked_file(world.source).map(|file| file.ino) else {
            self.unnamed = None;
            return;
        };
        let Some(mut unnamed) = self.unnamed.take() else {
            return;
        };
        let epoch = match found {
            Adopted::Epoch(epoch) => Some(epoch),
            Adopted::Branch { of, base } => {
                if unnamed.weak.is_none_or(|(_, known)| base > known) {
                    unnamed.weak = Some((of, base));
                }
                None
            }
            Adopted::Unknown => None,
        };
        let proved =
            epoch.and_then(|epoch| self.state.iter().position(|known| known.epoch == epoch));
        if let Some(known) = proved.map(|at| &mut self.state[at])
            && (known.tail.end == known.base || known.ino == 0)
            && !self.stolen.contains(&known.epoch)
            && let Some(file) = world.source.by_ino(ino)
        {
            // We knew the epoch by a short head only, and another file looked the same; or this is what is left of it.
            self.stolen.push(known.epoch);
            known.head = file.head();
            known.tail = Print::of(known.base, b"");
            (known.ino, known.over) = (ino, false);
            return;
        }
        let epoch = epoch.filter(|epoch| self.known(*epoch).is_none());
        unnamed.asked += 1;
        match (epoch, unnamed.weak) {
            (Some(epoch), _) => {
                met("epoch adopted");
                self.state.retain(|known| unnamed.not != Some(known.epoch));
                self.name(epoch, ino, (None, Offset::ZERO), world.source);
            }
            (None, _) if unnamed.asked < world.up.len() => self.unnamed = Some(unnamed),
            (None, weak) => {
                met(if weak.is_some() {
                    "branch of what proves too little"
                } else {
                    "unknown to all masters"
                });
                self.state.retain(|known| unnamed.not != Some(known.epoch));
                let epoch = EpochId::from_bytes(world.chance.id());
                let start = weak.map_or((None, Offset::ZERO), |(of, base)| (Some(of), base));
                self.name(epoch, ino, start, world.source);
            }
        }
    }

    /// The file is no longer this epoch. Whether it is one that branched off before, and was forgotten with an older
    /// state, has to be asked first.
    pub(super) fn branch(
        &mut self,
        epoch: EpochId,
        of: Option<EpochId>,
        base: Offset,
        (source, chance): (&Source, &mut Chance),
    ) {
        let Some(ino) = self.known(epoch).map(|known| known.ino) else {
            return;
        };
        if self.bug == Some(Bug::UnaskedBranch) {
            self.state.retain(|known| known.epoch != epoch);
            return self.name(EpochId::from_bytes(chance.id()), ino, (of, base), source);
        }
        self.ask(ino, (Some(epoch), of.map(|of| (of, base))), source);
    }

    fn ask(
        &mut self,
        ino: u64,
        (not, weak): (Option<EpochId>, Option<(EpochId, Offset)>),
        source: &Source,
    ) {
        if let Some(file) = source.by_ino(ino) {
            self.unnamed = Some(Unnamed {
                ino,
                bytes: file.bytes.clone(),
                not,
                asked: 0,
                common: weak.map_or(Offset::ZERO, |(_, base)| base),
                weak,
            });
        }
    }

    /// The file whose name is being asked for, as long as it is the one.
    pub(super) fn asked_file<'s>(&self, source: &'s Source) -> Option<&'s File> {
        let unnamed = self.unnamed.as_ref()?;
        let file = match unnamed.not {
            Some(epoch) => self.file(epoch, source)?,
            None => source.by_ino(unnamed.ino)?,
        };
        file.bytes.starts_with(&unnamed.bytes).then_some(file)
    }

    pub(super) fn confirm(
        &mut self,
        archive: crate::ArchiveId,
        epoch: EpochId,
        offset: Offset,
        source: &Source,
    ) {
        let tail = match self.file(epoch, source) {
            Some(file) if !file.broken && at(file.bytes.len()) >= offset => print(file, offset),
            _ => Print::of(offset, b""),
        };
        let end = self
            .rolled
            .iter()
            .rfind(|(rolled, _)| *rolled == epoch)
            .map(|(_, end)| *end);
        let Some(known) = self.state.iter_mut().find(|known| known.epoch == epoch) else {
            return;
        };
        if offset > known.tail.end {
            known.tail = tail;
        }
        known.over |= end.is_some_and(|end| offset >= end);
        match known
            .acked
            .iter_mut()
            .find(|acked| acked.archive == archive)
        {
            Some(acked) => acked.offset = acked.offset.max(offset),
            None => known.acked.push(Acked { archive, offset }),
        }
    }
}

/// Whether a file is proved well enough to be an epoch's.
type Rank<'a> = &'a dyn Fn(&Known, &File) -> bool;

/// Epochs that are over and have no file are known for a while.
const REMEMBERED: usize = 12;
