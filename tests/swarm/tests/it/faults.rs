//! kill -9 at random moments under load: the `.log` is what it would have been without.

use swarm::{ContainerSpec, Programs, Worker, WorkerSpec, container_lines};

use crate::support::{
    ARRIVAL, assert_interleaving, assert_records, folder, line_count, need_docker, unique,
    wait_lines,
};

/// Pauses between kills, in milliseconds, spread by a small generator whose seed is printed by a failure.
struct Pauses(u64);

impl Pauses {
    fn next_ms(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 400
    }
}

fn killed_collector(read: &str, profile: &str, seed: u64) {
    let Some(daemon) = need_docker() else { return };
    let dir = folder();
    let programs = Programs::build().unwrap();
    let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
    let label = format!("logferry.test={}", unique("killed"));
    let spec = WorkerSpec {
        docker: Some(daemon.host().to_owned()),
        label: label.clone(),
        read: read.to_owned(),
        stderr: false,
    };
    let mut worker = Worker::new(&programs, &dir.path().join("w1"), &spec).unwrap();
    let start = |profile: &str, number: u32| {
        let name = unique("decoy");
        let seed = number.to_string();
        let args = [
            "--name",
            &name,
            "--seed",
            &seed,
            "--profile",
            profile,
            "--count",
            "60000",
            "--rate",
            "4000",
        ];
        daemon
            .run(&image, &ContainerSpec::new(&name, &args).label(&label))
            .unwrap()
    };
    let containers = [start(profile, 1), start("identical", 2)];
    let mut pauses = Pauses(seed);
    for _ in 0..50 {
        worker.launch_collector().unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(pauses.next_ms()));
        worker.kill_collector().unwrap();
    }
    worker.start_collector().unwrap();
    let mut sources = Vec::new();
    for container in &containers {
        container.wait_exit(ARRIVAL).unwrap();
        sources.push((
            container.name.clone(),
            container_lines(&container.log_path().unwrap(), "stdout", false).unwrap(),
        ));
    }
    let total = sources.iter().map(|(_, lines)| lines.len() as u64).sum();
    wait_lines(&worker.log(), total);
    worker.stop().unwrap();
    assert_eq!(line_count(&worker.log()), total, "seed {seed}");
    assert_interleaving(&worker.log(), &sources);
    assert_records(&worker.log(), &worker.json());
}

#[test]
fn fifty_kills_of_the_collector_reading_files() {
    killed_collector("file", "hostile", 1);
}

#[test]
fn fifty_kills_of_the_collector_reading_the_api() {
    killed_collector("api", "hostile", 2);
}
