//! Real containers through collector, forwarder and listener: what Docker stored stands in the `.log`, in the merged
//! `.log` and, where it parses, in the merged `.json`.

use std::process::Command;
use std::time::Duration;

use swarm::{
    Container, ContainerSpec, Daemon, Image, Master, Programs, Worker, WorkerSpec, container_lines,
};

use crate::support::{
    ARRIVAL, assert_interleaving, assert_records, assert_same_lines, folder, line_count,
    need_docker, unique, wait_lines,
};

const LINES: u64 = 50_000;

/// A fleet on one worker: its containers carry one label.
struct Fleet {
    label: String,
    containers: Vec<Container>,
    arguments: Vec<Vec<String>>,
}

impl Fleet {
    fn new(word: &str) -> Fleet {
        Fleet {
            label: format!("logferry.test={}", unique(word)),
            containers: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Starts a decoy that writes `count` lines of a profile.
    fn start(
        &mut self,
        daemon: &Daemon,
        image: &Image,
        change: impl FnOnce(ContainerSpec) -> ContainerSpec,
        args: &[&str],
    ) {
        let name = unique("decoy");
        let seed = self.containers.len().to_string();
        let mut all = vec!["--name", &name, "--seed", &seed];
        all.extend(args);
        let spec = change(ContainerSpec::new(&name, &all).label(&self.label));
        self.containers.push(daemon.run(image, &spec).unwrap());
        self.arguments
            .push(all.iter().map(|a| (*a).to_owned()).collect());
    }

    /// What each container wrote to its stdout, octet for octet: the decoy's output is a function of its arguments.
    fn printed(&self) -> Vec<(String, Vec<Vec<u8>>)> {
        let printed = |(container, arguments): (&Container, &Vec<String>)| {
            let output = Command::new(Programs::decoy().unwrap())
                .args(arguments)
                .output()
                .unwrap();
            let lines = output
                .stdout
                .split(|&b| b == b'\n')
                .filter(|l| !l.is_empty());
            (container.name.clone(), lines.map(<[u8]>::to_vec).collect())
        };
        self.containers
            .iter()
            .zip(&self.arguments)
            .map(printed)
            .collect()
    }

    /// What Docker stored of each container's stdout.
    fn stored(&self, tty: bool) -> Vec<(String, Vec<Vec<u8>>)> {
        let stored =
            |c: &Container| container_lines(&c.log_path().unwrap(), "stdout", tty).unwrap();
        self.containers
            .iter()
            .map(|c| (c.name.clone(), stored(c)))
            .collect()
    }

    fn wait_exit(&self) {
        for container in &self.containers {
            container.wait_exit(ARRIVAL).unwrap();
        }
    }
}

fn total(sources: &[(String, Vec<Vec<u8>>)]) -> u64 {
    sources.iter().map(|(_, lines)| lines.len() as u64).sum()
}

/// Three decoys, one of them running before the collector and one with a terminal if asked, through the whole way.
fn carries_three_decoys(read: &str, tty: bool) {
    let Some(daemon) = need_docker() else { return };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let mut fleet = Fleet::new("three");
    let count = LINES.to_string();
    let args = ["--profile", "hostile", "--count", &count, "--rate", "0"];
    let shape = |spec: ContainerSpec| if tty { spec.tty() } else { spec };
    fleet.start(&daemon, &image, shape, &args);

    let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
    master.start().unwrap();
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: fleet.label.clone(),
        read: read.to_owned(),
        stderr: false,
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    worker
        .start_forwarder(master.addr().unwrap(), &master.enroll("w1").unwrap())
        .unwrap();
    worker.start_collector().unwrap();
    fleet.start(&daemon, &image, shape, &args);
    fleet.start(&daemon, &image, shape, &args);
    fleet.wait_exit();

    let sources = fleet.stored(tty);
    // Some of the hostile lines are blank or go to stderr.
    assert!(total(&sources) > 2 * LINES);
    wait_lines(&worker.log(), total(&sources));
    wait_lines(&master.merged_log(), total(&sources));
    worker.stop().unwrap();
    master.stop().unwrap();
    assert_interleaving(&worker.log(), &sources);
    assert_same_lines(&worker.log(), &master.merged_log());
    assert_records(&worker.log(), &master.merged_json());
    assert!(worker.collector_gaps().unwrap().is_empty());
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

/// The `local` driver keeps arbitrary octets, so the `.log` holds what the containers wrote, octet for octet.
#[test]
fn carries_three_decoys_of_the_local_driver() {
    let Some(daemon) = need_docker() else { return };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let mut fleet = Fleet::new("local");
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: fleet.label.clone(),
        ..WorkerSpec::default()
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    worker.start_collector().unwrap();
    let local = |s: ContainerSpec| s.driver("local", &["max-size=100g", "max-file=2"]);
    let count = LINES.to_string();
    let args = ["--profile", "hostile", "--count", &count, "--rate", "0"];
    for _ in 0..3 {
        fleet.start(&daemon, &image, local, &args);
    }
    fleet.wait_exit();
    let sources = fleet.printed();
    wait_lines(&worker.log(), total(&sources));
    worker.stop().unwrap();
    assert_interleaving(&worker.log(), &sources);
}

/// A hundred containers at once on one collector, which starts in the middle.
#[test]
fn carries_a_hundred_containers() {
    let Some(daemon) = need_docker() else { return };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let mut fleet = Fleet::new("hundred");
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: fleet.label.clone(),
        ..WorkerSpec::default()
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    for number in 0..100 {
        fleet.start(
            &daemon,
            &image,
            |s| s,
            &["--profile", "hostile", "--count", "1000", "--rate", "0"],
        );
        if number == 50 {
            worker.start_collector().unwrap();
        }
    }
    fleet.wait_exit();
    let sources = fleet.stored(false);
    wait_lines(&worker.log(), total(&sources));
    worker.stop().unwrap();
    assert_interleaving(&worker.log(), &sources);
}

/// A burst that rotates far faster than anybody reads: what Docker did not delete unread is there, once; what is
/// missing is a recorded gap.
#[test]
fn records_what_rotation_took_from_the_file_reader() {
    burst("file");
}

/// The same through the API, where dockerd itself skips and replays.
#[test]
fn records_what_rotation_took_from_the_api() {
    burst("api");
}

fn burst(read: &str) {
    let Some(daemon) = need_docker() else { return };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let mut fleet = Fleet::new("burst");
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: fleet.label.clone(),
        read: read.to_owned(),
        stderr: false,
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    worker.start_collector().unwrap();
    let rotation = |s: ContainerSpec| s.driver("json-file", &["max-size=10m", "max-file=3"]);
    fleet.start(
        &daemon,
        &image,
        rotation,
        &["--profile", "clean", "--count", "1000000", "--rate", "0"],
    );
    fleet.wait_exit();
    // The last line that Docker stored is the last to be written.
    let stored = fleet.stored(false);
    let last = stored[0].1.last().unwrap().clone();
    swarm::until("the last line", ARRIVAL, || {
        let bytes = std::fs::read(worker.log()).unwrap_or_default();
        Ok(bytes
            .strip_suffix(b"\n")
            .is_some_and(|b| b.ends_with(&last))
            .then_some(()))
    })
    .unwrap();
    worker.stop().unwrap();
    let numbers: Vec<u64> = swarm::merged_lines(&worker.log())
        .unwrap()
        .iter()
        .map(|l| sequence(l))
        .collect();
    assert!(
        numbers.windows(2).all(|w| w[0] < w[1]),
        "a line is repeated or out of order"
    );
    let missing = 1_000_000 - numbers.len() as u64;
    let gaps = worker.collector_gaps().unwrap();
    let holes = numbers.windows(2).filter(|w| w[1] != w[0] + 1).count()
        + usize::from(numbers[0] != first_sequence());
    assert_eq!(
        holes == 0,
        gaps.is_empty(),
        "{missing} lines missing in {holes} holes, gaps: {gaps:?}"
    );
    assert!(gaps.len() >= holes.min(1));
    // What stands in the files at the end must have been read.
    assert!(numbers.len() >= stored[0].1.len());
}

fn first_sequence() -> u64 {
    0
}

/// The `seq="N"` of a line, or `seq=N` where it has no parameters.
fn sequence(line: &[u8]) -> u64 {
    let shown = || -> usize { panic!("no number in {}", String::from_utf8_lossy(line)) };
    let at = memchr::memmem::find(line, b"seq=").unwrap_or_else(shown) + 4;
    let digits = line[at..]
        .iter()
        .skip_while(|b| **b == b'"')
        .take_while(|b| b.is_ascii_digit());
    String::from_utf8(digits.copied().collect())
        .unwrap()
        .parse()
        .unwrap_or_else(|_| shown() as u64)
}

/// Our own daemon is stopped and started while containers write: nothing is lost or doubled.
#[test]
fn survives_a_restart_of_the_docker_daemon() {
    if need_docker().is_none() {
        return;
    }
    let dir = folder();
    let programs = Programs::build().unwrap();
    let mut daemon = Daemon::own(&dir.path().join("docker")).unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let mut fleet = Fleet::new("restart");
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: fleet.label.clone(),
        ..WorkerSpec::default()
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    worker.start_collector().unwrap();
    let args = ["--profile", "hostile", "--count", "20000", "--rate", "2000"];
    for _ in 0..2 {
        fleet.start(&daemon, &image, |s| s, &args);
    }
    wait_lines(&worker.log(), 2_000);
    daemon.stop().unwrap();
    daemon.start().unwrap();
    for container in &fleet.containers {
        container.act("start").unwrap();
    }
    fleet.wait_exit();
    let sources = fleet.stored(false);
    wait_lines(&worker.log(), total(&sources));
    worker.stop().unwrap();
    assert_interleaving(&worker.log(), &sources);
    assert!(line_count(&worker.log()) > 20_000);
    fleet.containers.clear();
    drop(image);
    daemon.stop().unwrap();
}

/// Stop and start of a container go on in the same log, and the cursor survives them.
#[test]
fn goes_on_after_stop_and_start_of_a_container() {
    let Some(daemon) = need_docker() else { return };
    for read in ["file", "api"] {
        let dir = folder();
        let programs = Programs::build().unwrap();
        let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
        let mut fleet = Fleet::new("again");
        let spec = WorkerSpec {
            docker: Some(daemon.host().to_owned()),
            label: fleet.label.clone(),
            read: read.to_owned(),
            stderr: false,
        };
        let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
        worker.start_collector().unwrap();
        fleet.start(
            &daemon,
            &image,
            |s| s,
            &["--profile", "identical", "--count", "5000", "--rate", "0"],
        );
        for _ in 0..3 {
            fleet.wait_exit();
            fleet.containers[0].act("start").unwrap();
        }
        fleet.containers[0]
            .wait_exit(Duration::from_secs(60))
            .unwrap();
        let sources = fleet.stored(false);
        wait_lines(&worker.log(), total(&sources));
        worker.stop().unwrap();
        assert_interleaving(&worker.log(), &sources);
    }
}
