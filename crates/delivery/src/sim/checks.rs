//! What must hold, looked at from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::listener::Listener;
use super::source::{Source, Truths};
use super::store::Epoch;
use super::{HOLE, PROOF};
use crate::EpochId;

/// Whatever was acknowledged is durable.
pub(super) fn nothing_promised_is_lost(listener: &Listener) -> Result<(), String> {
    for (id, promised) in &listener.promised {
        let durable = listener
            .store
            .epochs
            .get(id)
            .map_or(0, |it| it.base + it.synced as u64);
        if durable < *promised {
            return Err(format!(
                "acknowledged {promised} of {id}, durable are {durable}"
            ));
        }
    }
    Ok(())
}

/// Every epoch is what once stood in a file, with holes only where they are recorded.
pub(super) fn holds_what_was_written(listener: &Listener, truths: &Truths) -> Result<(), String> {
    for (id, it) in &listener.store.epochs {
        // What is not synced may be anything after a crash, until recovery.
        let bytes = &it.bytes[..if listener.up {
            it.bytes.len()
        } else {
            it.synced
        }];
        let fits = |truth: &Vec<u8>| {
            let there = truth.get(it.base as usize..it.base as usize + bytes.len());
            there.is_some_and(|there| there.iter().zip(bytes).all(|(a, b)| a == b || *b == HOLE))
        };
        if !bytes.is_empty() && !truths.histories.iter().any(fits) {
            let text = String::from_utf8_lossy(bytes);
            return Err(format!(
                "{id} from {} holds what no file held: {text:?}",
                it.base
            ));
        }
        if !listener.up {
            continue;
        }
        let recorded = |at: u64| {
            let holes = listener.store.holes_of(*id);
            holes.iter().any(|(from, to)| (*from..*to).contains(&at))
        };
        if let Some((from, _)) = it
            .holes()
            .into_iter()
            .find(|(from, to)| !recorded(*from) || !recorded(to - 1))
        {
            return Err(format!("{id} has a hole at {from} that is not recorded"));
        }
    }
    Ok(())
}

/// What stands in the worker's files is archived, whole lines of the live one, all of the others.
pub(super) fn complete(source: &Source, listeners: &[Listener]) -> Result<(), String> {
    let all = merged(listeners);
    for (at, file) in source.files.iter().enumerate() {
        let mut bytes = &file.bytes[..];
        if at == 0
            || source.files[..at]
                .iter()
                .all(|newer| newer.bytes.is_empty())
        {
            let end = bytes
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |lf| lf + 1);
            bytes = &bytes[..end];
        }
        let holds = |id: &EpochId| {
            let held = whole(&all, *id, 0);
            held.len() >= bytes.len() && held.iter().zip(bytes).all(|(a, b)| a == b || *a == HOLE)
        };
        if !bytes.is_empty() && !all.keys().any(holds) {
            return Err(format!(
                "file {at} of {} bytes is not archived",
                bytes.len()
            ));
        }
    }
    Ok(())
}

/// By (epoch, offset), what any archive has.
fn merged(listeners: &[Listener]) -> BTreeMap<EpochId, Epoch> {
    let mut all: BTreeMap<EpochId, Epoch> = BTreeMap::new();
    for (id, it) in listeners.iter().flat_map(|l| &l.store.epochs) {
        let known = all.entry(*id).or_insert_with(|| it.clone());
        let len = known.bytes.len().max(it.bytes.len());
        known.bytes.resize(len, HOLE);
        for (known, byte) in known.bytes.iter_mut().zip(&it.bytes) {
            if *known == HOLE {
                *known = *byte;
            }
        }
    }
    all
}

/// An epoch with what it shares with the one it branched off.
fn whole(all: &BTreeMap<EpochId, Epoch>, id: EpochId, depth: usize) -> Vec<u8> {
    let Some(it) = all.get(&id).filter(|_| depth < 50) else {
        return Vec::new();
    };
    let mut bytes = it.of.map_or_else(Vec::new, |of| whole(all, of, depth + 1));
    bytes.resize(it.base as usize, HOLE);
    bytes.extend_from_slice(&it.bytes);
    bytes
}

/// No archive has a line twice. Lines are numbered; fragments at the borders of epochs and holes do not count. Nor do
/// epochs that begin with a hole and have too little behind it to prove a file: they are not asked to (docs/guarantees.md,
/// "a few bytes behind a gap").
pub(super) fn no_line_twice(listener: &Listener) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let proves = |it: &Epoch| it.bytes.first() != Some(&HOLE) || it.held_at_end() >= PROOF;
    for (id, it) in listener.store.epochs.iter().filter(|(_, it)| proves(it)) {
        let mut inside = it.base == 0;
        for line in it.bytes.split_inclusive(|b| *b == b'\n' || *b == HOLE) {
            let text = line.strip_suffix(b"\n").filter(|_| inside);
            inside = line.ends_with(b"\n");
            // A line that lost its end with the power is continued by the next one.
            let number = text.and_then(|text| Some(&text[..text.iter().position(|b| *b == b':')?]));
            let number = number.and_then(|text| text.rsplit(|b| *b == b'=').next());
            let Some(number) = number.filter(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
            else {
                continue;
            };
            if !seen.insert(number.to_vec()) {
                return Err(format!(
                    "line {} stands twice, again in {id}",
                    String::from_utf8_lossy(number)
                ));
            }
        }
    }
    Ok(())
}
