//! What most end-to-end tests stand on: a worker, perhaps a master, and decoys in containers of one label.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser as _;
use decoy::{Args, Expected};
use swarm::{
    Container, ContainerSpec, Daemon, Image, Master, Programs, Source, Worker, WorkerSpec,
    archived_lines, container_lines, until,
};
use tempfile::TempDir;

use crate::support::{
    ARRIVAL, assert_interleaving, assert_same_lines, folder, need_docker, wait_lines,
};
use crate::{books, records};

/// The worker's name.
pub(crate) const WORKER: &str = "w1";

/// What a test asks for.
pub(crate) struct Plan {
    word: &'static str,
    read: String,
    master: bool,
    own_daemon: bool,
}

/// What it gets; containers go before their image, and that before its daemon.
pub(crate) struct Stage {
    decoys: Vec<Played>,
    label: String,
    image: Image,
    pub(crate) worker: Worker,
    pub(crate) master: Option<Master>,
    pub(crate) daemon: Daemon,
    _dir: TempDir,
}

/// A decoy in a container, and what it was asked to print.
struct Played {
    container: Container,
    args: Args,
    tty: bool,
}

impl Plan {
    /// `read` of the collector.
    pub(crate) fn read(mut self, read: &str) -> Plan {
        read.clone_into(&mut self.read);
        self
    }

    /// A master too, to which the worker's forwarder delivers.
    pub(crate) fn with_master(mut self) -> Plan {
        self.master = true;
        self
    }

    /// A Docker daemon that the test may stop.
    pub(crate) fn on_own_daemon(mut self) -> Plan {
        self.own_daemon = true;
        self
    }

    /// Sets it up; the collector waits for the test. `None`, and a counted skip, without Docker.
    pub(crate) fn set(self) -> Option<Stage> {
        let mut daemon = need_docker()?;
        let dir = folder();
        if self.own_daemon {
            daemon = Daemon::own(&dir.path().join("docker")).unwrap();
        }
        let programs = Programs::build().unwrap();
        let image = daemon.image(&Programs::decoy().unwrap()).unwrap();
        let label = format!("logferry.test={}", unique(self.word));
        let spec = WorkerSpec {
            docker: Some(daemon.host().to_owned()),
            label: label.clone(),
            read: self.read,
            ..WorkerSpec::default()
        };
        let mut worker = Worker::new(&programs, &dir.path().join(WORKER), &spec).unwrap();
        let master = self.master.then(|| {
            let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
            master.start().unwrap();
            let identity = master.enroll(WORKER).unwrap();
            let addr = master.addr().unwrap();
            worker.start_forwarder(addr, &identity).unwrap();
            master
        });
        Some(Stage {
            decoys: Vec::new(),
            label,
            image,
            worker,
            master,
            daemon,
            _dir: dir,
        })
    }
}

impl Stage {
    /// A worker alone, reading as it chooses, on the machine's daemon.
    pub(crate) fn plan(word: &'static str) -> Plan {
        Plan {
            word,
            read: String::new(),
            master: false,
            own_daemon: false,
        }
    }

    /// Starts a decoy with these arguments, its container changed as the test likes.
    pub(crate) fn play(
        &mut self,
        change: impl FnOnce(ContainerSpec) -> ContainerSpec,
        args: &[&str],
    ) {
        let name = unique("decoy");
        let seed = self.decoys.len().to_string();
        let mut all = vec!["--name", &name, "--seed", &seed];
        all.extend(args);
        let spec = change(ContainerSpec::new(&name, &all).label(&self.label));
        self.decoys.push(Played {
            container: self.daemon.run(&self.image, &spec).unwrap(),
            args: Args::parse_from(["decoy"].iter().chain(&all)),
            tty: spec.tty,
        });
    }

    /// `docker VERB` on every container.
    pub(crate) fn act(&self, verb: &str) {
        for decoy in &self.decoys {
            decoy.container.act(verb).unwrap();
        }
    }

    /// Waits until every decoy has ended.
    pub(crate) fn wait_exit(&self) {
        for decoy in &self.decoys {
            decoy.container.wait_exit(ARRIVAL).unwrap();
        }
    }

