//! A log stream being read: the answer, its decoder, and the sieve before what is new.

use std::time::Duration;

use bytes::Bytes;
use docker_demux::{Frames, Lines, Options, Stream, Tty};
use tokio::time::timeout_at;

use super::{ApiError, http::Answer, sieve::Sieve};

/// How long a batch waits for more: dockerd writes line by line, and a batch for each line would cost more than it.
const LINGER: Duration = Duration::from_millis(5);

/// Octets of a batch.
const BATCH: usize = 256 << 10;

/// A log stream being decoded.
pub(super) struct Reading {
    pub(super) answer: Answer,
    pub(super) decoder: Decoder,
    pub(super) sieve: Sieve,
    oversized: u64,
}

pub(super) enum Decoder {
    Frames(Box<Frames>),
    Tty(Box<Tty>),
}

/// What was taken from a stream at once.
pub(super) struct Octets {
    pub(super) octets: u64,
    pub(super) over: bool,
}

impl Reading {
    /// Begins to decode an answer.
    pub(super) fn new(answer: Answer, options: Options, sieve: Sieve) -> Self {
        let decoder = if options.tty {
            Decoder::Tty(Box::new(Tty::new(options)))
        } else {
            Decoder::Frames(Box::new(Frames::new(options)))
        };
        Self {
            answer,
            decoder,
            sieve,
            oversized: 0,
        }
    }

    /// Decodes a piece of the body, and what comes close behind it, up to a batch.
    pub(super) async fn take(
        &mut self,
        first: Option<Bytes>,
        lines: &mut Lines,
    ) -> Result<Octets, ApiError> {
        let until = tokio::time::Instant::now() + LINGER;
        let mut taken = Octets {
            octets: 0,
            over: false,
        };
        let mut next = first;
        while let Some(octets) = next.take() {
            self.decoder.push(&octets, lines)?;
            taken.octets += octets.len() as u64;
            if taken.octets as usize >= BATCH {
                break;
            }
            let more = match self.answer.ready() {
                Some(more) => more?,
                None => match timeout_at(until, self.answer.next()).await {
                    Ok(more) => more?,
                    Err(_) => break,
                },
            };
            taken.over = more.is_none();
            next = more;
        }
        self.sift(lines, 0);
        Ok(taken)
    }

    /// Hands out what has no LF.
    pub(super) fn finish(&mut self, lines: &mut Lines) {
        let from = lines.len();
        match &mut self.decoder {
            // Whether a frame was cut was asked before.
            Decoder::Frames(frames) => drop(frames.finish(lines)),
            Decoder::Tty(tty) => tty.finish(lines),
        }
        self.sift(lines, from);
    }

    /// Drops the lines that were taken before, among those from `from` on.
    pub(super) fn sift(&mut self, lines: &mut Lines, from: usize) {
        let Lines { bytes, index } = lines;
        let mut at = 0;
        index.retain(|line| {
            at += 1;
            at <= from || self.sieve.keep(line, &bytes[line.start..line.end])
        });
    }

    /// Counts the frames over the limit since it was asked last, as far as they are new.
    pub(super) fn oversized(&mut self) -> u64 {
        if !self.sieve.passed() {
            return 0;
        }
        let total = self.decoder.oversized();
        total - std::mem::replace(&mut self.oversized, total)
    }
}

impl Decoder {
    pub(super) fn push(&mut self, octets: &[u8], lines: &mut Lines) -> Result<(), ApiError> {
        match self {
            Self::Frames(frames) => frames
                .push(octets, lines)
                .map_err(|error| ApiError::Stream(error.to_string())),
            Self::Tty(tty) => {
                tty.push(octets, lines);
                Ok(())
            }
        }
    }

    pub(super) fn entries(&self) -> u64 {
        match self {
            Self::Frames(frames) => frames.entries(),
            Self::Tty(tty) => tty.entries(),
        }
    }

    pub(super) fn holds(&self, stream: Stream) -> bool {
        match self {
            Self::Frames(frames) => frames.holds(stream),
            Self::Tty(tty) => tty.holds(stream),
        }
    }

    pub(super) fn oversized(&self) -> u64 {
        match self {
            Self::Frames(frames) => frames.oversized(),
            Self::Tty(_) => 0,
        }
    }

    /// Whether the stream stands inside a frame.
    pub(super) fn cut(&self) -> bool {
        matches!(self, Self::Frames(frames) if frames.inside())
    }
}
