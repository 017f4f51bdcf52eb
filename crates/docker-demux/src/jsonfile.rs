//! The json-file driver's entries: one JSON object a line, `{"log":"…\n","stream":"stdout","time":"…Z"}`.

mod entry;
mod unescape;

use memchr::{memchr, memmem};

use crate::{
    Options, Stamps,
    join::{Joiner, Progress},
    lines::{Lines, Open, Stream},
};

/// Octets of one entry, LF left out. Docker's longest: a piece of 16 KiB with six octets for each, and its attributes.
pub const MAX_ENTRY: usize = 1 << 20;

/// How an entry begins, if nothing is wrong with it.
const OPENING: &[u8] = b"{\"log\":\"";

/// Decodes the entries of one container's log, across the files of its rotation.
#[derive(Clone, Debug)]
pub struct JsonFile {
    join: Joiner,
    stamps: Stamps,
    /// Octets consumed since the decoder was made.
    pos: u64,
    /// Entries of each stream still to be passed over.
    ahead: [u64; 2],
    /// Within an entry over the limit: everything up to the next LF is void.
    skipping: bool,
    corrupt: u64,
}

impl JsonFile {
    /// Makes a decoder that begins at position 0.
    pub fn new(options: Options) -> Self {
        Self::resume(options, [0; 2], [None; 2])
    }

    /// Makes a decoder that goes on where another one stood: fed from that one's [`Progress::place`] on, it gives
    /// what that one had not given. Its own position is 0 there.
    pub fn resume(options: Options, ahead: [u64; 2], open: [Option<Open>; 2]) -> Self {
        let mut join = Joiner::new(options.tty);
        for stream in Stream::ALL {
            if let Some(open) = open[stream.index()] {
                join.reopen(stream, open);
            }
        }
        Self {
            join,
            stamps: Stamps::default(),
            pos: 0,
            ahead,
            skipping: false,
            corrupt: 0,
        }
    }

    /// Decodes the whole entries at the start of `input` and tells how many octets they are. What is left is the
    /// beginning of an entry: give it again with what follows it.
    pub fn push(&mut self, input: &[u8], out: &mut Lines) -> usize {
        let mut at = 0;
        while let Some(len) = memchr(b'\n', &input[at..]) {
            let entry = &input[at..at + len];
            if self.skipping {
                self.skipping = false;
            } else {
                self.entry(entry, out);
            }
            at += len + 1;
            self.pos += len as u64 + 1;
        }
        let rest = input.len() - at;
        if self.skipping || rest > MAX_ENTRY {
            self.corrupt += u64::from(!self.skipping);
            self.skipping = true;
            at += rest;
            self.pos += rest as u64;
        }
        at
    }

    /// Hands out lines that have no LF yet: the container has ended.
    pub fn finish(&mut self, out: &mut Lines) {
        self.join.finish(out);
    }

    /// Drops an entry that was begun and will not be completed, and counts it: its file is over.
    pub fn abandon(&mut self, rest: usize) {
        self.corrupt += u64::from(rest > 0 && !self.skipping);
        self.skipping = false;
        self.pos += rest as u64;
    }

    /// Gives the octets consumed so far.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Tells where a decoder must begin to give what this one has not given.
    pub fn progress(&self) -> Progress {
        let mut progress = self.join.progress(self.pos);
        for (ahead, left) in progress.ahead.iter_mut().zip(self.ahead) {
            *ahead += left;
        }
        progress
    }

    /// Counts the entries of stdout and of stderr so far.
    pub fn entries(&self) -> [u64; 2] {
        self.join.entries()
    }

    /// Tells whether a line of this stream has begun that is not handed out yet.
    pub fn holds(&self, stream: Stream) -> bool {
        self.join.holds(stream)
    }

    /// Counts the entries skipped because they could not be read.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    fn entry(&mut self, entry: &[u8], out: &mut Lines) {
        let start = out.bytes.len();
        match self.parse(entry, out) {
            Some((stream, stamp)) => self.accept(start, stream, stamp, self.pos, out),
            None => {
                out.bytes.truncate(start);
                self.recover(entry, out);
            }
        }
    }

    /// Reads the entries on a line that is not one. Where dockerd or its host died, the next entry follows on the same
    /// line, behind a torn one or behind a whole one that lacks its LF.
    fn recover(&mut self, text: &[u8], out: &mut Lines) {
        let mut at = 0;
        let mut torn = false;
        while at < text.len() {
            let start = out.bytes.len();
            let first = entry::first(&text[at..]);
            if let Some((fields, len)) = first
                && unescape::append(fields.log, &mut out.bytes)
            {
                self.accept(
                    start,
                    fields.stream,
                    fields.stamp,
                    self.pos + at as u64,
                    out,
                );
                at += len;
                torn = false;
                continue;
            }
            out.bytes.truncate(start);
            self.corrupt += u64::from(!torn);
            torn = true;
            // Within a string its quotes would be escaped: this can only be where an entry begins.
            let Some(next) = memmem::find(&text[at + 1..], OPENING) else {
                return;
            };
            at += 1 + next;
        }
    }

    /// Takes an entry that begins at `pos`; its line is at the end of `out.bytes`, from `start` on.
    fn accept(&mut self, start: usize, stream: Stream, stamp: &[u8], pos: u64, out: &mut Lines) {
        // Even an unreadable stamp does not make the line unreadable.
        let time_ns = self.stamps.parse(stamp);
        let ahead = &mut self.ahead[stream.index()];
        if *ahead > 0 {
            *ahead -= 1;
            self.join.pass(stream);
            out.bytes.truncate(start);
        } else {
            self.join.accept(out, start, stream, time_ns, pos);
        }
    }

    fn parse<'a>(&self, entry: &'a [u8], out: &mut Lines) -> Option<(Stream, &'a [u8])> {
        if let Some(fields) = entry::usual(entry)
            && unescape::append(fields.log, &mut out.bytes)
        {
            return Some((fields.stream, fields.stamp));
        }
        let start = out.bytes.len();
        let fields = entry::any(entry)?;
        out.bytes.truncate(start);
        unescape::append(fields.log, &mut out.bytes).then_some((fields.stream, fields.stamp))
    }
}
