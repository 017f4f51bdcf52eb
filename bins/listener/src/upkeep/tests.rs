//! Upkeep of an archive whose clock a test moves.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use archive::{Clock, EpochId, Form, Options, Origin, StreamKey};
use service::{Health, Telemetry};

use super::*;
use crate::merge::Inbox;

/// An archive, and what looks after it.
struct Bench {
    _dir: tempfile::TempDir,
    archive: Archive,
    key: StreamKey,
    /// How far the wall clock and the other one went since the start.
    passed: Arc<Mutex<(Duration, Duration)>>,
    upkeep: Upkeep,
    inbox: Inbox,
    health: Health,
}

async fn bench(config: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("listener.toml");
    let data = dir.path().join("data");
    std::fs::write(&file, format!("data = \"{}\"\n{config}", data.display())).unwrap();
    let environment = service::config::Environment::of([]);
    let (config, _) = Config::load(&file, &environment).unwrap();
    archive::init(&data).unwrap();
    let passed = Arc::<Mutex<(Duration, Duration)>>::default();
    let archive = open(&data, &passed).await;
    let (feed, inbox) = Feed::new();
    feed.standing(&data, archive.standing());
    let health = Health::new();
    let metrics = Metrics::register(&mut Telemetry::new("test", "0").registry);
    let upkeep = Upkeep::new(&config, feed, metrics, health.component("retention"));
    Bench {
        _dir: dir,
        archive,
        key: StreamKey::new("web", "decky").unwrap(),
        passed,
        upkeep,
        inbox,
        health,
    }
}

async fn open(data: &Path, passed: &Arc<Mutex<(Duration, Duration)>>) -> Archive {
    let passed = Arc::clone(passed);
    let start = SystemTime::now();
    let options = Options {
        clock: Clock::new(move || {
            let (wall, other) = *passed.lock().unwrap();
            (start + wall, other)
        }),
        reserve_bytes: 0,
        ..Options::default()
    };
    Archive::open(data, options).await.unwrap()
}

impl Bench {
    /// Time goes by, for the wall clock and the other one.
    fn pass(&self, wall: Duration, other: Duration) {
        let mut passed = self.passed.lock().unwrap();
        passed.0 += wall;
        passed.1 += other;
    }

    /// An epoch with a line, rolled or not.
    async fn epoch(&mut self, n: u8, rolled: bool) {
        let id = EpochId::from_bytes([n; 16]);
        let handle = self
            .archive
            .open_epoch(&self.key, id, Form::Log, 0, Origin::default())
            .await
            .unwrap();
        self.archive.append(handle, b"a line\n").unwrap();
        if rolled {
            let next = EpochId::from_bytes([n + 1; 16]);
            self.archive.roll(handle, next, "rotated", None).unwrap();
        }
        let reports = self.archive.commit().await.unwrap();
        self.upkeep.feed.committed(&reports, std::iter::empty());
    }

    /// The epochs that the merger was told to be sealed since it asked last.
    fn sealed(&self) -> Vec<EpochId> {
        let news = self.inbox.news().into_iter();
        news.filter(|news| news.sealed)
            .map(|news| news.source.epoch)
            .collect()
    }

    async fn turn(&mut self) {
        let now = Instant::now();
        (self.upkeep.seal_at, self.upkeep.retain_at) = (now, now);
        assert!(self.upkeep.turn(&mut self.archive).await);
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn rolled_epochs_are_sealed_after_a_day_of_silence_and_the_merger_is_told() {
    let mut bench = bench("").await;
    bench.epoch(1, true).await;
    bench.epoch(2, false).await;
    bench.pass(23 * HOUR, 23 * HOUR);
    bench.turn().await;
    assert_eq!(bench.sealed(), []);
    bench.pass(2 * HOUR, 2 * HOUR);
    bench.turn().await;
    assert_eq!(bench.sealed(), [EpochId::from_bytes([1; 16])]);
    assert_eq!(bench.upkeep.metrics.sealed.get(), 1);
    bench.turn().await;
    assert_eq!(bench.sealed(), []);
}

#[tokio::test]
async fn nothing_is_removed_by_age_while_the_clock_is_wrong() {
    let mut bench = bench("[retention]\nmax_age = \"1h\"\n").await;
    bench.epoch(1, true).await;
    assert_eq!(bench.health.components()["retention"], None);
    // Somebody set the clock.
    bench.pass(1000 * HOUR, HOUR);
    bench.turn().await;
    assert!(bench.health.components()["retention"].is_some());
    assert_eq!(bench.upkeep.metrics.paused.get(), 1);
    assert_eq!(bench.upkeep.metrics.removed_segments.get(), 0);
}
