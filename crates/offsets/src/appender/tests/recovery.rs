//! Particular crashes by name: one batch is stopped in the middle of its first target, then something
//! happens to the files, then the next process starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::appender::disk::Gate;

/// Ends the world at the first target write, after so many of its bytes, or at the nth of all steps.
#[derive(Debug)]
struct Stop {
    bytes: Option<usize>,
    steps: AtomicUsize,
    over: AtomicUsize,
}

impl Stop {
    fn after_bytes(bytes: usize) -> Disk {
        Self::disk(Some(bytes), usize::MAX).0
    }

    fn disk(bytes: Option<usize>, steps: usize) -> (Disk, Arc<Self>) {
        let stop = Arc::new(Self {
            bytes,
            steps: steps.into(),
            over: 0.into(),
        });
        (
            Disk {
                syncs: 0,
                gate: Some(stop.clone()),
            },
            stop,
        )
    }
}

impl Gate for Stop {
    fn ask(&self, step: Step, _: &Path, len: usize) -> io::Result<usize> {
        if self.over.load(Ordering::SeqCst) > 0 || self.steps.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.over.store(1, Ordering::SeqCst);
            return Err(io::Error::other("the world is over"));
        }
        match self.bytes {
            Some(bytes) if step == Step::Append => {
                self.over.store(1, Ordering::SeqCst);
                if bytes == 0 {
                    Err(io::Error::other("the world ends"))
                } else {
                    Ok(bytes.min(len))
                }
            }
            _ => Ok(len),
        }
    }
}

/// A house in which `before` stood durably and of the batch `batch` so many bytes were written.
async fn crashed(before: &str, batch: &str, bytes: usize) -> House {
    let house = House::new();
    if !before.is_empty() {
        let (mut appender, _) = house.open().await;
        appender
            .append(vec![before.into(), vec![]], vec![put("n", "0")])
            .await
            .unwrap();
        appender.flush().await.unwrap();
    }
    let (mut appender, _) = house
        .try_open(&house.targets(), Stop::after_bytes(bytes))
        .await
        .unwrap();
    let error = appender
        .append(vec![batch.into(), b"{}\n".to_vec()], vec![put("n", "1")])
        .await
        .unwrap_err();
    assert!(matches!(error, AppendError::Blocked { .. }), "{error:?}");
    assert!(appender.is_kept().await.unwrap(), "it is announced");
    appender.rest().await.unwrap();
    house
}

impl House {
    /// Recovers, and checks the checkpoint and the second target, whose part was always all missing.
    async fn recover(&self, found: usize, written: usize) {
        let (mut appender, recovered) = self.open().await;
        let [log, json] = &self.targets()[..] else {
            panic!("two targets")
        };
        let completed = |path: &PathBuf, found: usize, written: usize| Recovered::Completed {
            path: path.clone(),
            found: found as u64,
            written: written as u64,
        };
        assert_eq!(
            recovered,
            [completed(log, found, written), completed(json, 0, 3)]
        );
        assert_eq!(self.read("log/decky.json"), "{}\n");
        assert_eq!(
            appender.store().get("n").await.unwrap().as_deref(),
            Some(&b"1"[..])
        );
        appender
            .append(vec![b"next\n".to_vec(), vec![]], vec![])
            .await
            .unwrap();
        appender.rest().await.unwrap();
        drop(appender);
        assert_eq!(self.open().await.1, [], "nothing is recovered twice");
    }
}

const SAME: &str = "same\nsame\nsame\n";

#[tokio::test]
async fn completes_at_every_byte() {
    for bytes in 0..SAME.len() {
        let house = crashed("same\n", SAME, bytes).await;
        house.recover(bytes, SAME.len() - bytes).await;
        assert_eq!(
            house.read("log/decky.log"),
            format!("same\n{SAME}next\n"),
            "cut at {bytes}"
        );
    }
}

#[tokio::test]
async fn passes_over_lines_of_others() {
    let house = crashed("same\n", SAME, 5).await;
    append_raw(&house.log(), b"other\nother\n");
    house.recover(5, 10).await;
    assert_eq!(
        house.read("log/decky.log"),
        "same\nsame\nother\nother\nsame\nsame\nnext\n"
    );
}

#[tokio::test]
async fn writes_a_line_again_that_others_spoilt() {
    let house = crashed("same\n", SAME, 7).await;
    append_raw(&house.log(), b"other\n");
    house.recover(5, 10).await;
    assert_eq!(
        house.read("log/decky.log"),
        "same\nsame\nsaother\nsame\nsame\nnext\n"
    );
}

