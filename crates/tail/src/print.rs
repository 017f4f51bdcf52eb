//! Fingerprints: a hash of a few KiB at a known place, which says whether a file is the one we knew.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many bytes at the head and before an offset are compared, at most.
pub(crate) const PRINT: usize = 4096;

/// The BLAKE3 hash of the `len` bytes that end at `end`. With `len` 0 it proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Print {
    /// The offset behind the last byte.
    pub end: u64,
    /// How many bytes, at most 4096.
    pub len: u32,
    /// Their hash.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub blake3: [u8; 32],
}

impl Print {
    /// The print of `bytes`, which end at offset `end`.
    pub fn new(end: u64, bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= PRINT && bytes.len() as u64 <= end);
        Self {
            end,
            len: bytes.len() as u32,
            blake3: *blake3::hash(bytes).as_bytes(),
        }
    }

    /// Where its first byte stands.
    pub fn start(&self) -> u64 {
        self.end - u64::from(self.len)
    }

    /// A stored print may be nonsense: it may not reach below offset 0, or be longer than ours.
    pub(crate) fn sane(&self) -> bool {
        self.len as usize <= PRINT && u64::from(self.len) <= self.end
    }
}

pub(crate) fn to_hex<S: Serializer>(
    bytes: impl AsRef<[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let bytes = bytes.as_ref();
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    serializer.serialize_str(&text)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = [0; 32];
    unhex(&text, &mut bytes)
        .map(|()| bytes)
        .ok_or_else(|| serde::de::Error::custom("a hash is 64 lower-case hex digits"))
}

/// Any number of bytes, at most a print's.
pub(crate) fn bytes_from_hex<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = vec![0; (text.len() / 2).min(PRINT)];
    unhex(&text, &mut bytes)
        .map(|()| bytes)
        .ok_or_else(|| serde::de::Error::custom("the first bytes are at most 8192 hex digits"))
}

/// Fills `bytes` from lower-case hex digits; nothing if `text` is anything else.
pub(crate) fn unhex(text: &str, bytes: &mut [u8]) -> Option<()> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != bytes.len() * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}
