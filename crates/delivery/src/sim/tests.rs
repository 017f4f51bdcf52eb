//! Seeds, and the faults that have to be found.

use std::time::Instant;

use super::world::run;
use crate::bug::Bug;

/// `DELIVERY_SEED=n` replays one seed; `DELIVERY_RUNS=100000` runs so many, from `DELIVERY_FROM` on.
#[test]
fn archives_equal_the_source_under_faults() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let start = Instant::now();
    let (from, runs) = match number("DELIVERY_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("DELIVERY_FROM").unwrap_or(0),
            number("DELIVERY_RUNS").unwrap_or(RUNS),
        ),
    };
    let failed: Vec<String> = (from..from + runs)
        .filter_map(|seed| {
            run(seed, None, start)
                .err()
                .map(|e| format!("DELIVERY_SEED={seed}: {e}"))
        })
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {runs} failed\n{}",
        failed.len(),
        failed[..failed.len().min(12)].join("\n")
    );
}

/// Under ten seconds of one core without optimisation.
const RUNS: u64 = 3000;

#[track_caller]
fn finds(bug: Bug) {
    let start = Instant::now();
    let found = (0..1000).find_map(|seed| run(seed, Some(bug), start).err().map(|e| (seed, e)));
    assert!(found.is_some(), "{bug:?} was not found in 1,000 runs");
}

#[test]
fn finds_an_ack_before_the_fsync() {
    finds(Bug::AckBeforeFsync);
}

#[test]
fn finds_a_resume_off_by_one() {
    finds(Bug::ResumeOffByOne);
}

#[test]
fn finds_a_missing_tail_proof() {
    finds(Bug::NoTailProof);
}

#[test]
fn finds_a_takeover_without_fence() {
    finds(Bug::NoFence);
}

#[test]
fn finds_an_epoch_sent_before_its_resume() {
    finds(Bug::EarlyEpoch);
}

#[test]
fn finds_a_cut_by_an_old_index() {
    finds(Bug::CutByOldIndex);
}
