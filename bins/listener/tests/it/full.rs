//! A full disk under the archive: reading stops, and goes on by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Master, frames, lines, until};

/// A small file system, gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Small> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "logferry-test"])
            .arg(at)
            .output();
        mount
            .is_ok_and(|done| done.status.success())
            .then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[tokio::test]
async fn stops_reading_when_the_disk_is_full_and_goes_on_by_itself() {
    let mut master = Master::init();
    let disk = master.path("disk");
    let Some(_small) = Small::mount(&disk, "24M") else {
        let name = "stops_reading_when_the_disk_is_full_and_goes_on_by_itself";
        service::testing::skip(name, "a tmpfs can't be mounted");
        return;
    };
    let identity = master.enroll("web-1");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(master.data())
        .arg(disk.join("data"))
        .status()
        .unwrap();
    assert!(copied.success());
    fs::remove_dir_all(master.data()).unwrap();
    std::os::unix::fs::symlink(disk.join("data"), master.data()).unwrap();
    let filler = disk.join("filler");
    fs::write(&filler, vec![0; 12 << 20]).unwrap();
    master.start().await;

    let all = 80_000;
    let mut client = master.connect(&identity).await;
    let sender = tokio::task::spawn(async move {
        for at in (0..all).step_by(1000) {
            client.send(&frames(at, at + 1000)).await;
        }
        client.close().await.unwrap();
    });
    let full = "commit_failures_total{reason=\"full\"}";
    until("the disk is full", async || {
        (master.metric(full).await > 0).then_some(())
    })
    .await;
    let ready = String::from_utf8(master.page("/readyz").await.unwrap()).unwrap();
    assert!(ready.contains("archive"), "{ready}");
    assert!(!sender.is_finished());
    assert!(master.log().contains("reading is paused"));
    fs::remove_file(filler).unwrap();
    until("the archive goes on", async || {
        sender.is_finished().then_some(())
    })
    .await;
    sender.await.unwrap();
    master.merged(all).await;
    assert!(master.archived("web-1") == frames(0, all));
    assert!(master.merged_log() == lines(0, all));
    master.stop();
}
