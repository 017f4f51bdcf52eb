//! A full disk under the archive: reading stops, and goes on by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use delivery::sender::Why;
use pki::Identity;

use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, frames, lines, until};

/// A small file system, gone when dropped.
pub(crate) struct Small(PathBuf);

impl Small {
    pub(crate) fn mount(at: &Path, size: &str) -> Option<Small> {
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

/// A listener on a file system with little room, which a filler takes.
struct Tight {
    master: Master,
    filler: PathBuf,
    _small: Small,
}

impl Tight {
    /// With these workers; none if it can't be made here.
    async fn started(test: &str, workers: &[&str]) -> Option<(Tight, Vec<Identity>)> {
        let mut master = Master::init();
        let disk = master.path("disk");
        let Some(small) = Small::mount(&disk, "24M") else {
            service::testing::skip(test, "a tmpfs can't be mounted");
            return None;
        };
        let identities = workers.iter().map(|name| master.enroll(name)).collect();
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
        let tight = Tight {
            master,
            filler,
            _small: small,
        };
        Some((tight, identities))
    }

    async fn is_full(&self) {
        until("the disk is full", async || {
            let full = "commit_failures_total{reason=\"full\"}";
            (self.master.metric(full).await > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn stops_reading_when_the_disk_is_full_and_goes_on_by_itself() {
    let name = "stops_reading_when_the_disk_is_full_and_goes_on_by_itself";
    let Some((tight, identities)) = Tight::started(name, &["web-1"]).await else {
        return;
    };
    let all = 80_000;
    let mut client = tight.master.connect(&identities[0]).await;
    let sender = tokio::task::spawn(async move {
        for at in (0..all).step_by(1000) {
            client.send(&frames(at, at + 1000)).await;
        }
        client.close().await.unwrap();
    });
    tight.is_full().await;
    let Tight {
        mut master,
        filler,
        _small,
    } = tight;
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

#[tokio::test]
async fn says_the_last_ack_again_while_the_disk_is_full() {
    let name = "says_the_last_ack_again_while_the_disk_is_full";
    let Some((tight, identities)) = Tight::started(name, &["web-1", "web-2"]).await else {
        return;
    };
    let (mut link, _) = tight.master.resumed(&identities[1], "decky", 2).await;
    link.client.send(b"3 one").await;
    let acked = link.acked(2, 4).await;
    let mut sending = Sending::new("decky", epoch(1), lines(0, 80_000));
    let waiting = async {
        tight.is_full().await;
        // Whatever the other one has sent, nobody is cut off.
        link.client.send(b"3 two").await;
        assert_eq!(link.ack().await, acked);
        fs::remove_file(&tight.filler).unwrap();
        link.acked(2, 8).await;
    };
    let (why, ()) = tokio::join!(sending.send(&tight.master, &identities[0]), waiting);
    assert_eq!(why.unwrap(), Why::Finished);
    assert!(tight.master.stream("web-1", "decky", epoch(1)) == sending.bytes);
    tight.master.shows("closed_total{reason=\"void\"}", 0).await;
    let Tight {
        mut master, _small, ..
    } = tight;
    link.close().await;
    master.stop();
}
