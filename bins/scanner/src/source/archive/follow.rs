//! One epoch, from its place on.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use archive::{EpochId, EpochView, Form, ReadError, Reader, StreamKey};
use tracing::warn;

use crate::config::MAX_LINE;
use crate::source::cut::{self, Cut, Frames};
use crate::source::{CHUNK, Chunk, Met};
use crate::store::{Place, PlaceKey};

use super::readers::Readers;

/// An epoch that is followed.
#[derive(Debug)]
pub(super) struct Follow {
    epoch: EpochId,
    ordinal: i64,
    /// What the index says of it; none: not asked yet.
    known: Option<Known>,
    offset: u64,
    within: bool,
    /// Below this end there is no whole line.
    tried: Option<u64>,
    /// When its end was seen to move.
    moved: Instant,
    /// It has no end and nobody writes to it: what is there is a line.
    rested: bool,
    /// Times in a row that octets were not found.
    misses: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    form: Form,
    end: u64,
    sealed: bool,
    rolled: bool,
}

/// What was taken of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// There is nothing now.
    Nothing,
    /// Some of it, perhaps without a line.
    Part,
    /// The last of it: nothing will ever follow.
    Last,
}

/// What reading came to.
enum Filled {
    /// As much as was wanted.
    Enough,
    /// Up to the committed end.
    End,
    /// Up to a gap, which ends here.
    Gap(u64),
    /// What should be there is not, up to the end.
    Gone,
}

impl Follow {
    /// A new epoch, from its beginning or, at a first start, from its end.
    pub(super) fn new(data: &Path, key: &StreamKey, found: EpochView, at_end: bool) -> Self {
        let mut follow = Self {
            epoch: found.epoch,
            ordinal: found.ordinal,
            known: None,
            offset: found.base,
            within: false,
            tried: None,
            moved: Instant::now(),
            rested: false,
            misses: 0,
        };
        if at_end {
            follow.offset = found.end;
            follow.within = found.form == Form::Log && is_within(data, key, &found);
        }
        follow.seen(found);
        follow
    }

    /// One whose place was stored.
    pub(super) fn stored(key: &PlaceKey, place: Place) -> Option<(StreamKey, Self)> {
        let stream = StreamKey::new(&key.worker, &key.stream).ok()?;
        let follow = Self {
            epoch: EpochId::parse(&key.epoch).ok()?,
            ordinal: place.ordinal,
            known: None,
            offset: place.offset,
            within: place.within,
            tried: None,
            moved: Instant::now(),
            rested: false,
            misses: 0,
        };
        Some((stream, follow))
    }

    pub(super) fn is(&self, epoch: EpochId) -> bool {
        self.epoch == epoch
    }

    pub(super) fn epoch(&self) -> EpochId {
        self.epoch
    }

    pub(super) fn ordinal(&self) -> i64 {
        self.ordinal
    }

    pub(super) fn lag(&self) -> u64 {
        self.known
            .map_or(0, |known| known.end.saturating_sub(self.offset))
    }

