//! The keeper over an archive whose disk fails: nothing is lost, repeated or reordered.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

use archive::{Fault, Options, Step};
use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use service::{Health, Telemetry};

use super::*;
use crate::intake::Intake;
use crate::merge::Inbox;
use crate::upkeep;
use crate::workers::Workers;

mod damage;
mod full;
mod links;

/// A keeper of a new archive, and everything around it.
struct Bench {
    dir: tempfile::TempDir,
    intake: Intake,
    inbox: Inbox,
    stop: watch::Sender<bool>,
    metrics: Metrics,
    keeper: Keeper,
}

async fn bench(fault: Fault) -> Bench {
    bench_with(
        fault,
        "commit = { max_delay = \"1ms\", max_bytes = \"64KiB\" }",
    )
    .await
}

async fn bench_with(fault: Fault, config: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("listener.toml"), config).unwrap();
    let environment = service::config::Environment::of([]);
    let (config, _) = Config::load(&dir.path().join("listener.toml"), &environment).unwrap();
    archive::init(dir.path()).unwrap();
    let options = Options {
        segment_max_bytes: 20_000,
        reserve_bytes: 0,
        fault,
        ..Options::default()
    };
    let archive = Archive::open(dir.path(), options).await.unwrap();
    let metrics = Metrics::register(&mut Telemetry::new("test", "0").registry);
    let (intake, batches) = Intake::new(16, metrics.queued_bytes.clone());
    let (feed, inbox) = Feed::new();
    let (stop, stopped) = watch::channel(false);
    let health = Health::new();
    let upkeep = upkeep::Metrics::register(&mut Telemetry::new("test", "0").registry);
    let tools = Tools {
        upkeep: Upkeep::new(&config, feed.clone(), upkeep, health.component("retention")),
        feed,
        metrics: metrics.clone(),
        disk: health.component("archive"),
        pulse: health.pulse("archive"),
        stop: stopped,
    };
    let mut keeper = Keeper::new(archive, batches, &config, tools);
    keeper.retry = Duration::from_millis(1);
    Bench {
        dir,
        intake,
        inbox,
        stop,
        metrics,
        keeper,
    }
}

#[test]
fn a_connection_that_missed_its_beats_makes_room() {
    for (idle, silent) in [("24h", 15), ("60s", 15), ("8s", 2)] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("listener.toml");
        fs::write(&file, format!("limits = {{ idle = \"{idle}\" }}")).unwrap();
        let environment = service::config::Environment::of([]);
        let (config, _) = Config::load(&file, &environment).unwrap();
        assert_eq!(admission(&config).silent, Duration::from_secs(silent));
    }
}

fn archived(dir: &std::path::Path, worker: &str) -> Vec<u8> {
    let mut files = Vec::new();
    for epoch in fs::read_dir(dir.join(format!("archive/{worker}/syslog")))
        .into_iter()
        .flatten()
        .flatten()
    {
        for file in fs::read_dir(epoch.path()).into_iter().flatten().flatten() {
            files.push(file.path());
        }
    }
    files.sort();
    files
        .into_iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

/// Sends batches of three workers through a keeper; what each sent.
async fn send(intake: Intake) -> BTreeMap<String, Vec<u8>> {
    let workers = Workers::new(0, 16, Gauge::default());
    let own = Intake::share();
    let mut sent = BTreeMap::<String, Vec<u8>>::new();
    for n in 0..150 {
        let name = format!("w{}", n % 3);
        let joined = workers.join(&name, false).unwrap().unwrap();
        let mut frames = Vec::new();
        framing::encode(
            format!("{n} {}", "x".repeat(n * 17 % 3000)).as_bytes(),
            &mut frames,
        );
        sent.entry(name).or_default().extend_from_slice(&frames);
        intake
            .send(&own, &joined.worker, Bytes::from(frames))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    sent
}

/// Fails a step, for two of seven times, up to the hundredth.
fn failing(step: Step, kind: ErrorKind) -> Fault {
    let seen = AtomicUsize::new(0);
    Fault::new(move |at| {
        // A step of the cut is only reached when something else failed.
        let other = step == Step::Cut && at == Step::Sync;
        if at != step && !other {
            return Ok(());
        }
        let n = seen.fetch_add(1, Ordering::Relaxed);
        if n < 100 && n % 7 >= 5 {
            Err(kind.into())
        } else {
            Ok(())
        }
    })
}

#[tokio::test]
async fn goes_on_after_any_step_failed() {
    let steps = [
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::Ledger,
        Step::Index,
        Step::Cut,
    ];
    for step in steps {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let fault = failing(step, kind);
            let Bench {
                dir,
                intake,
                inbox,
                keeper,
                metrics,
                stop,
            } = bench(fault).await;
            let (sent, kept) = tokio::join!(send(intake), keeper.run());
            kept.unwrap();
            for (worker, octets) in &sent {
                assert!(
                    archived(dir.path(), worker) == *octets,
                    "{worker} after {step:?} {kind:?}"
                );
            }
            let all: usize = sent.values().map(Vec::len).sum();
            assert_eq!(metrics.committed_bytes.get(), all as u64);
            assert_eq!(metrics.queued_bytes.get(), 0);
            told(&inbox, &sent);
            drop(stop);
        }
    }
}

/// What the merger is told: each worker's octets in order, as far as there was room.
fn told(inbox: &Inbox, sent: &BTreeMap<String, Vec<u8>>) {
    let mut got = BTreeMap::<String, Vec<u8>>::new();
    let mut mail = inbox.take();
    for news in &mail.news {
        assert_eq!(news.end, sent[news.source.key.worker()].len() as u64);
    }
    assert_eq!(mail.news.len(), sent.len());
    while let Some(piece) = mail.piece {
        let octets = got.entry(piece.source.key.worker().to_owned()).or_default();
        assert_eq!(piece.from, octets.len() as u64);
        octets.extend_from_slice(&piece.bytes);
        mail = inbox.take();
    }
    assert!(got == *sent);
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_disk_and_says_what_is_lost() {
    let fault = Fault::new(|step| {
        if step == Step::Sync {
            Err(ErrorKind::Other.into())
        } else {
            Ok(())
        }
    });
    let Bench {
        intake,
        mut keeper,
        stop,
        metrics,
        ..
    } = bench(fault).await;
    keeper.drain = Duration::from_millis(50);
    let failing = async {
        while metrics
            .commit_failures
            .get_or_create(&[("reason", "failed")])
            .get()
            < 5
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send(true).unwrap();
    };
    let sending = async {
        let workers = Workers::new(0, 16, Gauge::default());
        let joined = workers.join("w", false).unwrap().unwrap();
        intake
            .send(
                &Intake::share(),
                &joined.worker,
                Bytes::from_static(b"5 hello"),
            )
            .await
            .unwrap();
        drop(intake);
    };
    let (kept, (), ()) = tokio::join!(keeper.run(), failing, sending);
    assert!(kept.unwrap_err().to_string().starts_with("7 bytes"));
}