    /// What each decoy printed on its stdout, octet for octet: a function of its arguments.
    pub(crate) fn printed(&self) -> Vec<Source> {
        let printed = |decoy: &Played| Source {
            name: decoy.args.name.clone(),
            lines: decoy.script().map(|(line, _)| line).collect(),
            stamps: Vec::new(),
        };
        self.decoys.iter().map(printed).collect()
    }

    /// What Docker stored of each decoy's stdout.
    pub(crate) fn stored(&self) -> Vec<Source> {
        let stored = |decoy: &Played| {
            let path = decoy.container.log_path().unwrap();
            container_lines(&decoy.container.name, &path, "stdout", decoy.tty).unwrap()
        };
        self.decoys.iter().map(stored).collect()
    }

    /// For each decoy, its lines and the records that they must become.
    pub(crate) fn scripts(&self) -> Vec<Script<'_>> {
        self.decoys
            .iter()
            .map(|d| Box::new(d.script()) as Script<'_>)
            .collect()
    }

    /// Waits until every line of the sources is where it belongs, asks for the books, stops the programs, and asserts
    /// that `.log` and merged `.log` hold the sources and nothing else.
    pub(crate) fn arrives(&mut self, sources: &[Source]) {
        let count = total(sources);
        wait_lines(&self.worker.log(), count);
        if let Some(master) = &self.master {
            wait_lines(&master.merged_log(), count);
        }
        books::assert_collector(&self.worker, sources);
        if self.master.is_some() {
            books::assert_forwarder(&self.worker);
        }
        self.worker.stop().unwrap();
        assert_interleaving(&self.worker.log(), sources);
        assert!(self.worker.collector_gaps().unwrap().is_empty());
        if let Some(master) = &mut self.master {
            master.stop().unwrap();
            assert_same_lines(&self.worker.log(), &master.merged_log());
        }
    }

    /// Asserts all fields of all records, in the worker's `.json` and in the merged one, after [`Stage::arrives`].
    pub(crate) fn assert_records(&self, sources: &[Source], altered: records::Altered) {
        let lines = swarm::merged_lines(&self.worker.log()).unwrap();
        let found = swarm::interleaving(&lines, sources);
        let text = records::Text {
            lines: &lines,
            places: &found.places,
            sources,
            altered,
        };
        text.assert_worker(&self.worker.json(), self.scripts());
        if let Some(master) = &self.master {
            let archived = archived_lines(&master.data(), WORKER, self.worker.stream()).unwrap();
            text.assert_master(&master.merged_json(), self.scripts(), &archived);
        }
    }

    /// Removes the containers and the image, so that a daemon of our own may stop.
    pub(crate) fn strike(self) {
        let Stage {
            decoys,
            image,
            mut daemon,
            ..
        } = self;
        drop(decoys);
        drop(image);
        daemon.stop().unwrap();
    }
}

/// Lines without LF, and their records.
pub(crate) type Script<'a> = Box<dyn Iterator<Item = (Vec<u8>, Option<Expected>)> + 'a>;

impl Played {
    fn script(&self) -> impl Iterator<Item = (Vec<u8>, Option<Expected>)> + use<> {
        let decoy = self.args.decoy();
        let numbers = self.args.start..self.args.start + self.args.count;
        numbers.flat_map(move |seq| {
            let emission = decoy.emission(seq);
            let lines = emission.lines();
            lines
                .map(|(line, record)| (line.to_vec(), record.cloned()))
                .collect::<Vec<_>>()
        })
    }
}

/// Lines of all sources.
pub(crate) fn total(sources: &[Source]) -> u64 {
    sources.iter().map(|source| source.lines.len() as u64).sum()
}

/// A word that no other test and no other run uses, for labels and names.
pub(crate) fn unique(word: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("lf-{word}-{}-{number}", std::process::id())
}

/// Waits until the last line of a file ends in `last`.
pub(crate) fn wait_last_line(file: &std::path::Path, last: &[u8]) {
    until("the last line", ARRIVAL, || {
        let bytes = std::fs::read(file).unwrap_or_default();
        let line = bytes.strip_suffix(b"\n");
        Ok(line.is_some_and(|line| line.ends_with(last)).then_some(()))
    })
    .unwrap();
}
