//! The demo: one master and two workers on this machine, with decoys in containers, or, without Docker, decoys that
//! write the workers' `.log` files.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::child::Child;
use crate::docker::{Container, ContainerSpec, Daemon, Image};
use crate::master::Master;
use crate::programs::Programs;
use crate::worker::{Worker, WorkerSpec};

const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
const SERVICES: [&str; 2] = ["ssh", "http"];

/// Prints a line for the person who watches.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to stop.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Where lines come from, kept alive while the demo runs; containers go before their image.
struct Decoys {
    _containers: Vec<Container>,
    _image: Option<Image>,
    _writers: Vec<Child>,
}

/// Runs the demo until Ctrl-C, or for `seconds` if that is not 0.
///
/// # Errors
/// A program can't be built or does not come up.
pub fn run(seconds: u64, rate: u32) -> anyhow::Result<()> {
    let (stop, stopped) = channel();
    ctrlc::set_handler(move || {
        let _ = stop.send(());
    })?;
    let programs = Programs::build()?;
    let decoy = Programs::decoy()?;
    let dir = tempfile::Builder::new()
        .prefix("logferry-demo-")
        .tempdir()?;
    let daemon = Daemon::system();
    match &daemon {
        Some(daemon) => say(&format!("decoys run as containers of {}", daemon.host())),
        None => say("no Docker daemon answers: decoys write the workers' .log files themselves"),
    }

    let mut master = Master::init(&programs, &dir.path().join("master"))?;
    master.start()?;
    say(&format!(
        "master listens on {} (mutual TLS)",
        master.addr()?
    ));

    let run = std::process::id();
    let mut workers = Vec::new();
    for name in WORKERS {
        let spec = WorkerSpec {
            docker: daemon.as_ref().map(|d| d.host().to_owned()),
            label: format!("logferry.demo={name}-{run}"),
            ..WorkerSpec::default()
        };
        let mut worker = Worker::new(&programs, &dir.path().join(name), &spec)?;
        worker.start_forwarder(master.addr()?, &master.enroll(name)?)?;
        if daemon.is_some() {
            worker.start_collector()?;
        }
        workers.push(worker);
    }
    let decoys = start_decoys(daemon.as_ref(), &decoy, dir.path(), &workers, rate)?;
    say(&format!("enrolled and running: {}", WORKERS.join(", ")));
    say("");
    say(&format!(
        "merged lines    {}",
        master.merged_log().display()
    ));
    say(&format!(
        "merged records  {}",
        master.merged_json().display()
    ));
    for name in WORKERS {
        let place = master.data().join("archive").join(name);
        say(&format!("{name} archive  {}", place.display()));
    }
    say("stop with Ctrl-C");
    say("");

    watch(&master, &workers, seconds, || {
        match stopped.recv_timeout(Duration::from_secs(1)) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        }
    })?;

    say("stopping");
    drop(decoys);
    for worker in &mut workers {
        worker.stop()?;
    }
    master.stop()?;
    let kept = dir.keep();
    say(&format!(
        "stopped cleanly; what arrived is kept in {}",
        kept.display()
    ));
    Ok(())
}

fn start_decoys(
    daemon: Option<&Daemon>,
    program: &Path,
    dir: &Path,
    workers: &[Worker],
    rate: u32,
) -> anyhow::Result<Decoys> {
    let mut decoys = Decoys {
        _containers: Vec::new(),
        _image: None,
        _writers: Vec::new(),
    };
    let rate = rate.to_string();
    let run = std::process::id();
    let image = daemon.map(|d| d.image(program)).transpose()?;
    for (name, worker) in WORKERS.iter().zip(workers) {
        for service in SERVICES {
            let decky = format!("{name}-{service}-{run}");
            let args = ["--name", &decky, "--count", "0", "--rate", &rate];
            if let (Some(daemon), Some(image)) = (daemon, &image) {
                let spec =
                    ContainerSpec::new(&decky, &args).label(&format!("logferry.demo={name}-{run}"));
                decoys._containers.push(daemon.run(image, &spec)?);
            } else {
                let log = worker.log();
                let log = log.to_str().context("path is not UTF-8")?;
                let args = args.iter().copied().chain(["--out", log]);
                decoys._writers.push(Child::start(
                    program,
                    args,
                    &[],
                    &dir.join("decoy.messages"),
                )?);
            }
        }
    }
    decoys._image = image;
    Ok(decoys)
}

/// Prints one row a second until `stop` says so or the time is over.
fn watch(
    master: &Master,
    workers: &[Worker],
    seconds: u64,
    mut stop: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut written: Vec<Counter> = workers.iter().map(|w| Counter::new(w.log())).collect();
    let mut merged = Counter::new(master.merged_log());
    while !stop() && (seconds == 0 || begun.elapsed().as_secs() < seconds) {
        let mut row = String::new();
        for ((name, worker), counter) in WORKERS.iter().zip(workers).zip(&mut written) {
            let lines = counter.lines()?;
            let archived = folder_bytes(&master.data().join("archive").join(name));
            let size = std::fs::metadata(worker.log()).map_or(0, |m| m.len());
            row.push_str(&format!(
                "{name}: {lines} lines, {size} bytes written, {archived} archived   "
            ));
        }
        row.push_str(&format!("master: {} lines", merged.lines()?));
        say(&row);
    }
    Ok(())
}

/// Bytes of all segments below a folder.
fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
            Ok(meta)
                if entry
                    .path()
                    .extension()
                    .is_some_and(|e| e == "frames" || e == "log") =>
            {
                meta.len()
            }
            _ => 0,
        })
        .sum()
}

/// Counts a growing file's lines, reading only what is new.
struct Counter {
    path: PathBuf,
    offset: u64,
    lines: u64,
}

impl Counter {
    fn new(path: PathBuf) -> Counter {
        Counter {
            path,
            offset: 0,
            lines: 0,
        }
    }

    fn lines(&mut self) -> anyhow::Result<u64> {
        if let Ok(mut file) = std::fs::File::open(&self.path) {
            file.seek(SeekFrom::Start(self.offset))?;
            let mut buf = vec![0; 1 << 16];
            loop {
                let len = file.read(&mut buf)?;
                if len == 0 {
                    break;
                }
                self.offset += len as u64;
                self.lines += memchr::memchr_iter(b'\n', &buf[..len]).count() as u64;
            }
        }
        Ok(self.lines)
    }
}
