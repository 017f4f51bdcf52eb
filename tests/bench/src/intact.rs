//! Whether what arrived is what was sent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Whether the files one after the other hold exactly the bytes of `input`.
pub(crate) fn same(input: &Path, outputs: &[PathBuf]) -> io::Result<bool> {
    let mut rest: Box<dyn Read> = Box::new(io::empty());
    for path in outputs {
        rest = Box::new(rest.chain(File::open(path)?));
    }
    let mut sent = BufReader::with_capacity(CHUNK, File::open(input)?);
    let mut arrived = BufReader::with_capacity(CHUNK, rest);
    loop {
        let (a, b) = (sent.fill_buf()?, arrived.fill_buf()?);
        let len = a.len().min(b.len());
        if a[..len] != b[..len] {
            return Ok(false);
        }
        if len == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        sent.consume(len);
        arrived.consume(len);
    }
}

const CHUNK: usize = 1 << 20;