    pub(super) fn key(&self, key: &StreamKey) -> PlaceKey {
        PlaceKey {
            worker: key.worker().to_owned(),
            stream: key.stream().to_owned(),
            epoch: self.epoch.to_string(),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place {
            ordinal: self.ordinal,
            offset: self.offset,
            within: self.within,
        }
    }

    /// Takes in what the index says; whether there may be something to read.
    pub(super) fn seen(&mut self, found: EpochView) -> bool {
        let known = Known {
            form: found.form,
            end: found.end,
            sealed: found.sealed,
            rolled: found.rolled,
        };
        if self.known.is_none_or(|before| before.end != known.end) {
            self.moved = Instant::now();
            self.rested = false;
        }
        self.ordinal = found.ordinal;
        self.known = Some(known);
        self.has_work()
    }

    /// Whether there may be something to read.
    pub(super) fn has_work(&self) -> bool {
        self.known.is_some_and(|known| {
            let new = self.offset < known.end && self.tried != Some(known.end);
            new || known.sealed || (self.rested && self.offset < known.end)
        })
    }

    /// Whether an unended line has waited long enough; tells it once.
    pub(super) fn rests(&mut self, now: Instant) -> bool {
        let due = self.known.is_some_and(|known| {
            known.rolled && known.form == Form::Log && self.tried == Some(known.end)
        });
        let due = due && now.saturating_duration_since(self.moved) >= UNENDED;
        due && !std::mem::replace(&mut self.rested, true)
    }

    /// Takes the next part.
    pub(super) fn take(
        &mut self,
        data: &Path,
        key: &StreamKey,
        readers: &mut Readers,
        chunk: &mut Chunk,
        met: &mut Met,
    ) -> anyhow::Result<Took> {
        let Some(known) = self.known else {
            return Ok(Took::Nothing);
        };
        chunk.octets.clear();
        chunk.lines.clear();
        if self.offset >= known.end {
            return Ok(if known.sealed {
                Took::Last
            } else {
                Took::Nothing
            });
        }
        let mut want = CHUNK;
        loop {
            let filled = self
                .fill(data, key, known, readers, &mut chunk.octets, want, met)
                .with_context(|| format!("read {key}/{} at {}", self.epoch, self.offset))?;
            self.label(key, chunk);
            let done = match known.form {
                Form::Log => self.cut_lines(chunk, &filled, known, met),
                Form::Frames => self.cut_frames(chunk, &filled, known, met),
            };
            match done {
                Some(took) => return Ok(took),
                // No end within that much.
                None => want = MOST,
            }
        }
    }

    /// Finds whole lines; none: more is needed.
    fn cut_lines(
        &mut self,
        chunk: &mut Chunk,
        filled: &Filled,
        known: Known,
        met: &mut Met,
    ) -> Option<Took> {
        let limit = usize::try_from(MAX_LINE).unwrap_or(usize::MAX);
        match cut::lines(&chunk.octets, self.within, limit, &mut chunk.lines) {
            Cut::Done {
                octets,
                within,
                oversized,
            } => {
                met.oversized += u64::from(oversized);
                self.advance(octets as u64, within);
                Some(Took::Part)
            }
            Cut::More => match filled {
                Filled::Enough => None,
                Filled::Gap(to) => {
                    met.gaps += 1;
                    self.unended(chunk);
                    self.jump(*to);
                    Some(Took::Part)
                }
                Filled::Gone => {
                    self.unended(chunk);
                    self.gone(known, met);
                    Some(Took::Part)
                }
                Filled::End if known.sealed || self.rested => {
                    let len = chunk.octets.len() as u64;
                    self.unended(chunk);
                    // What still comes is the rest of this line.
                    self.advance(len, true);
                    Some(Took::Part)
                }
                Filled::End => {
                    self.tried = Some(known.end);
                    Some(Took::Nothing)
                }
            },
        }
    }

    /// Finds whole frames; none: more is needed.
    fn cut_frames(
        &mut self,
        chunk: &mut Chunk,
        filled: &Filled,
        known: Known,
        met: &mut Met,
    ) -> Option<Took> {
        let limit = usize::try_from(MAX_LINE).unwrap_or(usize::MAX);
        match cut::frames(&chunk.octets, limit, &mut chunk.lines) {
            Frames::Done(octets) => self.advance(octets as u64, false),
            Frames::Bad(octets) => {
                met.bad_frames += 1;
                warn!(offset = self.offset + octets as u64, epoch = %self.epoch, "no frame: the rest of the epoch is passed over");
                self.jump(known.end);
            }
            Frames::More => match filled {
                Filled::Enough if chunk.octets.len() < MOST => return None,
                Filled::Enough => {
                    // Longer than is kept, and whole, because only whole ones are committed.
                    let (start, len) = cut::header(&chunk.octets);
                    chunk.lines.push(start..start + limit.min(len));
                    met.oversized += 1;
                    self.advance((start + len) as u64, false);
                }
                Filled::Gap(to) => {
                    met.gaps += 1;
                    self.jump(*to);
                }
                Filled::Gone => self.gone(known, met),
                Filled::End if known.sealed => self.jump(known.end),
                Filled::End => {
                    self.tried = Some(known.end);
                    return Some(Took::Nothing);
                }
            },
        }
        Some(Took::Part)
    }

    /// What is there is a line, as it is.
    fn unended(&mut self, chunk: &mut Chunk) {
        if !chunk.octets.is_empty() && !self.within {
            chunk.lines.push(0..chunk.octets.len());
        }
    }

    fn advance(&mut self, octets: u64, within: bool) {
        self.offset += octets;
        self.within = within;
        self.tried = None;
        self.rested = false;
        self.misses = 0;
    }

    fn jump(&mut self, to: u64) {
        self.advance(to.saturating_sub(self.offset), false);
    }

    fn gone(&mut self, known: Known, met: &mut Met) {
        met.gaps += 1;
        met.missed_bytes += known.end - self.offset;
        warn!(epoch = %self.epoch, offset = self.offset, bytes = known.end - self.offset, "removed from the archive before it was scanned");
        self.jump(known.end);
    }

    /// Reads up to `want` octets from the place on, over leading gaps.
    #[expect(clippy::too_many_arguments, reason = "what reading needs, once")]
    fn fill(
        &mut self,
        data: &Path,
        key: &StreamKey,
        known: Known,
        readers: &mut Readers,
        octets: &mut Vec<u8>,
        want: usize,
        met: &mut Met,
    ) -> Result<Filled, ReadError> {
        octets.clear();
        let name = self.key(key);
        loop {
            let at = self.offset + octets.len() as u64;
            let reader = readers.of(&name, || {
                Reader::open(data, key, self.epoch, known.form, at)
            });
            let read = reader.and_then(|reader| {
                if reader.position() != at {
                    reader.seek(at);
                }
                reader.read(known.end, want - octets.len(), octets)
            });
            match read {
                Ok(archive::Chunk::Bytes(_)) if octets.len() >= want => return Ok(Filled::Enough),
                Ok(archive::Chunk::Bytes(_)) => {}
                Ok(archive::Chunk::End) => return Ok(Filled::End),
                Ok(archive::Chunk::Gap(to)) if octets.is_empty() => {
                    if to >= known.end {
                        return Ok(Filled::Gap(to));
                    }
                    met.gaps += 1;
                    self.jump(to);
                }
                Ok(archive::Chunk::Gap(to)) => return Ok(Filled::Gap(to)),
                Err(error) if is_gone(&error) => {
                    readers.forget(&name);
                    // Compression puts another file into the place of one that is being opened.
                    self.misses += 1;
                    if self.misses > MISSES {
                        return Ok(Filled::Gone);
                    }
                }
                Err(error) => {
                    readers.forget(&name);
                    return Err(error);
                }
            }
        }
    }

    fn label(&self, key: &StreamKey, chunk: &mut Chunk) {
        chunk.from = self.offset;
        let epoch = self.epoch.to_string();
        let whence = &mut chunk.whence;
        let other = *whence.worker != *key.worker() || *whence.stream != *key.stream();
        if other || *whence.epoch != *epoch {
            whence.worker = key.worker().into();
            whence.stream = key.stream().into();
            whence.epoch = epoch.into();
        }
    }
}

fn is_gone(error: &ReadError) -> bool {
    match error {
        ReadError::Missing(_) => true,
        ReadError::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Whether the committed end is inside of a line, whose beginning a first start does not see.
fn is_within(data: &Path, key: &StreamKey, found: &EpochView) -> bool {
    let mut last = Vec::new();
    let before = found.end.saturating_sub(1).max(found.base);
    let read = Reader::open(data, key, found.epoch, found.form, before)
        .and_then(|mut reader| reader.read(found.end, 1, &mut last));
    read.is_ok() && last.last().is_some_and(|octet| *octet != b'\n')
}

/// How often octets that are committed are looked for before they count as gone.
const MISSES: u32 = 5;

/// The most that is read at once: a line of the longest that is kept, and an octet by which it is seen to be longer.
const MOST: usize = MAX_LINE as usize + CHUNK;

/// How long an epoch that another one followed may leave its last line without an end.
const UNENDED: Duration = Duration::from_secs(5);
