//! Events of one topic, encoded as they are added, so that handing them over is one step for all of them.

use std::time::SystemTime;

use serde::Serialize;

use crate::frame::{Verb, encode_with};

/// Events of one topic on their way to the bus. Made by [`crate::Publisher::batch`].
#[derive(Debug)]
pub struct Batch {
    topic: String,
    /// What its events are counted as.
    pub(crate) label: &'static str,
    /// In order; none is empty.
    pub(crate) chunks: Vec<Chunk>,
    /// Events that the bus would refuse.
    pub(crate) refused: u64,
    /// `","topic":"…","ts":…,"payload":`, the same for all events.
    middle: Vec<u8>,
    ids: Ids,
}

/// Whole frames, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) octets: Vec<u8>,
    /// Where each frame ends.
    pub(crate) ends: Vec<usize>,
}

/// Gives ids of 32 hexadecimal digits: a random number of the process, and a count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    process: u64,
    next: u64,
}

impl Batch {
    pub(crate) fn new(topic: &str, label: &'static str, ids: Ids) -> Self {
        let ts = serde_json::Number::from_f64(unix_seconds());
        let ts = ts.map_or_else(|| "0".to_owned(), |ts| ts.to_string());
        let middle = format!("\",\"topic\":\"{topic}\",\"ts\":{ts},\"payload\":");
        Self {
            topic: topic.to_owned(),
            label,
            chunks: Vec::new(),
            refused: 0,
            middle: middle.into_bytes(),
            ids,
        }
    }

    /// Adds an event. One whose frame the bus would refuse is counted instead: see [`crate::MAX_BODY`].
    pub fn add(&mut self, event_type: &str, payload: &impl Serialize) {
        let texts = serde_json::to_vec(event_type).and_then(|kind| {
            let payload = serde_json::to_vec(payload)?;
            Ok((kind, payload))
        });
        match texts {
            Ok((kind, payload)) if payload.first() == Some(&b'{') => {
                self.add_json(&kind, &[&payload]);
            }
            _ => self.refused += 1,
        }
    }

    /// Adds an event from texts that are JSON already: its type, a string in quotes, and the pieces of its payload, an
    /// object.
    pub fn add_json(&mut self, event_type: &[u8], payload: &[&[u8]]) {
        debug_assert!(event_type.first() == Some(&b'"') && event_type.last() == Some(&b'"'));
        if self.chunks.last().is_none_or(|c| c.octets.len() >= CHUNK) {
            self.chunks.push(Chunk::default());
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return;
        };
        let id = self.ids.next();
        let middle = &self.middle;
        let encoded = encode_with(Verb::Pub, &self.topic, &mut chunk.octets, |out| {
            out.extend_from_slice(b"{\"v\":1,\"type\":");
            out.extend_from_slice(event_type);
            out.extend_from_slice(b",\"id\":\"");
            out.extend_from_slice(&id);
            out.extend_from_slice(middle);
            for piece in payload {
                out.extend_from_slice(piece);
            }
            out.push(b'}');
        });
        match encoded {
            Ok(()) => chunk.ends.push(chunk.octets.len()),
            Err(_) => self.refused += 1,
        }
        if chunk.ends.is_empty() {
            self.chunks.pop();
        }
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.ends.len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

impl Ids {
    pub(crate) fn new(process: u64) -> Self {
        Self { process, next: 0 }
    }

    /// Ids that no batch before gave out, for one of at most 2³² events.
    pub(crate) fn batch(&mut self) -> Self {
        self.next = (self.next | 0xFFFF_FFFF).wrapping_add(1);
        *self
    }

    fn next(&mut self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let value = u128::from(self.process) << 64 | u128::from(self.next);
        self.next = self.next.wrapping_add(1);
        let mut text = [0; 32];
        for (at, octet) in value.to_be_bytes().into_iter().enumerate() {
            text[2 * at] = DIGITS[usize::from(octet >> 4)];
            text[2 * at + 1] = DIGITS[usize::from(octet & 0xF)];
        }
        text
    }
}

/// Seconds since 1970, as the bus counts them.
pub(crate) fn unix_seconds() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0.0, |since| since.as_secs_f64())
}

/// Octets from which on a chunk takes no more frames: what is dropped or lost at once, and written at once.
const CHUNK: usize = 32 << 10;
