//! Reading an archive as an operator would with `cat` and a calculator: nothing of the program's own code.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A line as the archive keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The name of its epoch.
    pub epoch: String,
    /// Where it begins in the epoch: its frame, if frames are kept.
    pub offset: u64,
    /// Its octets, without LF.
    pub bytes: Vec<u8>,
}

/// An unbroken part of an epoch: a gap is what lies between two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The epoch's name.
    pub epoch: String,
    /// The offset of its first octet.
    pub base: u64,
    /// Its segments, which join.
    pub segments: Vec<PathBuf>,
    /// Whether they hold frames.
    pub framed: bool,
}

/// The lines of one stream of one worker, epochs in the order of the ledger.
///
/// # Errors
/// Segments that can't be read, overlap, or hold something else than whole lines or frames.
pub fn archived_lines(data: &Path, worker: &str, stream: &str) -> anyhow::Result<Vec<Archived>> {
    let mut lines = Vec::new();
    for run in runs(data, worker, stream)? {
        let mut bytes = Vec::new();
        for path in &run.segments {
            bytes.extend(segment(path)?);
        }
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let offset = run.base + at as u64;
            let found = if run.framed { frame(rest) } else { line(rest) };
            let (line, len) = found.with_context(|| format!("{}, offset {offset}", run.epoch))?;
            lines.push(Archived {
                epoch: run.epoch.clone(),
                offset,
                bytes: line.to_vec(),
            });
            at += len;
        }
    }
    Ok(lines)
}

/// What the archive holds of a stream, epochs in the order of the ledger.
///
/// # Errors
/// The ledger or a folder can't be read, or segments overlap.
pub fn runs(data: &Path, worker: &str, stream: &str) -> anyhow::Result<Vec<Run>> {
    let dir = data.join("archive").join(worker).join(stream);
    let mut runs = Vec::new();
    for epoch in epochs(&dir)? {
        runs.extend(runs_of(&dir.join(&epoch), &epoch)?);
    }
    Ok(runs)
}

/// Octets of a stream in an archive, as its plain segments have them now.
pub(crate) fn size(data: &Path, worker: &str, stream: &str) -> u64 {
    let dir = data.join("archive").join(worker).join(stream);
    let sizes = segments_below(&dir).into_iter().map(std::fs::metadata);
    sizes.map(|meta| meta.map_or(0, |m| m.len())).sum()
}

/// Every segment of a stream's folder, in no order.
fn segments_below(dir: &Path) -> Vec<PathBuf> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let epochs = entries(dir).filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
    epochs
        .flat_map(|epoch| entries(&epoch.path()))
        .map(|entry| entry.path())
        .collect()
}

/// The epochs' names in the order in which the ledger opened them.
fn epochs(dir: &Path) -> anyhow::Result<Vec<String>> {
    let path = dir.join("ledger.jsonl");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut epochs: Vec<String> = Vec::new();
    for fact in text.lines() {
        let fact: serde_json::Value = serde_json::from_str(fact)?;
        if let Some(epoch) = fact["epoch"].as_str()
            && !epochs.iter().any(|known| known == epoch)
            && dir.join(epoch).is_dir()
        {
            epochs.push(epoch.to_owned());
        }
    }
    Ok(epochs)
}

fn runs_of(dir: &Path, epoch: &str) -> anyhow::Result<Vec<Run>> {
    let mut segments: Vec<(u64, PathBuf, bool)> = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (base, kind) = name.split_once('.').context("segment without suffix")?;
        let base = base.parse().with_context(|| format!("segment {name}"))?;
        segments.push((base, path, kind.starts_with("frames")));
    }
    segments.sort();
    let (mut runs, mut end): (Vec<Run>, u64) = (Vec::new(), 0);
    for (base, path, framed) in segments {
        let len = length(&path)?;
        anyhow::ensure!(
            runs.is_empty() || base >= end,
            "{} overlaps the segment before it",
            path.display()
        );
        match runs.last_mut() {
            Some(run) if base == end => run.segments.push(path),
            _ => runs.push(Run {
                epoch: epoch.to_owned(),
                base,
                segments: vec![path],
                framed,
            }),
        }
        end = base + len;
    }
    Ok(runs)
}

/// Octets of a segment, decompressed.
fn length(path: &Path) -> anyhow::Result<u64> {
    if path.extension().is_some_and(|e| e == "zst") {
        return Ok(segment(path)?.len() as u64);
    }
    Ok(std::fs::metadata(path)?.len())
}

fn segment(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_none_or(|e| e != "zst") {
        return std::fs::read(path).with_context(|| format!("read {}", path.display()));
    }
    let output = std::process::Command::new("zstd")
        .args(["--decompress", "--stdout", "--quiet"])
        .arg(path)
        .output()
        .context("start zstd")?;
    anyhow::ensure!(
        output.status.success(),
        "zstd can't read {}",
        path.display()
    );
    Ok(output.stdout)
}

/// A line and its length with LF.
fn line(bytes: &[u8]) -> anyhow::Result<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', bytes).context("a line without end")?;
    Ok((&bytes[..end], end + 1))
}

/// The message of an octet-counted frame (RFC 5425 §4.3) and the frame's length.
fn frame(bytes: &[u8]) -> anyhow::Result<(&[u8], usize)> {
    let digits = memchr::memchr(b' ', bytes).context("a frame without length")?;
    let length: usize = std::str::from_utf8(&bytes[..digits])?.parse()?;
    let end = digits + 1 + length;
    let message = bytes.get(digits + 1..end).context("a torn frame")?;
    Ok((message, end))
}
