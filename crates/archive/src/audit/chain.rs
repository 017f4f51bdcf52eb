//! A ledger read line by line, with its chain: each line has the hash of the one before.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use offsets::LINE_BYTES;
use serde_json::Value;

use crate::entry::LedgerMark;

/// What is wrong with a ledger, and where in the file.
pub(super) type Wrong = (u64, String);

/// Reads the ledger at `path`: each line to `take`, each thing that is wrong to `wrong`. `known`: how the index says
/// that it goes. An unfinished last line is being written, unless `clean`.
pub(super) fn read(
    path: &Path,
    known: Option<LedgerMark>,
    clean: bool,
    take: &mut dyn FnMut(&Value),
    wrong: &mut dyn FnMut(Wrong),
) -> io::Result<()> {
    let mut lines = match crate::segment::existing(File::open(path))? {
        Some(file) => BufReader::new(file),
        None => {
            if known.is_some_and(|mark| mark.len > 0) {
                wrong((0, "the ledger is missing".to_owned()));
            }
            return Ok(());
        }
    };
    let mut chain = Chain {
        at: 0,
        before: 0,
        seq: 0,
        head: blake3::Hash::from_bytes([0; 32]).to_hex().to_string(),
    };
    loop {
        if let Some(mark) = known
            && mark.len == chain.at
            && blake3::Hash::from_bytes(mark.head).to_hex().as_str() != chain.head
        {
            let what = "this line is not the one that the index knows as the last of its time";
            wrong((chain.before, what.to_owned()));
        }
        let mut line = Vec::new();
        let limit = LINE_BYTES as u64 + 1;
        (&mut lines).take(limit).read_until(b'\n', &mut line)?;
        let Some(body) = line.strip_suffix(b"\n") else {
            if line.len() as u64 == limit {
                wrong((chain.at, "it is longer than a line may be".to_owned()));
                lines.skip_until(b'\n')?;
                return Ok(());
            }
            if !line.is_empty() && clean {
                wrong((chain.at, "an unfinished line".to_owned()));
            }
            break;
        };
        let value = serde_json::from_slice(body).ok();
        if let Some(value) = chain.link(body, value, wrong) {
            take(&value);
        }
    }
    if let Some(mark) = known
        && chain.at < mark.len
    {
        let what = format!("{} bytes are missing at its end", mark.len - chain.at);
        wrong((chain.at, what));
    }
    Ok(())
}

struct Chain {
    /// Where the next line starts, and the one before it.
    at: u64,
    before: u64,
    seq: u64,
    head: String,
}

impl Chain {
    /// Takes the next line, and gives its value.
    fn link(
        &mut self,
        body: &[u8],
        value: Option<Value>,
        wrong: &mut dyn FnMut(Wrong),
    ) -> Option<Value> {
        let value = value.filter(Value::is_object);
        let seq = value.as_ref().and_then(|value| value.get("seq")?.as_u64());
        let prev = value.as_ref().and_then(|value| value.get("prev")?.as_str());
        match (seq, prev) {
            (None, _) | (_, None) => wrong((self.at, "no line of a ledger".to_owned())),
            (Some(seq), _) if seq != self.seq => {
                let what = format!("line number {seq} where {} belongs", self.seq);
                wrong((self.at, what));
            }
            (_, Some(prev)) if prev != self.head => {
                // Either this line's `prev` was changed, or, far more likely, anything in the line before.
                let what = "this line is not the one that the next line follows";
                wrong((self.before, what.to_owned()));
            }
            _ => {}
        }
        self.seq = seq.unwrap_or(self.seq).saturating_add(1);
        self.head = blake3::hash(body).to_hex().to_string();
        self.before = self.at;
        self.at += body.len() as u64 + 1;
        value
    }
}
