//! From the inbox and the archive into the batch: which bytes come next, and what is made of them.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use archive::{Chunk, Form, ReadError, Reader, StreamKey};
use framing::Decoder;
use memchr::memchr;
use rfc5424::Timestamp;

use crate::merge::feed::{Mail, News, Piece, Source};
use crate::merge::ledger;
use crate::merge::lines::{self, Files, Written};
use crate::merge::merger::{BATCH_BYTES, Merger, Outputs, REOPEN, now};
use crate::merge::stream::{Next, Stream};
use crate::merge::text::{LONG, Text};

/// Lines that go into the files together.
#[derive(Debug)]
pub(super) struct Batch {
    log: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
    lines: u64,
    records: u64,
    invalid: u64,
    /// Some epoch's place moved.
    moved: bool,
}

/// A reader, and what it reads.
pub(super) struct Back {
    source: Arc<Source>,
    reader: Reader,
}

impl Batch {
    pub(super) fn new(outputs: &Outputs) -> Batch {
        Batch {
            log: outputs.log.is_some().then(Vec::new),
            json: outputs.json.is_some().then(Vec::new),
            lines: 0,
            records: 0,
            invalid: 0,
            moved: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.moved && self.len() == 0
    }

    /// Octets of the longer one.
    fn len(&self) -> usize {
        let files = [&self.log, &self.json];
        files.into_iter().flatten().map(Vec::len).max().unwrap_or(0)
    }

    fn files(&mut self) -> Files<'_> {
        Files {
            log: self.log.as_mut(),
            json: self.json.as_mut(),
        }
    }

    /// Counts what was written into it.
    fn add(&mut self, written: Written) {
        self.lines += written.lines;
        self.records += written.records;
        self.invalid += written.invalid;
        self.moved = true;
    }

    /// What goes to the appender.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.moved = false;
        let files = [&mut self.log, &mut self.json];
        files.into_iter().flatten().map(std::mem::take).collect()
    }

    /// Takes the empty buffers back; gives the numbers of lines and records that were in them, and of frames that are no
    /// syslog message.
    pub(super) fn give_back(&mut self, parts: Vec<Vec<u8>>) -> (u64, u64, u64) {
        let files = [&mut self.log, &mut self.json];
        for (file, mut buffer) in files.into_iter().flatten().zip(parts) {
            buffer.shrink_to(2 * BATCH_BYTES);
            *file = buffer;
        }
        (
            std::mem::take(&mut self.lines),
            std::mem::take(&mut self.records),
            std::mem::take(&mut self.invalid),
        )
    }
}

impl Merger {
    /// Renders what comes next into the batch; `false` when everything is merged.
    pub(super) fn gather(&mut self) -> bool {
        if self.parked.is_some_and(|since| since.elapsed() >= REOPEN) {
            self.parked = None;
            self.streams.values_mut().for_each(|it| it.park(false));
        }
        while self.batch.len() < BATCH_BYTES {
            if let Some(piece) = self.hear() {
                let key = piece.source.key.clone();
                if !self.stream(&key).is_parked() {
                    let rendered = self.piece(piece);
                    self.park(&key, rendered);
                }
                continue;
            }
            // The one that is furthest behind first, and in turns with it those of which it is not known how far, so
            // that none starves.
            self.turn = !self.turn;
            let behind = self.streams.iter().filter_map(|(key, stream)| {
                let next = stream.next();
                let is_unknown = self.turn && stream.is_over(next);
                (next != Next::Nothing).then(|| (is_unknown, stream.lag(), key))
            });
            let Some((.., key)) = behind.max_by_key(|(is_unknown, lag, _)| (*is_unknown, *lag))
            else {
                break;
            };
            let key = key.clone();
            let next = self.stream(&key).next();
            let stepped = self.step(&key, next);
            self.park(&key, stepped);
        }
        !self.batch.is_empty()
    }

    /// Lets a stream wait that can't be read; the others go on. Its pieces are read from the archive later.
    fn park(&mut self, key: &StreamKey, result: anyhow::Result<()>) {
        let Err(error) = result else { return };
        self.metrics.merged_failures.inc();
        tracing::error!(stream = %key, error = format!("{error:#}"), "stream can't be merged, it waits");
        self.stream(key).park(true);
        self.parked.get_or_insert_with(Instant::now);
    }

    /// Takes down what is new, and gives the next piece.
    fn hear(&mut self) -> Option<Piece> {
        let Mail { news, piece } = self.inbox.take();
        self.told(&news);
        piece
    }

    pub(super) fn told(&mut self, news: &[News]) {
        for news in news {
            if news.stood.is_some() {
                // The segment that is open for reading may be the one that is gone, and another have its name.
                self.back = None;
            }
            self.stream(&news.source.key).told(news);
        }
    }

