//! File → TLS → a sink that throws away: lines a second, and CPU seconds and memory of the forwarder alone.
//!
//! `cargo build --release -p forwarder && cargo run --release -p forwarder --example throughput -- [MIB] [RUNS]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends where it is surprised, and prints what it found"
)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use pki::{Authority, Enrolment, InitOptions, ServerTls, Trust};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let argument = |at: usize| {
        std::env::args()
            .nth(at)
            .map(|text| text.parse::<u64>().unwrap())
    };
    let (mib, runs) = (argument(1).unwrap_or(256), argument(2).unwrap_or(3));
    let dir = tempfile::tempdir().unwrap();
    let (data, identity) = (dir.path().join("master"), dir.path().join("identity"));
    Authority::init(&data, &InitOptions::default(), SystemTime::now())
        .await
        .unwrap();
    let enrolment = Enrolment {
        name: "w1".parse().unwrap(),
        names: Vec::new(),
        out: identity.clone(),
        replace: false,
    };
    pki::enrol(&data, enrolment, SystemTime::now())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::new(AtomicU64::new(0));
    let tls = ServerTls::open(&data, Trust::Registry).await.unwrap();
    tokio::spawn(sink(listener, tls, Arc::clone(&received)));

    let log = dir.path().join("bench.log");
    let lines = write(&log, mib << 20);
    let size = std::fs::metadata(&log).unwrap().len();
    // A frame's header for a three-digit length is three octets longer than the LF it replaces.
    let wire = size + 3 * lines;
    println!("{lines} lines, {size} bytes");
    let program = std::env::current_exe().unwrap();
    let program = program
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("logferry-forwarder");
    for run in 0..runs {
        let state = dir.path().join(format!("state{run}"));
        let config = dir.path().join("forwarder.toml");
        let text = format!(
            "masters = [\"127.0.0.1:{port}\"]\nidentity = {identity:?}\nstate = {state:?}\n[[stream]]\nname = \"bench\"\npath = {log:?}\n"
        );
        std::fs::write(&config, text).unwrap();
        received.store(0, Ordering::Relaxed);
        let mut child = Command::new(&program)
            .args(["run", "--config"])
            .arg(&config)
            .spawn()
            .unwrap();
        while received.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        let start = cpu(&child);
        while received.load(Ordering::Relaxed) < wire {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        let used = cpu(&child) - start;
        let million = lines as f64 / 1e6;
        println!(
            "run {run}: {:.2} M lines/s, {:.0} MB/s, {:.3} CPU s per million lines, {} KiB resident at most",
            million / seconds,
            size as f64 / 1e6 / seconds,
            used / million,
            resident(&child)
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

async fn sink(listener: TcpListener, tls: ServerTls, received: Arc<AtomicU64>) {
    let mut bytes = vec![0; 256 << 10];
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(accepted) = tls.accept(tcp, Duration::from_secs(10)).await else {
            continue;
        };
        let mut stream = accepted.stream;
        while let Ok(more) = stream.read(&mut bytes).await
            && more > 0
        {
            received.fetch_add(more as u64, Ordering::Relaxed);
        }
    }
}

fn write(path: &Path, bytes: u64) -> u64 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut written = 0;
    let mut n: u64 = 0;
    while written < bytes {
        let line = format!(
            "<134>1 2026-06-20T14:03:07.125301+00:00 omega-decky http - request [relay@55555 method=\"POST\" path=\"/wp-login.php\" remote_addr=\"198.51.100.7\" n=\"{n:09}\" body=\"log=admin&pwd=hunter2\" principal=\"admin\" secret_kind=\"plain\"]\n"
        );
        file.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        n += 1;
    }
    file.flush().unwrap();
    n
}

/// User and system time in seconds (proc(5): fields 14 and 15 of `stat`, in ticks of 10 ms).
fn cpu(child: &Child) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident(child: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