#[tokio::test]
async fn ends_a_torn_line_of_others() {
    let house = crashed("same\n", SAME, 5).await;
    append_raw(&house.log(), b"torn");
    house.recover(5, 10).await;
    assert_eq!(
        house.read("log/decky.log"),
        "same\nsame\ntorn\nsame\nsame\nnext\n"
    );
}

#[tokio::test]
async fn finishes_the_line_in_a_renamed_file_and_goes_on_in_the_live_one() {
    let house = crashed("same\n", SAME, 7).await;
    fs::rename(house.log(), house.path("log/decky.log.1")).unwrap();
    append_raw(&house.log(), b"other\n");
    house.recover(7, 8).await;
    assert_eq!(house.read("log/decky.log.1"), "same\nsame\nsame\n");
    assert_eq!(house.read("log/decky.log"), "other\nsame\nnext\n");
}

#[tokio::test]
async fn finishes_the_line_in_a_copy_and_goes_on_in_the_emptied_file() {
    let house = crashed("same\n", SAME, 7).await;
    wait_for_tick(house.dir.path());
    copytruncate(&house.log(), &house.path("log/decky-20261121.log"));
    house.recover(7, 8).await;
    assert_eq!(house.read("log/decky-20261121.log"), "same\nsame\nsame\n");
    assert_eq!(house.read("log/decky.log"), "same\nnext\n");
}

#[tokio::test]
async fn writes_the_torn_line_again_when_it_was_compressed() {
    let house = crashed("same\n", SAME, 7).await;
    fs::rename(house.log(), house.path("log/decky.log-20261121")).unwrap();
    gzip(&house.path("log/decky.log-20261121"));
    house.recover(7, 8).await;
    assert_eq!(house.read("log/decky.log"), "same\nsame\nnext\n");
}

#[tokio::test]
async fn finds_a_first_batch_in_a_copy() {
    let house = crashed("", SAME, 10).await;
    wait_for_tick(house.dir.path());
    copytruncate(&house.log(), &house.path("log/decky.log.1"));
    house.recover(10, 5).await;
    assert_eq!(house.read("log/decky.log.1"), "same\nsame\n");
    assert_eq!(house.read("log/decky.log"), "same\nnext\n");
}

#[tokio::test]
async fn does_not_take_an_older_file_for_a_copy() {
    let house = House::new();
    append_raw(&house.path("log/decky.log.1"), SAME.as_bytes());
    wait_for_tick(house.dir.path());
    let (mut appender, _) = house
        .try_open(&house.targets(), Stop::after_bytes(0))
        .await
        .unwrap();
    appender
        .append(vec![SAME.into(), b"{}\n".to_vec()], vec![put("n", "1")])
        .await
        .unwrap_err();
    appender.rest().await.unwrap();
    house.recover(0, 15).await;
    assert_eq!(house.read("log/decky.log"), format!("{SAME}next\n"));
}

#[tokio::test]
async fn reports_what_is_gone_until_the_next_batch() {
    let house = crashed("same\n", SAME, 7).await;
    fs::remove_file(house.log()).unwrap();
    let lost = |recovered: &[Recovered]| {
        assert!(recovered.contains(&Recovered::Uncertain {
            path: house.log(),
            bytes: 15,
            lines: 3,
            batch: 2
        }));
        recovered.len()
    };
    let (appender, recovered) = house.open().await;
    assert_eq!(lost(&recovered), 2);
    drop(appender);
    let (mut appender, recovered) = house.open().await;
    assert_eq!(lost(&recovered), 2);
    assert_eq!(
        appender.store().get("n").await.unwrap().as_deref(),
        Some(&b"1"[..])
    );
    assert!(!house.log().exists(), "nothing is written again");
    appender
        .append(vec![b"next\n".to_vec(), vec![]], vec![])
        .await
        .unwrap();
    appender.rest().await.unwrap();
    drop(appender);
    assert_eq!(house.open().await.1, []);
    assert_eq!(house.read("log/decky.log"), "next\n");
    assert_eq!(house.read("log/decky.json"), "{}\n");
}

#[tokio::test]
async fn carries_a_loss_on_when_the_rest_goes_elsewhere() {
    let house = crashed("", SAME, 7).await;
    fs::remove_file(house.log()).unwrap();
    fs::rename(house.path("log/decky.json"), house.path("log/decky.json.1")).unwrap();
    for _ in 0..2 {
        let (_, recovered) = house.open().await;
        let lost = Recovered::Uncertain {
            path: house.log(),
            bytes: 15,
            lines: 3,
            batch: 1,
        };
        assert!(recovered.contains(&lost), "{recovered:?}");
        assert_eq!(house.read("log/decky.json"), "{}\n");
    }
    let (mut appender, _) = house.open().await;
    appender.flush().await.unwrap();
    drop(appender);
    assert_eq!(house.open().await.1, []);
}

