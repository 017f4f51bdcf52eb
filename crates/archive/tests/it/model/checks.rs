//! The archive against the model.

use std::fs;
use std::path::Path;

use archive::audit::{self, Damage, Scope};
use archive::{Chunk, Committed, Form, ReadError, Reader};

use super::World;
use super::sender::{Epoch, byte, bytes};
use crate::support::Data;

pub(super) fn tell_ledger(data: &Path, epoch: &Epoch) {
    let ledger = format!("archive/w/{}/ledger.jsonl", epoch.key.stream());
    let id = epoch.id.to_string();
    for line in fs::read_to_string(data.join(ledger)).unwrap().lines() {
        if line.contains(&id) {
            eprintln!("{line}");
        }
    }
}

pub(super) async fn verify(path: &Path) -> Vec<Damage> {
    let mut damage = Vec::new();
    audit::verify(path, Scope::default(), &mut |what| damage.push(what))
        .await
        .unwrap();
    damage
}

pub(super) fn check_reports(world: &World, reports: &[Committed]) {
    for report in reports {
        let epoch = world.epochs.iter().find(|e| e.id == report.epoch).unwrap();
        assert_eq!(report.to, epoch.acked_end());
        assert_eq!(report.sealed, epoch.sealed);
    }
}

/// The tail is the last run of bytes, as far as it was not removed.
pub(super) fn check_prints(n: usize, epoch: &Epoch, stand: &archive::Stand) {
    let (mut start, mut end, mut at) = (epoch.base, epoch.base, epoch.base);
    for run in &epoch.acked {
        if !run.gap {
            if at != end {
                start = at;
            }
            end = run.to;
        }
        at = run.to;
    }
    let tail = stand.tail;
    if tail.len > 0 {
        assert_eq!(tail.end, end, "epoch {n}: {epoch:?}");
        let from = tail.end - u64::from(tail.len);
        assert!(from >= start, "the tail reaches over a gap");
        let held = bytes(n, from, tail.end);
        assert_eq!(tail.blake3, *blake3::hash(&held).as_bytes());
        let in_line = end == stand.end && byte(n, end - 1) != b'\n';
        assert_eq!(stand.in_line, in_line);
        if epoch.floor == 0 {
            assert_eq!(u64::from(tail.len), (end - start).min(4096));
        }
    } else {
        assert!(epoch.floor > 0 || end == epoch.base, "{epoch:?}");
        assert!(!stand.in_line);
    }
}

/// Everything that is needed is there, byte for byte, with gaps where they are recorded.
pub(super) fn check_bytes(data: &Data, n: usize, epoch: &Epoch) {
    let end = epoch.acked_end();
    let folder = format!("archive/w/{}/{}", epoch.key.stream(), epoch.id);
    let mut bases: Vec<u64> = data
        .files(&folder, "")
        .iter()
        .filter_map(|path| base(path))
        .collect();
    bases.sort_unstable();
    let gaps = epoch.gaps();
    let gap_at = |at: u64| gaps.iter().find(|(from, to)| (*from..*to).contains(&at));
    let mut at = bases.first().copied().unwrap_or(end);
    let needed = (epoch.floor.max(epoch.base)..end).find(|at| gap_at(*at).is_none());
    if let Some(needed) = needed {
        assert!(at <= needed, "{needed} of epoch {n} is gone");
    }
    if at >= end {
        return;
    }
    let mut reader = Reader::open(data.path(), &epoch.key, epoch.id, Form::Log, at).unwrap();
    let mut buf = Vec::new();
    loop {
        buf.clear();
        match reader.read(end, 77, &mut buf) {
            Ok(Chunk::Bytes(len)) => {
                assert!((at..at + len as u64).all(|at| gap_at(at).is_none()));
                assert_eq!(buf, bytes(n, at, at + len as u64), "epoch {n} at {at}");
                at += len as u64;
            }
            Ok(Chunk::Gap(to)) => {
                let known = gap_at(at).is_some_and(|(_, end)| to <= *end);
                // Retention may have taken a segment between two that are still needed only below the floor.
                assert!(
                    known || to <= epoch.floor,
                    "{at}..{to} is no gap of epoch {n}"
                );
                at = to;
            }
            Ok(Chunk::End) => break,
            Err(ReadError::Missing(at)) => panic!("{at} of epoch {n} is missing: {epoch:?}"),
            Err(e) => panic!("{e:?}"),
        }
    }
    assert_eq!(at, end);
}

pub(super) fn base(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    (!name.ends_with(".new")).then(|| name.split('.').next()?.parse().ok())?
}
