//! From the bytes of a `.log` epoch to the lines of the merged files: as they are, but that each line ends with an LF
//! before anybody else's begins.

use memchr::memchr;
use rfc5424::Timestamp;

use crate::merge::feed::Source;
use crate::merge::lines::{Files, Made, Scribe, Written};

/// Bytes of an epoch, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// The offset of the first byte.
    pub(super) from: u64,
    /// Where the line starts that is being cut, if the first byte is inside one.
    pub(super) line: Option<u64>,
    /// A line that is not complete at the last byte will stay so: a gap follows, or the epoch is over.
    pub(super) ended: bool,
    /// A line over this length is cut: [`LONG`] but for tests.
    pub(super) long: usize,
}

impl Text<'_> {
    /// Appends the complete lines, and a record for each that is one; what is left is an unfinished line of at most
    /// `long` bytes, and nothing if the text is ended.
    ///
    /// A longer line is cut: its first part as it is, each further one behind a header that names the worker,
    /// the stream, the offset at which the line starts, and the part's number. Such a line has no record.
    pub(super) fn write(self, source: &Source, at: Timestamp, files: &mut Files<'_>) -> Written {
        let scribe = Scribe::new(source, at);
        let mut written = Written {
            line: self.line,
            ..Written::default()
        };
        while let Some(piece) = self.next(written.taken) {
            let offset = self.from + written.taken as u64;
            if let Some(log) = &mut files.log {
                if let Some(start) = written.line {
                    self.header(source, start, offset, !piece.is_cut, log);
                }
                log.extend_from_slice(piece.bytes);
                log.push(b'\n');
                written.lines += 1;
            }
            let is_whole = written.line.is_none() && !piece.is_cut;
            if let Some(json) = &mut files.json
                && is_whole
                && piece.bytes.len() <= RECORD_BYTES
            {
                let made = scribe.record(piece.bytes, offset, json);
                written.records += u64::from(made == Made::Record);
            }
            written.line = piece.is_cut.then(|| written.line.unwrap_or(offset));
            written.taken += piece.taken;
        }
        written
    }

    fn next(&self, taken: usize) -> Option<Piece<'_>> {
        let rest = &self.bytes[taken..];
        // With an LF right behind it a line of exactly that length is whole.
        let near = &rest[..rest.len().min(self.long + 1)];
        let (len, taken, is_cut) = match memchr(b'\n', near) {
            Some(lf) => (lf, lf + 1, false),
            None if near.len() > self.long => (self.long, self.long, true),
            None if self.ended && !near.is_empty() => (near.len(), near.len(), false),
            None => return None,
        };
        Some(Piece {
            bytes: &rest[..len],
            taken,
            is_cut,
        })
    }

    /// What stands before a further part of a line that was cut, in the form of the collector's.
    fn header(&self, source: &Source, start: u64, offset: u64, is_last: bool, log: &mut Vec<u8>) {
        let (worker, stream) = (source.key.worker(), source.key.stream());
        // RFC 5424 §6: APP-NAME has at most 48 characters; the names hold none that would need an escape.
        let app = &stream[..stream.len().min(48)];
        let part = (offset - start) / self.long as u64 + 1;
        let last = if is_last { " last=\"1\"" } else { "" };
        log.extend_from_slice(
            format!(
                "<134>1 - {worker} {app} - raw [logferry@32473 source_stream=\"{stream}\" source_epoch=\"{}\" \
                 line=\"{start}\" part=\"{part}\"{last}] ",
                source.epoch
            )
            .as_bytes(),
        );
    }
}

/// A line, or a part of one.
struct Piece<'a> {
    bytes: &'a [u8],
    /// Its length with its LF.
    taken: usize,
    /// The line goes on behind it.
    is_cut: bool,
}

/// The longest line that is held in memory, and stands in the merged `.log` in one piece. Collectors cut at a quarter.
pub(super) const LONG: usize = 4 << 20;

/// The longest line that has a record: more than collectors write. A record can take twenty times its line.
pub(super) const RECORD_BYTES: usize = (1 << 20) + (64 << 10);

#[cfg(test)]
mod tests;
