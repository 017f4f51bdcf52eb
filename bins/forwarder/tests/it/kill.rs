//! kill -9 of the real program at random moments, under load and rotation.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::bed::{Bed, line, lines, until};
use crate::faults::complete;
use crate::master::{Manner, Master, assert_same};
use crate::receiver::Receiver;

const KILLS: u64 = 6;

struct Program(Child);

impl Program {
    fn start(config: &std::path::Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_logferry-forwarder"))
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_and_tears_nothing() {
    let bed = Arc::new(Bed::new().await);
    let receiver = Receiver::start(&bed).await;
    let config = bed.config_file(&[receiver.port], "");
    let written = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (bed, written, done) = (Arc::clone(&bed), Arc::clone(&written), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                let bytes = lines(n..n + 20);
                // Two writes a batch: the first ends in mid-line.
                let cut = bytes.len() - 7;
                bed.append(&bytes[..cut]);
                std::thread::yield_now();
                bed.append(&bytes[cut..]);
                n += 20;
                written.store(n, Ordering::Relaxed);
                if n.is_multiple_of(4000) {
                    bed.rotate();
                }
                std::thread::sleep(Duration::from_millis(8));
            }
        })
    };
    for kill in 0..KILLS {
        let program = Program::start(&config);
        let before = receiver.count();
        // Some die before they are connected, some in mid-stream, some after their first commit.
        let life = Duration::from_millis(
            rand::random_range(30..400) + if kill % 2 == 1 { 2500 } else { 0 },
        );
        if kill % 2 == 1 {
            until(async || receiver.count() > before).await;
        }
        tokio::time::sleep(life).await;
        drop(program);
    }
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let count = written.load(Ordering::Relaxed);
    let program = Program::start(&config);
    until(async || receiver.messages().last() == Some(&line(count - 1))).await;
    drop(program);

    let mut seen = vec![false; count as usize];
    for brought in receiver.connections() {
        let mut last = None;
        for message in brought.messages {
            let digits = &message[message.len().min(69)..message.len().min(78)];
            let n: u64 = std::str::from_utf8(digits).unwrap().parse().unwrap();
            assert!(message == line(n), "line {n} is not what was written");
            assert!(last.is_none_or(|last| n == last + 1), "{n} after {last:?}");
            last = Some(n);
            seen[n as usize] = true;
        }
    }
    let lost = seen.iter().filter(|seen| !**seen).count();
    assert_eq!(lost, 0, "of {count}");
    assert!(bed.ledger().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_in_order_and_nothing_comes_twice() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let config = bed.config_file(&[receiver.port], "");
    for round in 0..3 {
        bed.append(&lines(round * 500..(round + 1) * 500));
        let mut program = Program::start(&config);
        receiver.has((round as usize + 1) * 500).await;
        let pid = rustix::process::Pid::from_child(&program.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(program.0.wait().unwrap().code(), Some(0));
    }
    let expected: Vec<_> = (0..1500).map(line).collect();
    assert!(receiver.messages() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_from_the_stored_offset_on() {
    let bed = Bed::new().await;
    let receiver = Receiver::start(&bed).await;
    let config = bed.config_file(&[receiver.port], "");
    bed.append(&lines(0..500));
    let program = Program::start(&config);
    receiver.has(500).await;
    let size = lines(0..500).len();
    let stored = |bed: &Bed| {
        let output = Command::new(env!("CARGO_BIN_EXE_logferry-forwarder"))
            .args(["offsets", "--json", "--config"])
            .arg(bed.dir.path().join("forwarder.toml"))
            .output()
            .unwrap();
        let stream: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        stream["offset"].as_u64().unwrap() as usize
    };
    until(async || stored(&bed) == size).await;
    bed.append(&lines(500..600));
    receiver.has(600).await;
    drop(program);
    let _program = Program::start(&config);
    bed.append(&lines(600..700));
    until(async || receiver.messages().last() == Some(&line(699))).await;
    let connections = receiver.connections();
    complete(&connections, 700);
    let second = &connections[1].messages[0];
    assert!(
        (500..=600).any(|n| line(n) == *second),
        "only what was not stored comes again"
    );
}

/// The same under a master that acknowledges, with rotations of both kinds: nothing comes twice either.
#[tokio::test(flavor = "multi_thread")]
async fn with_acknowledgements_nothing_is_lost_or_repeated() {
    let bed = Arc::new(Bed::new().await);
    let mut master = Master::start(&bed).await;
    let port = master.port;
    let config = bed.config_file(&[port], "delivery = \"acknowledged\"");
    let written = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (bed, written, done) = (Arc::clone(&bed), Arc::clone(&written), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                bed.append(&lines(n..n + 20));
                n += 20;
                written.store(n, Ordering::Relaxed);
                if n.is_multiple_of(1500) {
                    bed.rotate();
                }
                std::thread::sleep(Duration::from_millis(8));
            }
        })
    };
    for kill in 0..KILLS {
        let program = Program::start(&config);
        let before = master.archive().text().len();
        let life = Duration::from_millis(rand::random_range(30..700));
        if kill % 2 == 1 {
            until(async || master.archive().text().len() > before).await;
        }
        tokio::time::sleep(life).await;
        if kill % 3 == 2 {
            let archive = master.kill().await;
            master = Master::start_at(&bed, port, archive, Manner::Serve).await;
        }
        drop(program);
        if kill == 3 {
            std::fs::remove_dir_all(bed.state()).unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let count = written.load(Ordering::Relaxed);
    let program = Program::start(&config);
    let end = [&line(count - 1)[..], b"\n"].concat();
    until(async || master.archive().text().ends_with(&end)).await;
    drop(program);
    assert_same(&master.archive().text(), &lines(0..count));
    assert!(bed.ledger().is_empty());
}
