//! A full disk: first clients are held up, then records are dropped and counted, then it goes on.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::bed::{Bed, SESSION, frame, until};

/// A small file system of our own.
struct Small(PathBuf);

impl Small {
    /// `None` without the right to mount.
    fn mount(at: &Path, kib: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={kib}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "logferry-test"])
            .arg(at)
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Leaves so many octets.
    fn fill(&self, leave: u64) {
        let found = rustix::fs::statvfs(&self.0).unwrap();
        let fill = (found.f_bavail * found.f_frsize).saturating_sub(leave);
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        // Somebody else may have taken some of it meanwhile.
        let _ = file.write_all(&vec![b'x'; usize::try_from(fill).unwrap()]);
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A test that failed may still hold it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn skip(test: &str) {
    service::testing::skip(test, "the right to mount a tmpfs (run as root)");
}

/// Writes frames of 50 records until `stop` says so or the socket does not take one within `patience`; gives the next
/// number, and whether the client was held up.
async fn write_until(
    stream: &mut UnixStream,
    mut next: i32,
    patience: Duration,
    mut stop: impl AsyncFnMut() -> bool,
) -> (i32, bool) {
    stream.set_write_timeout(Some(patience)).unwrap();
    // Asking takes longer than writing does.
    while next % 400 != 0 || !stop().await {
        let wire = frame(SESSION, next..next + 50);
        let mut rest = wire.as_slice();
        let mut held_up = false;
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(more) => rest = &rest[more..],
                Err(_) => held_up = true,
            }
        }
        next += 50;
        if held_up {
            return (next, true);
        }
    }
    (next, false)
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_up_then_drops_and_counts_then_goes_on() {
    let bed = Bed::new();
    let Some(disk) = Small::mount(&bed.path("log"), 32 << 10) else {
        return skip("full::holds_up_then_drops_and_counts_then_goes_on");
    };
    bed.configure("commit = { max_bytes = \"64KiB\" }\nlimits = { full_wait = \"2s\" }");
    let proxy = bed.start();
    let mut client = bed.connect();
    client.write_all(&frame(SESSION, 0..50)).unwrap();
    bed.has(50).await;
    disk.fill(100 << 10);
    let dropped = "logs_dropped_total{reason=\"buffer_full\"}";

    // The client's writes come to a stand before anything is dropped.
    let (next, held_up) = write_until(&mut client, 50, Duration::from_millis(100), async || {
        bed.original(dropped).await > 0
    })
    .await;
    assert!(held_up, "nobody was held up");
    assert_eq!(bed.ours("blocked").await, 1);
    let (ready, _) = service::status::query(&bed.config().status, "/readyz")
        .await
        .unwrap();
    assert_eq!(ready, 503);
    // Not for ever: then it is read again, and dropped.
    let (next, _) = write_until(&mut client, next, Duration::from_secs(30), async || {
        bed.original(dropped).await > 0
    })
    .await;
    let (next, _) = write_until(&mut client, next, Duration::from_secs(30), async || {
        bed.original(dropped).await > 2000
    })
    .await;

    disk.free();
    until(async || bed.ours("blocked").await == 0).await;
    // What is sent from now on arrives.
    let before = bed.original(dropped).await;
    client.write_all(&frame(SESSION, next..next + 50)).unwrap();
    until(async || bed.urls().last() == Some(&format!("/{}", next + 49))).await;
    assert_eq!(bed.original(dropped).await, before);
    let forwarded = bed.original("batches_forwarded_total").await;
    let batches = bed
        .original("batches_dropped_total{reason=\"buffer_full\"}")
        .await;
    proxy.stop().await.unwrap();

    // The books balance: what was sent is there or counted, in order, once.
    let sent = (next + 50) as u64;
    let records = bed.records();
    assert_eq!(records.len() as u64 + before, sent);
    assert_eq!(forwarded + batches, sent / 50);
    let numbers: Vec<i64> = records
        .iter()
        .map(|record| record["sequence_number"].as_i64().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let told = bed.ledger();
    let told = told.iter().filter(|fact| fact["cause"] == "buffer_full");
    let told: u64 = told.map(|fact| fact["records"].as_u64().unwrap()).sum();
    assert_eq!(told, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_on_a_full_disk_ends_and_the_next_start_writes_the_rest() {
    let bed = Bed::new();
    let Some(disk) = Small::mount(&bed.path("log"), 4 << 10) else {
        return skip("full::a_stop_on_a_full_disk_ends_and_the_next_start_writes_the_rest");
    };
    bed.configure("limits = { drain = \"300ms\" }");
    let proxy = bed.start();
    let mut client = bed.connect();
    client.write_all(&frame(SESSION, 0..50)).unwrap();
    bed.has(50).await;
    disk.fill(0);
    client.write_all(&frame(SESSION, 50..100)).unwrap();
    until(async || bed.ours("blocked").await == 1).await;
    assert!(proxy.stop().await.is_err(), "not everything was written");
    disk.free();
    // The batch stands in the redo file.
    let proxy = bed.start();
    bed.has(100).await;
    proxy.stop().await.unwrap();
    let expected: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
    assert_eq!(bed.urls(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_counted() {
    let bed = Bed::new();
    let Some(disk) = Small::mount(&bed.path("state"), 4 << 10) else {
        return skip("full::what_is_given_up_is_counted");
    };
    bed.configure("limits = { drain = \"300ms\" }");
    let proxy = bed.start();
    let mut client = bed.connect();
    client.write_all(&frame(SESSION, 0..1)).unwrap();
    bed.has(1).await;
    disk.fill(0);
    // More than the redo file had room for until now.
    for n in 0..100 {
        client
            .write_all(&frame(SESSION, 1 + n * 50..51 + n * 50))
            .unwrap();
    }
    until(async || bed.ours("blocked").await == 1).await;
    let config = bed.config();
    let stopped = proxy.stop().await;
    assert!(stopped.is_err());
    // Lines are whole, whatever was given up.
    let lines = fs::read(&config.log).unwrap();
    assert!(lines.ends_with(b"\n"));
    let expected: Vec<String> = (0..bed.records().len()).map(|n| format!("/{n}")).collect();
    assert_eq!(bed.urls(), expected);
    disk.free();
    let proxy = bed.start();
    let kept = bed.records().len() as i32;
    let mut client = bed.connect();
    for n in 0..30 {
        client
            .write_all(&frame(SESSION, 6000 + n * 10..6010 + n * 10))
            .unwrap();
    }
    until(async || bed.ours("sequence_missing_records_total").await == (6000 - kept) as u64).await;
    proxy.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_can_not_be_opened_keeps_nothing() {
    let bed = Bed::new();
    bed.configure("limits = { drain = \"300ms\" }");
    let proxy = bed.start();
    let mut client = bed.connect();
    client.write_all(&frame(SESSION, 0..1)).unwrap();
    bed.has(1).await;
    // It stands in its way before the group is announced: the next start knows nothing of it.
    let config = bed.config();
    fs::remove_file(&config.log).unwrap();
    fs::create_dir(&config.log).unwrap();
    client.write_all(&frame(SESSION, 1..4)).unwrap();
    until(async || {
        let (_, body) = service::status::query(&config.status, "/metrics")
            .await
            .unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.contains("logferry_audit_proxy_blocked 1\n")
    })
    .await;
    assert!(proxy.stop().await.is_err());
    fs::remove_dir(&config.log).unwrap();
    let told = bed.ledger();
    let told: Vec<_> = told
        .iter()
        .filter(|fact| fact["cause"] == "forward_failed")
        .map(|fact| fact["records"].as_u64())
        .collect();
    assert_eq!(told, [Some(3)]);
}
