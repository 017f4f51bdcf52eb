//! The compressed form of a closed segment: a zstd frame per piece, and a table of them at the end, so that any piece
//! is read without the ones before it. `zstd -d` gives the segment.
//!
//! The table is that of the zstd seekable format: a skippable frame that holds, for each frame, its length compressed
//! and plain, and ends with the number of frames.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::pieces::PIECE;

/// Compresses pieces in order.
pub(crate) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    table: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> io::Result<Packer> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Packer {
            compressor,
            table: Vec::new(),
        })
    }

    /// The frame of the next piece, of at most [`PIECE`] bytes.
    pub(crate) fn frame(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        let frame = self.compressor.compress(piece)?;
        for len in [frame.len(), piece.len()] {
            let len = u32::try_from(len).map_err(|_| damaged("a piece is too long"))?;
            self.table.extend_from_slice(&len.to_le_bytes());
        }
        Ok(frame)
    }

    /// The table that follows the last frame.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        let too_long = |_| damaged("too many pieces");
        let frames = u32::try_from(self.table.len() / ENTRY).map_err(too_long)?;
        let size = u32::try_from(self.table.len() + FOOTER).map_err(too_long)?;
        let mut bytes = SKIPPABLE.to_le_bytes().to_vec();
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&self.table);
        bytes.extend_from_slice(&frames.to_le_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&SEEKABLE.to_le_bytes());
        Ok(bytes)
    }
}

/// A compressed segment, open for reading.
#[derive(Debug)]
pub(crate) struct Packed {
    file: File,
    frames: Vec<Frame>,
    len: u64,
    /// The piece that was read last.
    last: Option<(usize, Vec<u8>)>,
}

#[derive(Debug)]
struct Frame {
    /// Where it is in the file, and how long.
    at: u64,
    stored: usize,
    /// Where its piece is in the segment, and how long.
    from: u64,
    len: usize,
}

impl Packed {
    /// Reads the table.
    pub(crate) fn open(file: File) -> io::Result<Packed> {
        let size = file.metadata()?.len();
        let mut footer = [0; FOOTER];
        let tail = size
            .checked_sub(FOOTER as u64)
            .ok_or_else(|| damaged("it is too short"))?;
        file.read_exact_at(&mut footer, tail)?;
        let count = u64::from(word(&footer, 0));
        if word(&footer, 5) != SEEKABLE || footer[4] != 0 {
            return Err(damaged("it has no table at its end"));
        }
        let start = tail
            .checked_sub(count * ENTRY as u64)
            .filter(|start| *start >= HEADER as u64)
            .ok_or_else(|| damaged("its table is longer than itself"))?;
        let mut table = vec![0; (tail - start) as usize + HEADER];
        file.read_exact_at(&mut table, start - HEADER as u64)?;
        if word(&table, 0) != SKIPPABLE || u64::from(word(&table, 4)) != size - start {
            return Err(damaged("its table is damaged"));
        }
        let (mut at, mut from) = (0, 0);
        let mut frames = Vec::new();
        for entry in table[HEADER..].chunks_exact(ENTRY) {
            let (stored, len) = (word(entry, 0) as usize, word(entry, 4) as usize);
            if len as u64 > PIECE || stored > zstd::zstd_safe::compress_bound(PIECE as usize) {
                return Err(damaged("its table is damaged"));
            }
            frames.push(Frame {
                at,
                stored,
                from,
                len,
            });
            at += stored as u64;
            from += len as u64;
        }
        if at != start - HEADER as u64 {
            return Err(damaged("its table is not that of its frames"));
        }
        Ok(Packed {
            file,
            frames,
            len: from,
            last: None,
        })
    }

    /// Bytes of the segment.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads some of the bytes from `at` on; 0 at the end.
    pub(crate) fn read_at(&mut self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let next = self.frames.partition_point(|frame| frame.from <= at);
        let Some(n) = next.checked_sub(1) else {
            return Ok(0);
        };
        let frame = &self.frames[n];
        let start = usize::try_from(at - frame.from).unwrap_or(usize::MAX);
        if start >= frame.len || buf.is_empty() {
            return Ok(0);
        }
        if self.last.as_ref().is_none_or(|(known, _)| *known != n) {
            let mut stored = vec![0; frame.stored];
            self.file.read_exact_at(&mut stored, frame.at)?;
            let piece = zstd::bulk::decompress(&stored, frame.len)
                .map_err(|e| damaged(&format!("a frame is damaged: {e}")))?;
            if piece.len() != frame.len {
                return Err(damaged("a frame is shorter than its table says"));
            }
            self.last = Some((n, piece));
        }
        let piece = self.last.as_ref().map_or(&[][..], |(_, piece)| piece);
        let n = buf.len().min(piece.len() - start);
        buf[..n].copy_from_slice(&piece[start..start + n]);
        Ok(n)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// zstd's default: logs shrink to a tenth or less, at some 300 MB/s a core.
const LEVEL: i32 = 3;
const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const HEADER: usize = 8;
const ENTRY: usize = 8;
const FOOTER: usize = 9;

#[cfg(test)]
mod tests;
