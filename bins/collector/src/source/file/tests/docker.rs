//! A json-file driver of 20.10: entries, rotation, compression; and what a reader made of it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use docker_demux::{Line, Lines, Stream};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use crate::source::{
    Container, Cursor, Gap,
    file::log::{Log, Step},
};

/// Writes a container's log.
pub(super) struct Driver {
    dir: TempDir,
    pub(super) max_size: u64,
    pub(super) max_file: u32,
    pub(super) compress: bool,
    /// Stamp of the next line, in nanoseconds since midnight.
    pub(super) clock: u64,
}

impl Driver {
    pub(super) fn new(max_size: u64, max_file: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let driver = Self {
            dir,
            max_size,
            max_file,
            compress: false,
            clock: 1,
        };
        fs::write(driver.path(), "").unwrap();
        driver
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("0123-json.log")
    }

    pub(super) fn numbered(&self, number: u32, compressed: bool) -> PathBuf {
        self.dir.path().join(format!(
            "0123-json.log.{number}{}",
            if compressed { ".gz" } else { "" }
        ))
    }

    pub(super) fn container(&self) -> Arc<Container> {
        Arc::new(Container {
            id: "0123".into(),
            name: "decoy".into(),
            log_driver: "json-file".into(),
            log_path: Some(self.path()),
            ..Container::default()
        })
    }

    pub(super) fn out(&mut self, text: &str) {
        self.line(Stream::Stdout, text);
    }

    pub(super) fn err(&mut self, text: &str) {
        self.line(Stream::Stderr, text);
    }

    /// Stores a line in pieces, all with one stamp.
    pub(super) fn line(&mut self, stream: Stream, text: &str) {
        let stamp = self.stamp();
        for piece in pieces(text) {
            self.store(stream, &stamp, &piece);
        }
    }

    pub(super) fn stamp(&mut self) -> String {
        self.clock += 1000;
        let (seconds, nanos) = (self.clock / 1_000_000_000, self.clock % 1_000_000_000);
        format!(
            "2026-11-21T00:{:02}:{:02}.{nanos:09}Z",
            seconds / 60,
            seconds % 60
        )
    }

    /// Stores one entry; rotates first if the file is full.
    pub(super) fn store(&mut self, stream: Stream, stamp: &str, text: &str) {
        if fs::metadata(self.path()).unwrap().len() >= self.max_size {
            self.rotate();
        }
        self.append(entry(stream, stamp, text).as_bytes());
    }

    pub(super) fn append(&self, octets: &[u8]) {
        fs::OpenOptions::new()
            .append(true)
            .open(self.path())
            .unwrap()
            .write_all(octets)
            .unwrap();
    }

    pub(super) fn rotate(&mut self) {
        if self.max_file < 2 {
            fs::write(self.path(), "").unwrap();
            return;
        }
        let _ = fs::remove_file(self.numbered(self.max_file - 1, self.compress));
        for number in (1..self.max_file - 1).rev() {
            let _ = fs::rename(
                self.numbered(number, self.compress),
                self.numbered(number + 1, self.compress),
            );
        }
        fs::rename(self.path(), self.numbered(1, false)).unwrap();
        fs::write(self.path(), "").unwrap();
        if self.compress {
            self.compress();
        }
    }

    fn compress(&self) {
        let plain = fs::read(self.numbered(1, false)).unwrap();
        fs::write(self.numbered(1, true), gzip(&plain)).unwrap();
        fs::remove_file(self.numbered(1, false)).unwrap();
    }
}

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The line with its LF in pieces of 16 KiB; the texts here are ASCII.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = text
        .as_bytes()
        .chunks(16384)
        .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
        .collect();
    if text.len().is_multiple_of(16384) {
        pieces.push(String::new());
    }
    pieces.last_mut().unwrap().push('\n');
    pieces
}

pub(super) fn entry(stream: Stream, stamp: &str, text: &str) -> String {
    let log = serde_json::to_string(text).unwrap();
    format!(
        "{{\"log\":{log},\"stream\":\"{}\",\"time\":\"{stamp}\"}}\n",
        stream.as_str()
    )
}

/// What a reader gave.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) lines: Vec<String>,
    pub(super) gaps: Vec<Gap>,
    pub(super) corrupt: u64,
    pub(super) cursor: Cursor,
}

impl Got {
    /// Appends lines of any length; of a long one, and of parts, only what tells them apart.
    fn take(&mut self, lines: &Lines) {
        let text = |(line, octets): (&Line, &[u8])| {
            format!("{}{}{}", mark(line), short(octets), part(line))
        };
        self.lines.extend(lines.iter().map(text));
    }
}

fn mark(line: &Line) -> &'static str {
    if line.stream == Stream::Stderr {
        "!"
    } else {
        ""
    }
}

fn part(line: &Line) -> String {
    line.part.map_or(String::new(), |part| {
        format!("#{}{}", part.n, if part.last { "." } else { "" })
    })
}

/// What stands for a line in [`Got`].
pub(super) fn short(octets: &[u8]) -> String {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(40)]).into_owned();
    if octets.len() > 40 {
        format!("{head}…{}", octets.len())
    } else {
        head
    }
}

pub(super) fn open(driver: &Driver, cursor: &Cursor) -> Log {
    Log::open(driver.container(), Some(cursor.clone())).unwrap()
}

/// Reads until there is nothing (more) to read.
pub(super) fn drain(log: &mut Log, got: &mut Got) -> Step {
    let mut shared = Vec::new();
    let mut lines = Lines::default();
    loop {
        lines.clear();
        let step = log.step(&mut shared, &mut lines).unwrap();
        got.take(&lines);
        if !lines.is_empty() || log.has_news() || step == Step::End {
            let (cursor, gaps, corrupt) = log.account(&lines).unwrap();
            // A cursor goes through the store.
            got.cursor = serde_json::from_slice(&serde_json::to_vec(&cursor).unwrap()).unwrap();
            got.gaps.extend(gaps);
            got.corrupt += corrupt;
        }
        if step != Step::Read {
            return step;
        }
    }
}

/// Reads everything there is from a cursor on with a new reader.
pub(super) fn read(driver: &Driver, cursor: &Cursor) -> Got {
    let mut got = Got {
        cursor: cursor.clone(),
        ..Got::default()
    };
    assert_eq!(drain(&mut open(driver, cursor), &mut got), Step::Idle);
    got
}

pub(super) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

pub(super) fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}