    pub(super) fn stream(&mut self, key: &StreamKey) -> &mut Stream {
        self.streams
            .entry(key.clone())
            .or_insert_with(|| Stream::new(key.clone(), crate::merge::places::Stored::default()))
    }

    fn step(&mut self, key: &StreamKey, next: Next) -> anyhow::Result<()> {
        match next {
            Next::Nothing => Ok(()),
            Next::Ledger => {
                let from = self.stream(key).ledger();
                let page = ledger::read(&self.data, key, from)
                    .with_context(|| format!("read the ledger of {key}"))?;
                self.stream(key).take(page);
                Ok(())
            }
            Next::Epoch(at) => self.read_archive(key, at),
        }
    }

    /// Renders a piece, if it is what comes next of its stream; else it waits for that.
    fn piece(&mut self, piece: Piece) -> anyhow::Result<()> {
        let key = &piece.source.key;
        let stream = self.stream(key);
        let Some(at) = stream.find(&piece.source) else {
            // Sealed and merged from the archive.
            return Ok(());
        };
        let before = stream.next_below(at);
        if before != Next::Nothing {
            let key = key.clone();
            self.inbox.put_back(piece);
            return self.step(&key, before);
        }
        let epoch = stream.epoch(at);
        let (place, seen) = (epoch.place, epoch.seen);
        if piece.to() <= seen {
            return Ok(());
        }
        let known = usize::try_from(seen.saturating_sub(piece.from)).unwrap_or(usize::MAX);
        let is_next = piece.from <= seen;
        if is_next && place.at == seen {
            let bytes = &piece.bytes[known..];
            self.render(&piece.source, at, bytes, false, piece.at);
            return Ok(());
        }
        let unfinished = piece.to() - place.at <= LONG as u64;
        if is_next && unfinished && memchr(b'\n', &piece.bytes[known..]).is_none() {
            // More of a line that is not complete yet.
            epoch.seen = piece.to();
            return Ok(());
        }
        // What comes before it is in the archive only.
        let key = key.clone();
        self.inbox.put_back(piece);
        self.read_archive(&key, at)
    }

    /// Renders what comes next of an epoch from the archive.
    fn read_archive(&mut self, key: &StreamKey, at: usize) -> anyhow::Result<()> {
        let epoch = self.stream(key).epoch(at);
        let source = Arc::clone(&epoch.source);
        let (from, end, is_ended) = (epoch.place.at, epoch.end(), epoch.is_ended());
        let opened = match self.back.take() {
            Some(mut back) if back.source == source => {
                back.reader.seek(from);
                Ok(back)
            }
            _ => Reader::open(&self.data, key, source.epoch, source.form, from).map(|reader| {
                let source = Arc::clone(&source);
                Back { source, reader }
            }),
        };
        let mut back = match opened {
            Ok(back) => back,
            // No segment of it was written yet, or all were removed.
            Err(ReadError::Io(e)) if e.kind() == std::io::ErrorKind::NotFound => {
                return self.missing(key, at, from, None);
            }
            Err(e) => return Err(e).with_context(|| format!("read {key} back")),
        };
        let mut bytes = Vec::new();
        let stopped = match source.form {
            Form::Frames => read_frames(&mut back.reader, end, &mut bytes),
            Form::Log => read_lines(&mut back.reader, end, &mut bytes),
        }
        .with_context(|| format!("read {key} back"))?;
        let read = from + bytes.len() as u64;
        let is_ended = match stopped {
            Stopped::Enough => false,
            Stopped::End => is_ended,
            Stopped::Gap(_) | Stopped::Missing => true,
        };
        let taken = self.render(&source, at, &bytes, is_ended, now());
        match stopped {
            Stopped::Gap(to) => self.skip(key, at, to),
            Stopped::Missing => self.missing(key, at, read, Some(&mut back.reader))?,
            Stopped::Enough | Stopped::End if source.form == Form::Frames && taken == 0 => {
                tracing::error!(stream = %key, offset = from, to = end, "archived bytes are no frames, not merged");
                self.skip(key, at, end);
            }
            Stopped::Enough | Stopped::End => {}
        }
        self.back = Some(back);
        Ok(())
    }

