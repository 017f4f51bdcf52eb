//! From frames to the lines of the merged files, and from a line to its record.

use framing::{Decoder, Frame};
use memchr::{memchr, memchr_iter};
use rfc5424::Timestamp;
use rfc5424::decnet::{Class, Extras, Source as Place, classify};

use crate::merge::feed::Source;

/// The merged files, as far as they are on.
#[derive(Debug, Default)]
pub(super) struct Files<'a> {
    pub(super) log: Option<&'a mut Vec<u8>>,
    pub(super) json: Option<&'a mut Vec<u8>>,
}

/// What was made of a run of octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    /// Octets that were taken: whole frames, or whole lines.
    pub(super) taken: usize,
    pub(super) lines: u64,
    pub(super) records: u64,
    /// Frames that are no syslog message.
    pub(super) invalid: u64,
    /// Where the line starts that is being cut behind them.
    pub(super) line: Option<u64>,
}

/// Makes records of the lines of one epoch.
#[derive(Debug)]
pub(super) struct Scribe<'a> {
    pub(super) source: &'a Source,
    epoch: String,
    /// The time of lines that have none.
    at: Timestamp,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(source: &'a Source, at: Timestamp) -> Scribe<'a> {
        let epoch = source.epoch.to_string();
        Scribe { source, epoch, at }
    }

    /// Appends the record of the line at `offset`, if it is one; what it is.
    pub(super) fn record(&self, line: &[u8], offset: u64, json: &mut Vec<u8>) -> Made {
        let record = match classify(line) {
            Class::Record(record) => record,
            Class::Raw => return Made::Invalid,
            Class::Strict | Class::Wrapped => return Made::Nothing,
        };
        let place = Place {
            worker: self.source.key.worker(),
            stream: self.source.key.stream(),
            epoch: &self.epoch,
            offset,
        };
        record.write_json(
            json,
            &Extras {
                fallback_time: self.at,
                source: Some(place),
                ..Extras::default()
            },
        );
        Made::Record
    }
}

/// What was made of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// A record.
    Record,
    /// None, although it is a syslog message.
    Nothing,
    /// None, because it is no syslog message.
    Invalid,
}

/// Appends a line per frame, and a record per frame that is one. `from` is the offset of the first frame.
pub(super) fn write(
    frames: &[u8],
    from: u64,
    source: &Source,
    at: Timestamp,
    files: &mut Files<'_>,
) -> Written {
    let scribe = Scribe::new(source, at);
    let decoder = Decoder::new(archive::MAX_FRAME);
    let mut written = Written::default();
    while let Ok(Some((frame, consumed))) = decoder.decode(&frames[written.taken..]) {
        let (Frame::Message(message) | Frame::Control(message)) = frame;
        if let Some(log) = &mut files.log {
            line(message, log);
            written.lines += 1;
        }
        // Some senders end a message with the LF that ends it in their files; it is no part of the record.
        let text = message.strip_suffix(b"\n").unwrap_or(message);
        if let Some(json) = &mut files.json {
            let offset = from + written.taken as u64;
            let made = scribe.record(text, offset, json);
            written.records += u64::from(made == Made::Record);
            written.invalid += u64::from(made == Made::Invalid);
        }
        written.taken += consumed;
    }
    written
}

/// One message as one line: an LF inside is written `#012`, so that no worker can reach into another's line.
fn line(message: &[u8], out: &mut Vec<u8>) {
    if memchr(b'\n', message).is_none() {
        out.extend_from_slice(message);
    } else {
        let mut start = 0;
        for at in memchr_iter(b'\n', message) {
            out.extend_from_slice(&message[start..at]);
            out.extend_from_slice(b"#012");
            start = at + 1;
        }
        out.extend_from_slice(&message[start..]);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
