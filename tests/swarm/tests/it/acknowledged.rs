//! Acknowledged delivery, end to end: a line is in the archive once, whatever happens to either side.

use std::fs;
use std::process::Command;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use swarm::{Worker, WorkerSpec, until};

use crate::books::{assert_stream, number};
use crate::pipe::{Pipe, copy_folder, same};
use crate::stage::WORKER;
use crate::support::ARRIVAL;

const LINES: u64 = 4_000;
/// Copies and cuts of one test.
const ROUNDS: u32 = 8;

#[test]
fn kills_of_either_side_lose_and_repeat_nothing() {
    let mut pipe = Pipe::new("");
    for round in 0..8 {
        let before = pipe.archived().len();
        pipe.write(LINES);
        pipe.wait_archived(before + 1);
        if round % 2 == 0 {
            pipe.worker.kill_forwarder().unwrap();
            pipe.write(LINES);
            pipe.worker.restart_forwarder().unwrap();
        } else {
            pipe.master.kill().unwrap();
            pipe.write(LINES);
            pipe.master.start().unwrap();
        }
    }
    pipe.assert_exact();
}

/// Its state directory is gone: the master knows what it has, and says so.
#[test]
fn a_forwarder_without_memory_repeats_nothing() {
    let mut pipe = Pipe::new("");
    for round in 0..3 {
        pipe.write(LINES);
        if round > 0 {
            pipe.rename();
        }
        pipe.write(LINES / 2);
        pipe.wait_archived(pipe.written.len() / 2);
        pipe.worker.kill_forwarder().unwrap();
        fs::remove_dir_all(pipe.worker.forwarder_state()).unwrap();
        pipe.worker.restart_forwarder().unwrap();
    }
    pipe.assert_exact();
}

#[test]
fn an_older_copy_of_the_forwarders_state_repeats_nothing() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.assert_exact();
    pipe.worker.stop_forwarder().unwrap();
    let copy = pipe.path("copy");
    copy_folder(&pipe.worker.forwarder_state(), &copy);
    pipe.worker.restart_forwarder().unwrap();
    pipe.write(LINES);
    pipe.rename();
    pipe.write(LINES);
    pipe.assert_exact();
    pipe.worker.kill_forwarder().unwrap();
    copy_folder(&copy, &pipe.worker.forwarder_state());
    pipe.worker.restart_forwarder().unwrap();
    pipe.write(LINES);
    pipe.assert_exact();
}

/// A second forwarder with the same identity takes the stream over; the first is fenced.
#[test]
fn a_takeover_repeats_nothing() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.wait_archived(1);
    let spec = WorkerSpec {
        log: Some(pipe.worker.log()),
        ..WorkerSpec::default()
    };
    let mut second = Worker::new(&pipe.programs, &pipe.path("second"), &spec).unwrap();
    second
        .start_forwarder(pipe.master.addr().unwrap(), &pipe.identity)
        .unwrap();
    for _ in 0..10 {
        pipe.write(LINES / 4);
        pipe.wait_archived(pipe.written.len());
    }
    until("a takeover in the ledger", ARRIVAL, || {
        Ok((!pipe.facts("takeover").is_empty()).then_some(()))
    })
    .unwrap();
    second.stop().unwrap();
    pipe.write(LINES);
    pipe.assert_exact();
}

/// A worker that is revoked is cut off while connected, and goes on where it was with a new certificate.
#[test]
fn a_revoked_worker_is_cut_off_and_goes_on_when_enrolled_again() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.assert_exact();
    pipe.master.revoke(WORKER).unwrap();
    until("the forwarder is told", ARRIVAL, || {
        let status = pipe.worker.forwarder_status()?;
        let stream = &status["streams"][0];
        Ok((stream["connected"] == false && stream["error"].is_string()).then_some(()))
    })
    .unwrap();
    let before = pipe.archived().len();
    pipe.write(LINES);
    pipe.worker.stop_forwarder().unwrap();
    pipe.worker
        .start_forwarder(pipe.master.addr().unwrap(), &pipe.identity)
        .unwrap();
    until("the old certificate is refused", ARRIVAL, || {
        let status = pipe.worker.forwarder_status()?;
        Ok(status["streams"][0]["error"].is_string().then_some(()))
    })
    .unwrap();
    assert_eq!(pipe.archived().len(), before);
    pipe.worker.stop_forwarder().unwrap();
    let identity = pipe.master.enroll_again(WORKER).unwrap();
    pipe.worker
        .start_forwarder(pipe.master.addr().unwrap(), &identity)
        .unwrap();
    pipe.assert_exact();
}

/// Three rotations while nobody looks, the oldest compressed, one file still written to after its rename.
#[test]
fn rotations_by_rename_while_the_forwarder_is_down() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.wait_archived(1);
    pipe.worker.kill_forwarder().unwrap();
    for _ in 0..3 {
        pipe.write(LINES / 4);
        pipe.rename();
    }
    let oldest = pipe.rotated(3);
    let status = Command::new("gzip").arg(&oldest).status().unwrap();
    assert!(status.success());
    pipe.write(LINES / 4);
    pipe.worker.restart_forwarder().unwrap();
    pipe.assert_exact();
    pipe.rename();
    pipe.write(LINES / 4);
    pipe.assert_exact();
    let rolls = pipe.facts("rolled").len();
    assert!(rolls >= 4, "{rolls} rolls in the ledger");
}