#[tokio::test]
async fn completes_on_the_paths_of_before() {
    let house = crashed("same\n", SAME, 7).await;
    let elsewhere = vec![
        house.path("new/decky.log"),
        house.path("new/decky.json"),
        house.path("new/third"),
    ];
    let (mut appender, recovered) = house.try_open(&elsewhere, Disk::default()).await.unwrap();
    assert_eq!(recovered.len(), 2);
    assert_eq!(house.read("log/decky.log"), format!("same\n{SAME}"));
    assert_eq!(house.read("log/decky.json"), "{}\n");
    appender
        .append(vec![b"1\n".to_vec(), vec![], b"3\n".to_vec()], vec![])
        .await
        .unwrap();
    assert_eq!(
        house.read("new/decky.log") + &house.read("new/third"),
        "1\n3\n"
    );
}

#[tokio::test]
async fn can_be_interrupted_at_every_step() {
    for rotate in 0..4 {
        for steps in 0.. {
            let house = crashed("same\n", SAME, 7).await;
            let log = house.log();
            wait_for_tick(house.dir.path());
            match rotate {
                0 => {}
                1 => fs::rename(&log, house.path("log/decky.log.1")).unwrap(),
                2 => copytruncate(&log, &house.path("log/decky.log.1")),
                _ => {
                    fs::rename(&log, house.path("log/decky.log.1")).unwrap();
                    gzip(&house.path("log/decky.log.1"));
                }
            }
            let (disk, stop) = Stop::disk(None, steps);
            let opened = house.try_open(&house.targets(), disk).await;
            let over = stop.over.load(Ordering::SeqCst) > 0;
            assert!(over || opened.is_ok());
            drop(opened);
            let (appender, _) = house.open().await;
            assert_eq!(
                appender.store().get("n").await.unwrap().as_deref(),
                Some(&b"1"[..])
            );
            let files = (house.read("log/decky.log.1"), house.read("log/decky.log"));
            let expected = match rotate {
                0 => ("", "same\nsame\nsame\nsame\n"),
                1 | 2 => ("same\nsame\nsame\n", "same\n"),
                _ => ("", "same\nsame\n"),
            };
            assert_eq!(
                (files.0.as_str(), files.1.as_str()),
                expected,
                "rotation {rotate}, step {steps}"
            );
            assert_eq!(house.read("log/decky.json"), "{}\n");
            if !over {
                assert!(steps > 3, "there are steps to interrupt");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_costs_nothing() {
    for rotate in [false, true] {
        for allowed in 0..10 {
            let house = House::new();
            let (disk, _) = Full::disk(allowed);
            let (mut appender, _) = house.try_open(&house.targets(), disk).await.unwrap();
            let mut result = appender
                .append(vec![SAME.into(), SAME.into()], vec![put("n", "1")])
                .await;
            let (mut tries, mut at_rotation) = (0, None);
            while let Err(error) = result {
                assert!(matches!(error, AppendError::Blocked { .. }), "{error:?}");
                if rotate && tries == 2 {
                    at_rotation = Some(house.read("log/decky.log").len());
                    let _ = fs::rename(house.log(), house.path("log/decky.log.1"));
                }
                tries += 1;
                result = appender.resume().await;
            }
            if let Some(len) = at_rotation {
                // Only the line that was torn then is finished in the rotated file.
                let found = house.read("log/decky.log.1").len();
                assert_eq!(found, usize::next_multiple_of(len, 5), "{allowed}");
            }
            let log = house.read("log/decky.log.1") + &house.read("log/decky.log");
            assert_eq!(
                (log.as_str(), house.read("log/decky.json").as_str()),
                (SAME, SAME),
                "{rotate} {allowed}"
            );
        }
    }
}

/// A disk that takes a few bytes at a time, and refuses every second write.
#[derive(Debug)]
struct Full {
    allowed: usize,
    asked: AtomicUsize,
}

impl Full {
    fn disk(allowed: usize) -> (Disk, Arc<Self>) {
        let full = Arc::new(Self {
            allowed,
            asked: 0.into(),
        });
        (
            Disk {
                syncs: 0,
                gate: Some(full.clone()),
            },
            full,
        )
    }
}

impl Gate for Full {
    fn ask(&self, step: Step, _: &Path, len: usize) -> io::Result<usize> {
        match step {
            Step::Append if self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Step::Append => Ok(len.min(self.allowed + 1)),
            _ => Ok(len),
        }
    }
}
