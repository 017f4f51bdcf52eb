//! From frames to the lines of the merged files.

use framing::{Decoder, Frame};
use memchr::{memchr, memchr_iter};
use rfc5424::Timestamp;
use rfc5424::decnet::{Extras, Record, Source as Place};

use crate::merge::feed::Source;

/// What was made of a run of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// Octets of whole frames that were taken.
    pub(crate) taken: usize,
    pub(crate) lines: u64,
    pub(crate) records: u64,
}

/// Appends a line per frame to `log`, and to `json` a record per frame that is one; those that are `None` are off.
pub(crate) fn write(
    frames: &[u8],
    from: u64,
    source: &Source,
    at: Timestamp,
    mut log: Option<&mut Vec<u8>>,
    mut json: Option<&mut Vec<u8>>,
) -> Written {
    let epoch = source.epoch.to_string();
    let decoder = Decoder::new(archive::MAX_FRAME);
    let mut written = Written::default();
    while let Ok(Some((frame, consumed))) = decoder.decode(&frames[written.taken..]) {
        let (Frame::Message(message) | Frame::Control(message)) = frame;
        if let Some(log) = log.as_deref_mut() {
            line(message, log);
            written.lines += 1;
        }
        // Some senders end a message with the LF that ends it in their files; it is no part of the record.
        let text = message.strip_suffix(b"\n").unwrap_or(message);
        if let Some(json) = json.as_deref_mut()
            && let Some(record) = Record::parse(text)
        {
            let offset = from + written.taken as u64;
            let place = Place {
                worker: source.key.worker(),
                stream: source.key.stream(),
                epoch: &epoch,
                offset,
            };
            record.write_json(
                json,
                &Extras {
                    fallback_time: at,
                    source: Some(place),
                    ..Extras::default()
                },
            );
            written.records += 1;
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
