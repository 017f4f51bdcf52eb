//! Real containers through collector, forwarder and listener: what Docker stored stands in the `.log`, in the merged
//! `.log` and, where it parses, in both `.json`.

use swarm::ContainerSpec;

use crate::records::Altered;
use crate::stage::{Stage, total};
use crate::support::{line_count, wait_lines};

const LINES: u64 = 50_000;

/// Three decoys, one of them running before the collector, through the whole way.
fn carries_three_decoys(read: &str, tty: bool) {
    let Some(mut stage) = Stage::plan("three").read(read).with_master().set() else {
        return;
    };
    let count = LINES.to_string();
    let args = ["--profile", "hostile", "--count", &count, "--rate", "0"];
    let shape = |spec: ContainerSpec| if tty { spec.tty() } else { spec };
    stage.play(shape, &args);
    stage.worker.start_collector().unwrap();
    stage.play(shape, &args);
    stage.play(shape, &args);
    stage.wait_exit();

    let sources = stage.stored();
    assert!(total(&sources) > 3 * LINES);
    stage.arrives(&sources);
    stage.assert_records(&sources, Altered::ByDocker);
}

#[test]
fn carries_three_decoys_from_files() {
    carries_three_decoys("file", false);
}

#[test]
fn carries_three_decoys_from_files_of_terminals() {
    carries_three_decoys("file", true);
}

#[test]
fn carries_three_decoys_from_the_api() {
    carries_three_decoys("api", false);
}

#[test]
fn carries_three_decoys_from_the_api_of_terminals() {
    carries_three_decoys("api", true);
}

/// The `local` driver keeps arbitrary octets, so archive and merged `.log` hold what the containers wrote, octet for
/// octet.
#[test]
fn carries_three_decoys_of_the_local_driver() {
    let Some(mut stage) = Stage::plan("local").with_master().set() else {
        return;
    };
    stage.worker.start_collector().unwrap();
    let local = |s: ContainerSpec| s.driver("local", &["max-size=100g", "max-file=2"]);
    let count = LINES.to_string();
    let args = ["--profile", "hostile", "--count", &count, "--rate", "0"];
    for _ in 0..3 {
        stage.play(local, &args);
    }
    stage.wait_exit();
    let sources = stage.printed();
    stage.arrives(&sources);
    stage.assert_records(&sources, Altered::No);
}

/// A hundred containers at once on one collector, which starts in the middle.
#[test]
fn carries_a_hundred_containers() {
    let Some(mut stage) = Stage::plan("hundred").set() else {
        return;
    };
    for number in 0..100 {
        let args = ["--profile", "hostile", "--count", "1000", "--rate", "0"];
        stage.play(|s| s, &args);
        if number == 50 {
            stage.worker.start_collector().unwrap();
        }
    }
    stage.wait_exit();
    let sources = stage.stored();
    stage.arrives(&sources);
    stage.assert_records(&sources, Altered::ByDocker);
}

/// Our own daemon is stopped and started while containers write: nothing is lost or doubled.
#[test]
fn survives_a_restart_of_the_docker_daemon() {
    let Some(mut stage) = Stage::plan("restart").on_own_daemon().set() else {
        return;
    };
    stage.worker.start_collector().unwrap();
    for _ in 0..2 {
        let args = ["--profile", "hostile", "--count", "20000", "--rate", "2000"];
        stage.play(|s| s, &args);
    }
    wait_lines(&stage.worker.log(), 2_000);
    stage.daemon.stop().unwrap();
    stage.daemon.start().unwrap();
    stage.act("start");
    stage.wait_exit();
    let sources = stage.stored();
    stage.arrives(&sources);
    assert!(line_count(&stage.worker.log()) > 20_000);
    stage.strike();
}

/// Stop and start of a container go on in the same log, and the cursor survives them.
#[test]
fn goes_on_after_stop_and_start_of_a_container() {
    for read in ["file", "api"] {
        let Some(mut stage) = Stage::plan("again").read(read).set() else {
            return;
        };
        stage.worker.start_collector().unwrap();
        let args = ["--profile", "identical", "--count", "5000", "--rate", "0"];
        stage.play(|s| s, &args);
        for _ in 0..3 {
            stage.wait_exit();
            stage.act("start");
        }
        stage.wait_exit();
        let sources = stage.stored();
        stage.arrives(&sources);
    }
}
