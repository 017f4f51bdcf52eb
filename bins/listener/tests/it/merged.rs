//! The merged outputs when their files are in trouble.

use std::fs;

use crate::full::Small;
use crate::link::epoch;
use crate::sending::Sending;
use crate::support::{Master, frames, lines, until};

#[tokio::test]
async fn trouble_with_the_merged_files_does_not_stop_commits() {
    let master = Master::started().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    client.send(&frames(0, 100)).await;
    master.merged(100).await;
    // Neither the files nor their directory can be reached or made for a while.
    fs::rename(master.path("m"), master.path("away")).unwrap();
    fs::write(master.path("m"), "in the way").unwrap();
    client.send(&frames(100, 40_000)).await;
    let all = frames(0, 40_000).len() as u64;
    master.shows("committed_bytes_total", all).await;
    fs::remove_file(master.path("m")).unwrap();
    fs::rename(master.path("away"), master.path("m")).unwrap();
    client.close().await.unwrap();
    master.merged(40_000).await;
    assert!(master.merged_log() == lines(0, 40_000));
    assert_eq!(master.records(40_000).await.len(), 40_000);
}

#[tokio::test]
async fn writes_to_a_new_file_after_a_rotation() {
    let master = Master::started().await;
    let mut client = master.connect(&master.enroll("web-1")).await;
    client.send(&frames(0, 100)).await;
    master.merged(100).await;
    fs::rename(master.path("m/all.log"), master.path("m/all.log.1")).unwrap();
    client.send(&frames(100, 200)).await;
    until("the new file is written", async || {
        (!master.merged_log().is_empty()).then_some(())
    })
    .await;
    client.close().await.unwrap();
    master.merged(100).await;
    assert_eq!(fs::read(master.path("m/all.log.1")).unwrap(), lines(0, 100));
    assert_eq!(master.merged_log(), lines(100, 200));
    assert_eq!(master.records(200).await.len(), 200);
}

#[tokio::test]
async fn damage_to_the_merged_places_does_not_stop_the_archive() {
    let mut master = Master::init();
    let identity = master.enroll("web-1");
    fs::create_dir_all(master.data().join("merged")).unwrap();
    fs::write(master.data().join("merged/places.sqlite"), vec![7; 9000]).unwrap();
    master.start().await;
    let mut client = master.connect(&identity).await;
    client.send(&frames(0, 100)).await;
    client.close().await.unwrap();
    let all = frames(0, 100).len() as u64;
    master.shows("committed_bytes_total", all).await;
    assert!(master.log().contains("places.sqlite"), "{}", master.log());
    // Seen to, it goes on without a restart.
    fs::remove_file(master.data().join("merged/places.sqlite")).unwrap();
    master.merged(100).await;
    assert_eq!(master.merged_log(), lines(0, 100));
}

#[tokio::test]
async fn a_full_disk_under_the_merged_files_holds_up_no_ack() {
    let mut master = Master::init();
    let Some(_small) = Small::mount(&master.path("m"), "2M") else {
        let name = "a_full_disk_under_the_merged_files_holds_up_no_ack";
        service::testing::skip(name, "a tmpfs can't be mounted");
        return;
    };
    let identity = master.enroll("web-1");
    master.start().await;
    let filler = master.path("m/filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap();
    let mut sending = Sending::new("decky", epoch(1), lines(0, 30_000));
    let why = sending.send(&master, &identity).await.unwrap();
    assert_eq!(why, delivery::sender::Why::Finished);
    assert_eq!(sending.acked, sending.bytes.len());
    until("the merged files are blocked", async || {
        (master.metric("merged_failures_total").await > 0).then_some(())
    })
    .await;
    // Killed while it waits, it goes on where the files end, in the middle of a line.
    master.kill();
    master.start().await;
    fs::remove_file(&filler).unwrap();
    let remounted = std::process::Command::new("mount")
        .args(["-o", "remount,size=64M"])
        .arg(master.path("m"))
        .status();
    assert!(remounted.unwrap().success());
    master.merged(30_000).await;
    master.stop();
    assert!(master.merged_log() == sending.bytes);
    assert_eq!(master.merged_json().len(), 30_000);
}