#[test]
fn copytruncate_with_the_forwarder_up_and_down() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.wait_archived(1);
    pipe.copy_and_truncate();
    pipe.write(LINES);
    pipe.assert_exact();
    pipe.worker.kill_forwarder().unwrap();
    pipe.write(LINES);
    pipe.copy_and_truncate();
    pipe.write(LINES / 2);
    pipe.worker.restart_forwarder().unwrap();
    pipe.assert_exact();
}

/// A forwarder that starts while a file is being copied and cut: before the copy, in the middle of it, between copy and
/// cut, or after both; sometimes with something to deliver, sometimes without.
#[test]
fn copytruncate_around_the_forwarders_start() {
    let mut pipe = Pipe::new("");
    pipe.write(LINES);
    pipe.assert_exact();
    let mut random = SmallRng::seed_from_u64(11);
    for _ in 0..ROUNDS {
        let before = pipe.archived().len();
        pipe.write(random.random_range(1..LINES));
        if random.random_bool(0.7) {
            pipe.wait_archived(before + 1);
        }
        pipe.worker.kill_forwarder().unwrap();
        pipe.write(random.random_range(0..LINES));
        let copy = random.random_range(0..30);
        let moments = [
            copy,
            copy + random.random_range(0..30),
            copy + random.random_range(0..60),
        ];
        pipe.copy_and_truncate_at(moments.map(std::time::Duration::from_millis));
        if random.random_bool(0.5) {
            pipe.wait_archived(before + 1);
        }
    }
    pipe.write(LINES);
    pipe.assert_exact();
}

/// More waits than may: the gap is in the ledger with offsets and cause, in `gaps`, in a metric of both sides, and the
/// books balance.
#[test]
fn a_lag_cap_is_a_recorded_gap() {
    let mut pipe = Pipe::new("max_lag_bytes = \"1MiB\"");
    pipe.write(200);
    pipe.assert_exact();
    let before = pipe.written.len() as u64;
    pipe.master.stop().unwrap();
    while (pipe.written.len() as u64) < before + (4 << 20) {
        pipe.write(LINES);
    }
    pipe.master.start().unwrap();
    let size = pipe.written.len() as u64;
    let stream = until("a stream without lag", ARRIVAL, || {
        let status = pipe.worker.forwarder_status()?;
        let stream = status["streams"][0].clone();
        // The books follow an acknowledgement at the next look at the file.
        let done = stream["acknowledged"] == size && stream["books"]["pending"] == 0;
        Ok(done.then_some(stream))
    })
    .unwrap();
    let gaps = pipe.master.gaps().unwrap();
    assert!(!gaps.is_empty());
    let mut gone = 0;
    for gap in &gaps {
        let (from, to) = (number(&gap["from"]), number(&gap["to"]));
        assert_eq!(gap["cause"], "lag-cap", "{gap}");
        assert_eq!(gap["worker"], WORKER, "{gap}");
        assert_eq!(gap["stream"], pipe.worker.stream(), "{gap}");
        assert_eq!(gap["epoch"], stream["epoch"], "{gap}");
        assert_eq!(number(&gap["bytes"]), to - from, "{gap}");
        assert!(from >= before && to <= size, "{gap}");
        // A gap ends where a line does.
        assert_eq!(pipe.written[to as usize - 1], b'\n', "{gap}");
        gone += to - from;
    }
    // What is archived is what was written, but for the gaps.
    let runs = pipe.runs();
    assert_eq!(runs.len(), gaps.len() + 1, "{runs:?}");
    let mut held = 0;
    for run in &runs {
        let octets: Vec<u8> = run
            .segments
            .iter()
            .flat_map(|path| fs::read(path).unwrap())
            .collect();
        let base = run.base as usize;
        same(
            &octets,
            &pipe.written[base..base + octets.len()],
            "a run of the archive",
        );
        held += octets.len() as u64;
    }
    assert_eq!(held + gone, size);
    // Both sides say so, and the books balance: written = acknowledged + pending + gaps.
    let (forwarder, listener) = (
        pipe.worker.forwarder_metrics().unwrap(),
        pipe.master.metrics().unwrap(),
    );
    let cause = ["cause=\"lag-cap\""];
    let of_forwarder = forwarder.sum("logferry_forwarder_gap_bytes_total", &cause);
    let of_listener = listener.sum("logferry_listener_gap_bytes_total", &cause);
    assert_eq!((of_forwarder, of_listener), (gone as f64, gone as f64));
    assert_eq!(number(&stream["gaps"]), gaps.len() as u64, "{stream:#}");
    assert_stream(&stream, size);
    assert_eq!(number(&stream["books"]["gaps"]), gone, "{stream:#}");
    assert_eq!(number(&stream["books"]["acknowledged"]), held, "{stream:#}");
    pipe.master.verify().unwrap();
    // A gap is the end of nothing.
    pipe.write(200);
    pipe.wait_archived((held as usize) + (pipe.written.len() - size as usize));
}