    /// Renders bytes that begin at an epoch's place, and moves it; gives how many octets were taken.
    fn render(
        &mut self,
        source: &Source,
        at: usize,
        bytes: &[u8],
        ended: bool,
        time: Timestamp,
    ) -> usize {
        let epoch = self
            .streams
            .get_mut(&source.key)
            .expect("the caller has it from there")
            .epoch(at);
        let place = epoch.place;
        let written = match source.form {
            Form::Frames => lines::write(bytes, place.at, source, time, &mut self.batch.files()),
            Form::Log => {
                let text = Text {
                    bytes,
                    from: place.at,
                    line: place.line,
                    ended,
                    long: LONG,
                };
                text.write(source, time, &mut self.batch.files())
            }
        };
        if written.taken > 0 {
            self.batch.add(written);
        }
        epoch.advance(place.at + written.taken as u64, written.line);
        if source.form == Form::Log {
            epoch.seen = epoch.seen.max(place.at + bytes.len() as u64);
        }
        written.taken
    }

    /// Passes over what the archive does not hold.
    fn skip(&mut self, key: &StreamKey, at: usize, to: u64) {
        self.stream(key).epoch(at).advance(to, None);
        self.batch.moved = true;
    }

    /// Passes over what no segment holds from an offset on: the end of an epoch that is over, or a gap at the end of one
    /// that is not.
    fn missing(
        &mut self,
        key: &StreamKey,
        at: usize,
        from: u64,
        reader: Option<&mut Reader>,
    ) -> anyhow::Result<()> {
        let stream = self.stream(key);
        if stream.epoch(at).is_over() {
            stream.epoch(at).finish();
            self.batch.moved = true;
            return Ok(());
        }
        if !stream.is_whole() {
            // It may tell of the gap.
            return self.step(key, Next::Ledger);
        }
        let epoch = stream.epoch(at);
        let end = epoch.end();
        let gap = match epoch.gap_behind(from) {
            Some(gap) => Some(gap),
            // A start may have come between what was taken of the ledger and this.
            None => told_gap(reader, end).with_context(|| format!("read {key} back"))?,
        };
        if gap.is_none() {
            tracing::error!(stream = %key, offset = from, to = end, "archived bytes are gone, not merged");
        }
        self.skip(key, at, gap.map_or(end, |gap| gap.min(end)));
        Ok(())
    }
}

/// Why no more was read.
#[derive(Debug, Clone, Copy)]
enum Stopped {
    /// There is something to render.
    Enough,
    /// The committed end.
    End,
    /// A gap behind what was read, up to this offset.
    Gap(u64),
    /// What comes next is not there: a gap at the end, which the stream's ledger tells of, or lost.
    Missing,
}

/// Where the gap ends at which a reader is, by the whole ledger.
fn told_gap(reader: Option<&mut Reader>, end: u64) -> Result<Option<u64>, ReadError> {
    match reader.map(|reader| reader.read(end, 1, &mut Vec::new())) {
        Some(Ok(Chunk::Gap(to))) => Ok(Some(to)),
        Some(Err(ReadError::Io(e))) => Err(e.into()),
        _ => Ok(None),
    }
}

/// Reads at least one whole frame, if there is one.
fn read_frames(reader: &mut Reader, end: u64, bytes: &mut Vec<u8>) -> Result<Stopped, ReadError> {
    let mut want = READ_BYTES;
    loop {
        match reader.read_held(end, want, bytes) {
            Ok(Chunk::Bytes(_)) => {}
            Ok(Chunk::Gap(to)) => return Ok(Stopped::Gap(to)),
            Ok(Chunk::End) => return Ok(Stopped::End),
            Err(ReadError::Missing(_)) => return Ok(Stopped::Missing),
            Err(e) => return Err(e),
        }
        let batch = Decoder::new(archive::MAX_FRAME).whole(bytes);
        if !matches!(batch, Ok(batch) if batch.frames == 0) {
            return Ok(Stopped::Enough);
        }
        // A frame larger than was read: the rest of it.
        want = (want * 2).min(archive::MAX_FRAME as usize * 2);
    }
}

/// Reads at least one whole line, or one that is too long to wait for, if there is one.
fn read_lines(reader: &mut Reader, end: u64, bytes: &mut Vec<u8>) -> Result<Stopped, ReadError> {
    loop {
        let start = bytes.len();
        match reader.read_held(end, READ_BYTES, bytes) {
            Ok(Chunk::Bytes(_)) => {}
            Ok(Chunk::Gap(to)) => return Ok(Stopped::Gap(to)),
            Ok(Chunk::End) => return Ok(Stopped::End),
            Err(ReadError::Missing(_)) => return Ok(Stopped::Missing),
            Err(e) => return Err(e),
        }
        if memchr(b'\n', &bytes[start..]).is_some() || bytes.len() > LONG {
            return Ok(Stopped::Enough);
        }
    }
}

/// How much is read from the archive at a time.
const READ_BYTES: usize = 256 << 10;
