//! Seeds, and the faults that have to be found.

use std::time::Instant;

use super::tally;
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
    tell(runs);
    assert!(
        failed.is_empty(),
        "{} of {runs} failed\n{}",
        failed.len(),
        failed[..failed.len().min(12)].join("\n")
    );
}

/// What the runs met, for whoever looks at it with `--nocapture`; in the full run all of it has to be there.
#[expect(clippy::print_stdout, reason = "a summary")]
fn tell(runs: u64) {
    let tally = tally();
    for (what, times) in &tally {
        println!("{times:>9} {what}");
    }
    if runs >= 1000 {
        let missing: Vec<_> = MET
            .iter()
            .filter(|what| !tally.contains_key(*what))
            .collect();
        assert!(missing.is_empty(), "never met in {runs} runs: {missing:?}");
    }
}

/// Faults and what they lead to.
const MET: [&str; 58] = [
    "an earlier epoch grew",
    "another master has to tell",
    "beat",
    "branch",
    "branch of what proves too little",
    "conflict",
    "connection broken",
    "cut with bytes on their way",
    "compressed beside the plain one",
    "deletion",
    "disk full",
    "drain",
    "drained",
    "epoch adopted",
    "failed sync",
    "file found by its content",
    "file shorter than what was sent",
    "forwarder killed",
    "forwarder's state lost",
    "forwarder's state older",
    "gap",
    "gap that a sibling holds",
    "half-open",
    "index lost",
    "index made again",
    "index made whole by the witness",
    "index older by one window",
    "index older by several windows",
    "inode used again",
    "late write",
    "listener killed",
    "listener too late",
    "master lost power",
    "master not reached",
    "master's unsynced bytes lost",
    "master's unsynced bytes torn",
    "own file unreadable",
    "refused by one that drains",
    "resume of a sealed epoch",
    "roll: gone",
    "roll: rotated",
    "roll: truncated",
    "rotation by compression",
    "rotation by copy and cut",
    "rotation by rename",
    "rotation while the forwarder is down",
    "seal",
    "silent connection displaced",
    "state from before a branch",
    "superseded",
    "takeover",
    "takeover of one that waited",
    "too many connections",
    "twin",
    "window that failed at the index",
    "worker lost power",
    "worker restored from a copy",
    "worker's unsynced bytes lost",
];

/// Under ten seconds of one core without optimisation.
const RUNS: u64 = 3000;

#[track_caller]
#[expect(clippy::print_stdout, reason = "a summary")]
fn finds(bug: Bug) {
    let start = Instant::now();
    let found = (0..1000).find_map(|seed| run(seed, Some(bug), start).err().map(|e| (seed, e)));
    let Some((seed, how)) = found else {
        panic!("{bug:?} was not found in 1,000 runs");
    };
    println!("{bug:?}: seed {seed}: {how}");
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

#[test]
fn finds_a_branch_without_a_question() {
    finds(Bug::UnaskedBranch);
}
