//! Compressed segments: any part of them, and damage anywhere.

use std::io::Write as _;

use super::*;

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packer = Packer::new().unwrap();
    let mut packed = Vec::new();
    for piece in bytes.chunks(PIECE as usize) {
        packed.extend(packer.frame(piece).unwrap());
    }
    packed.extend(packer.finish().unwrap());
    packed
}

fn open(packed: &[u8]) -> io::Result<Packed> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(packed).unwrap();
    Packed::open(file)
}

fn read(packed: &mut Packed, mut at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buf = [0; 100_000];
    loop {
        let n = packed.read_at(&mut buf, at)?;
        if n == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buf[..n]);
        at += n as u64;
    }
}

fn lines(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..)
        .flat_map(|n| format!("line {n} of many\n").into_bytes())
        .take(len)
        .collect();
    bytes.truncate(len);
    bytes
}

#[test]
fn gives_every_part() {
    let piece = PIECE as usize;
    for len in [0, 1, piece, piece + 1, 2 * piece + 77] {
        let bytes = lines(len);
        let stored = pack(&bytes);
        assert_eq!(
            zstd::decode_all(&stored[..]).unwrap(),
            bytes,
            "any zstd reads it"
        );
        let mut packed = open(&stored).unwrap();
        assert_eq!(packed.len(), len as u64);
        for at in [0, 1, len / 2, len.saturating_sub(1), len, len + 5] {
            let expected = bytes.get(at..).unwrap_or_default();
            assert_eq!(
                read(&mut packed, at as u64).unwrap(),
                expected,
                "{len} {at}"
            );
        }
    }
}

#[test]
fn damage_is_an_error_and_nothing_worse() {
    let bytes = lines(50_000);
    let whole = pack(&bytes);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let read = open(&damaged).and_then(|mut packed| read(&mut packed, 0));
        assert!(read.is_err() || read.unwrap() == bytes, "{at}");
        let short = open(&whole[..at]).and_then(|mut packed| self::read(&mut packed, 0));
        assert!(short.is_err(), "{at}");
    }
}
