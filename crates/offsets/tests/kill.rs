//! A real process, killed with -9 at random places under load, with nearly equal lines, others' lines
//! and rotations: the files are what they would have been without. And one that runs against a real
//! limit of file size.
//!
//! The process is this test program itself: `child` does nothing unless its directory is given.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use offsets::{AppendError, Appender, Change, Limits, Recovered, Store};

const DIR: &str = "OFFSETS_TEST_DIR";

#[test]
fn stands_exactly_once_over_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(u64::from(std::process::id()) * 2 + 1);
    let targets = targets(dir.path());
    let mut rotated: [Vec<PathBuf>; 2] = Default::default();
    // Somebody who appends whole lines all the time, as DECNET's sniffer does.
    let over = Arc::new(AtomicBool::new(false));
    let sniffer = std::thread::spawn({
        let (over, targets) = (Arc::clone(&over), targets.clone());
        move || {
            while !over.load(Ordering::SeqCst) {
                for target in targets.iter().filter(|target| target.exists()) {
                    append(target, b"Foreign line\n");
                }
            }
        }
    });
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let mut child = start(child.args(["--exact", "child"]), dir.path());
        // The moment is a place in the files, so that a slow machine is hit as widely as a fast one.
        let goal = size(&targets[0]) + dice.below(400_000);
        wait_until(&mut child, || size(&targets[0]) >= goal);
        kill(child);
        match dice.below(4) {
            0 => append(&targets[0], b"Foreign\n"),
            1 => append(&targets[1], b"Foreign torn"),
            2 => {
                let index = usize::try_from(dice.below(2)).unwrap();
                let to = dir.path().join(format!("log/{index}.{round}"));
                if fs::rename(&targets[index], &to).is_ok() {
                    rotated[index].push(to);
                }
            }
            _ => {}
        }
    }
    over.store(true, Ordering::SeqCst);
    sniffer.join().unwrap();
    check(dir.path(), &rotated);
}

#[test]
fn stands_exactly_once_against_a_file_size_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice(u64::from(std::process::id()) * 4 + 1);
    let targets = targets(dir.path());
    let mut rotated: [Vec<PathBuf>; 2] = Default::default();
    let blocked = dir.path().join("blocked");
    for round in 0..20 {
        let _ = fs::remove_file(&blocked);
        // 300 KiB: redo slots and checkpoints stay below it, targets do not.
        let script = "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\"";
        let mut child = Command::new("sh");
        child
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "child"]);
        let mut child = start(&mut child, dir.path());
        wait_until(&mut child, || blocked.exists());
        if dice.below(3) == 0 {
            kill(child);
            rotate(dir.path(), round, &mut rotated);
            continue;
        }
        rotate(dir.path(), round, &mut rotated);
        wait_until(&mut child, || {
            size(&targets[0]) > 1000 || size(&targets[1]) > 1000
        });
        kill(child);
    }
    check(dir.path(), &rotated);
}

/// Makes room: what is over half the limit is renamed away.
fn rotate(dir: &Path, round: usize, rotated: &mut [Vec<PathBuf>; 2]) {
    for (index, target) in targets(dir).iter().enumerate() {
        if size(target) > 150 << 10 {
            let to = dir.join(format!("log/{index}.{round}"));
            fs::rename(target, &to).unwrap();
            rotated[index].push(to);
        }
    }
}

/// Opens a last time, and compares.
fn check(dir: &Path, rotated: &[Vec<PathBuf>; 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (n, recovered) = runtime.block_on(async {
        let (appender, recovered) = open(dir).await;
        (next(&appender).await, recovered)
    });
    assert!(
        !recovered
            .iter()
            .any(|one| matches!(one, Recovered::Uncertain { .. })),
        "{recovered:?}"
    );
    assert!(n > 10, "the child hardly wrote: {n}");
    for (index, target) in targets(dir).iter().enumerate() {
        let expected: Vec<u8> = (0..n).flat_map(|n| batch(n).swap_remove(index)).collect();
        let mut found = Vec::new();
        for path in rotated[index].iter().chain([target]) {
            let bytes = fs::read(path).unwrap_or_default();
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                // What could not be ended at the limit stands again, whole, in the next file.
                if line.ends_with(b"\n") && line != b"\n" && !line.contains(&b'F') {
                    found.extend_from_slice(line);
                }
            }
        }
        assert_eq!(
            found.len(),
            expected.len(),
            "target {index} after {n} batches"
        );
        assert!(found == expected, "target {index} after {n} batches");
    }
}

/// The process that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // An orphan ends: its parent failed.
    let parent = std::os::unix::process::parent_id();
    runtime.block_on(async {
        let (mut appender, _) = loop {
            match try_open(&dir).await {
                Ok(opened) => break opened,
                Err(AppendError::Blocked { .. }) => pause(&dir).await,
                Err(error) => panic!("{error:?}"),
            }
        };
        let mut n = next(&appender).await;
        while std::os::unix::process::parent_id() == parent {
            n += 1;
            let change = Change::Put {
                key: "n".into(),
                value: n.to_string().into_bytes(),
            };
            let mut result = appender.append(batch(n - 1), vec![change]).await;
            while let Err(error) = result {
                assert!(matches!(error, AppendError::Blocked { .. }), "{error:?}");
                assert_eq!(std::os::unix::process::parent_id(), parent, "an orphan");
                pause(&dir).await;
                result = appender.resume().await;
            }
        }
    });
}

async fn pause(dir: &Path) {
    fs::write(dir.join("blocked"), b"").unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
}

async fn try_open(dir: &Path) -> Result<(Appender, Vec<Recovered>), AppendError> {
    let store = Store::open(dir.join("state/offsets.sqlite")).await.unwrap();
    Appender::open(
        store,
        dir.join("state/redo"),
        &targets(dir),
        Limits::default(),
    )
    .await
}

async fn open(dir: &Path) -> (Appender, Vec<Recovered>) {
    try_open(dir).await.unwrap()
}

async fn next(appender: &Appender) -> u64 {
    let n = appender.store().get("n").await.unwrap();
    n.map_or(0, |n| String::from_utf8(n).unwrap().parse().unwrap())
}

/// Batch `n`: lengths differ, lines hardly do.
fn batch(n: u64) -> Vec<Vec<u8>> {
    let mut dice = Dice(n * 2 + 1);
    let mut part = || {
        let mut part = Vec::new();
        for _ in 0..dice.below(200) {
            let line: &[u8] = if dice.below(20) == 0 {
                b"almost the same line\n"
            } else {
                b"the same line\n"
            };
            part.extend_from_slice(line);
        }
        if dice.below(10) == 0 {
            part.extend(vec![b'x'; 30_000]);
            part.push(b'\n');
        }
        part
    };
    vec![part(), part()]
}

fn targets(dir: &Path) -> Vec<PathBuf> {
    vec![dir.join("log/decky.log"), dir.join("log/decky.json")]
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

fn start(command: &mut Command, dir: &Path) -> Child {
    command
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn wait_until(child: &mut Child, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended by itself"
        );
        assert!(Instant::now() < deadline, "the child does not get there");
        std::thread::yield_now();
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}
