//! The merger beside a real archive: whatever is appended to whichever epoch, the merged `.log` holds each line once,
//! and none with two workers' bytes.

use std::path::Path;
use std::sync::Arc;

use archive::{Archive, EpochId, Form, Handle, Options, Origin, StreamKey};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use service::Telemetry;
use tokio::sync::watch;

use super::*;
use crate::config::Config;
use crate::metrics::Metrics;

/// What is done to an epoch.
#[derive(Debug, Clone)]
enum Op {
    /// Appends words; `false`: without the LF behind the last one.
    Append(Vec<u8>, bool),
    Gap(u8),
    Roll,
    Seal,
    /// Ends the window.
    Commit,
    /// Ends the process, as far as the merger and the archive see.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (vec(any::<u8>(), 1..6), any::<bool>()).prop_map(|(words, lf)| Op::Append(words, lf)),
        1 => (1..200u8).prop_map(Op::Gap),
        1 => Just(Op::Roll),
        1 => Just(Op::Seal),
        3 => Just(Op::Commit),
        1 => Just(Op::Restart),
    ]
}

/// One epoch: what it holds, and where its lines are ended by something else than an LF.
struct Epoch {
    key: StreamKey,
    id: EpochId,
    /// The octet that its words are made of.
    letter: u8,
    /// Texts between gaps.
    texts: Vec<Vec<u8>>,
    /// Lengths of the last text where the epoch was rolled: a line that was not complete there may have been ended.
    rolls: Vec<usize>,
    end: u64,
    sealed: bool,
}

impl Epoch {
    /// Octets of a last line that wait for their LF: one of these numbers.
    fn may_wait(&self) -> Vec<usize> {
        let text = self.texts.last().map_or(&[][..], Vec::as_slice);
        if self.sealed || self.rolls.last() == Some(&text.len()) {
            return vec![0];
        }
        let line = memchr::memrchr(b'\n', text).map_or(0, |lf| lf + 1);
        // What comes behind a roll in its window keeps the line together.
        let rolls = self.rolls.iter().copied().filter(|&at| at > line);
        let from = rolls.chain([line]);
        from.map(|from| text.len() - from).collect()
    }
}

/// A merger that runs, and what feeds it.
struct Bench {
    dir: tempfile::TempDir,
    config: Config,
    archive: Option<Archive>,
    feed: Feed,
    steps: Vec<(Handle, Step)>,
    merger: tokio::task::JoinHandle<anyhow::Result<()>>,
    epochs: Vec<Epoch>,
}

fn config(dir: &Path) -> Config {
    let path = dir.display();
    let text = format!(
        "data = \"{path}/data\"\n[merged]\nlog = \"{path}/all.log\"\njson = \"{path}/all.json\"\n"
    );
    std::fs::write(dir.join("listener.toml"), text).unwrap();
    let environment = service::config::Environment::of([]);
    Config::load(&dir.join("listener.toml"), &environment)
        .unwrap()
        .0
}

/// Opens the archive and starts a merger on it.
async fn begin(config: &Config) -> (Archive, Feed, tokio::task::JoinHandle<anyhow::Result<()>>) {
    let options = Options {
        segment_max_bytes: 300,
        reserve_bytes: 0,
        ..Options::default()
    };
    let archive = Archive::open(&config.data, options).await.unwrap();
    let (feed, inbox) = Feed::new();
    let (stop, stopped) = watch::channel(false);
    let tools = Tools {
        inbox,
        metrics: Metrics::register(&mut Telemetry::new("test", "0").registry),
        pulse: Arc::new(service::Health::new().pulse("merged")),
        stop: stopped,
    };
    feed.standing(&config.data, archive.standing());
    let config = config.clone();
    let merger = tokio::task::spawn(async move {
        // Nobody stops it before its feed is over.
        let _stop = stop;
        keep(&config, tools).await
    });
    (archive, feed, merger)
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        archive::init(&config.data).unwrap();
        let (archive, feed, merger) = begin(&config).await;
        // Two workers; the second stream of one has epochs whose identifiers say nothing of their order.
        let epochs = [
            ("one", "a", 9),
            ("one", "b", 5),
            ("one", "b", 3),
            ("two", "a", 9),
        ];
        let epochs = (b'a'..)
            .zip(epochs)
            .map(|(letter, (worker, stream, id))| Epoch {
                key: StreamKey::new(worker, stream).unwrap(),
                id: EpochId::from_bytes([id; 16]),
                letter,
                texts: vec![Vec::new()],
                rolls: Vec::new(),
                end: 0,
                sealed: false,
            });
        Bench {
            dir,
            config,
            archive: Some(archive),
            feed,
            steps: Vec::new(),
            merger,
            epochs: epochs.collect(),
        }
    }

    async fn apply(&mut self, at: usize, op: &Op) {
        match op {
            Op::Commit => return self.commit().await,
            Op::Restart => return self.restart().await,
            _ if self.epochs[at].sealed => return,
            _ => {}
        }
        let archive = self.archive.as_mut().unwrap();
        let epoch = &mut self.epochs[at];
        let origin = Origin::default();
        let handle = archive
            .open_epoch(&epoch.key, epoch.id, Form::Log, 0, origin)
            .await
            .unwrap();
        match op {
            Op::Append(words, lf) => {
                let mut bytes = Vec::new();
                for word in words {
                    bytes.extend(std::iter::repeat_n(epoch.letter, usize::from(*word % 40)));
                    bytes.push(b'\n');
                }
                if !lf {
                    bytes.pop();
                }
                archive.append(handle, &bytes).unwrap();
                epoch.end += bytes.len() as u64;
                epoch.texts.last_mut().unwrap().extend_from_slice(&bytes);
                self.steps.push((handle, Step::Bytes(Bytes::from(bytes))));
            }
            Op::Gap(len) => {
                let to = epoch.end + u64::from(*len);
                archive.gap(handle, to, "lag-cap").unwrap();
                epoch.end = to;
                epoch.texts.push(Vec::new());
                epoch.rolls.clear();
                self.steps.push((handle, Step::Gap(to)));
            }
            Op::Roll => {
                let next = EpochId::from_bytes([77; 16]);
                archive.roll(handle, next, "rotated", None).unwrap();
                epoch.rolls.extend(epoch.texts.last().map(Vec::len));
            }
            Op::Seal => {
                archive.seal(handle).unwrap();
                epoch.sealed = true;
            }
            Op::Commit | Op::Restart => {}
        }
    }

    async fn commit(&mut self) {
        let reports = self.archive.as_mut().unwrap().commit().await.unwrap();
        self.feed.committed(&reports, self.steps.drain(..));
        tokio::task::yield_now().await;
    }

    async fn restart(&mut self) {
        self.commit().await;
        self.finish().await;
        let (archive, feed, merger) = begin(&self.config).await;
        (self.archive, self.feed, self.merger) = (Some(archive), feed, merger);
    }

    async fn finish(&mut self) {
        self.archive.take().unwrap().close().await.unwrap();
        self.feed.finish();
        (&mut self.merger).await.unwrap().unwrap();
    }

    /// Compares the merged `.log` with the epochs.
    fn check(&self) {
        let log = std::fs::read(self.dir.path().join("all.log")).unwrap_or_default();
        assert!(log.is_empty() || log.ends_with(b"\n"));
        for epoch in &self.epochs {
            // An LF that ends a part of a line may come where the source has none: before a gap, at a roll, at the
            // end. Without any LF the merged text is the source's, and no LF of the source is missing.
            let own: Vec<&[u8]> = log
                .split_inclusive(|&b| b == b'\n')
                .filter(|line| line.contains(&epoch.letter))
                .collect();
            for line in &own {
                let text = &line[..line.len() - 1];
                assert!(text.iter().all(|&b| b == epoch.letter), "a line of its own");
            }
            let letters = |bytes: &[u8]| bytes.iter().filter(|&&b| b == epoch.letter).count();
            let merged: usize = own.iter().map(|line| letters(line)).sum();
            let all: usize = epoch.texts.iter().map(|text| letters(text)).sum();
            let waits = all - merged;
            let may_wait = epoch.may_wait();
            assert!(
                may_wait.contains(&waits),
                "{}: {merged} of {all}, {may_wait:?} may wait",
                epoch.letter as char
            );
            // Whole lines are there as they were, in order; a line that was ended early is in pieces.
            let lines = epoch
                .texts
                .iter()
                .flat_map(|text| text.split(|&b| b == b'\n'));
            let mut own = own.iter().map(|line| line.len() - 1);
            for line in lines.filter(|line| !line.is_empty()) {
                let mut left = line.len();
                while left > 0 {
                    let Some(piece) = own.next() else {
                        assert_eq!(left, waits, "only the last may wait");
                        break;
                    };
                    assert!(piece <= left, "no two lines in one");
                    left -= piece;
                }
            }
            assert_eq!(own.next(), None);
        }
        let breaks = log.iter().filter(|&&b| b == b'\n').count();
        let ends: usize = self
            .epochs
            .iter()
            .flat_map(|epoch| &epoch.texts)
            .map(|text| text.iter().filter(|&&b| b == b'\n').count())
            .sum();
        assert!(breaks >= ends, "every empty line is there");
    }
}

fn play(ops: &[(usize, Op)]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut bench = Bench::new().await;
        for (at, op) in ops {
            bench.apply(*at, op).await;
        }
        bench.restart().await;
        bench.finish().await;
        bench.check();
    });
}

/// Appends to the first epoch, in a window of its own that the merger has to read from the archive.
async fn append(bench: &mut Bench, bytes: &[u8]) {
    let archive = bench.archive.as_mut().unwrap();
    let Epoch { key, id, .. } = &bench.epochs[0];
    let opened = archive.open_epoch(key, *id, Form::Log, 0, Origin::default());
    let handle = opened.await.unwrap();
    archive.append(handle, bytes).unwrap();
    let archived = Step::Archived(bytes.len() as u64);
    bench.steps.push((handle, archived));
}

/// Waits until the merged `.log` is this.
async fn merged(bench: &Bench, text: &str) {
    let log = bench.dir.path().join("all.log");
    let wait = async {
        while std::fs::read_to_string(&log).unwrap_or_default() != text {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), wait).await;
    waited.unwrap_or_else(|_| panic!("{:?}", std::fs::read_to_string(&log)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_behind_a_lost_segment_is_merged_from_the_new_one() {
    let mut bench = Bench::new().await;
    append(&mut bench, b"lost\n").await;
    bench.commit().await;
    // The merger has the segment open now.
    merged(&bench, "lost\n").await;
    let Epoch { key, id, .. } = &bench.epochs[0];
    let (key, id) = (key.clone(), *id);
    let segment = format!("data/archive/{key}/{id}/{:020}.log", 0);
    std::fs::remove_file(bench.dir.path().join(segment)).unwrap();
    append(&mut bench, b"void\n").await;
    bench.steps.clear();
    let archive = bench.archive.as_mut().unwrap();
    archive.commit().await.unwrap_err();
    archive.void().await.unwrap();
    append(&mut bench, b"again\nmore\n").await;
    bench.feed.lost(&key, id, 0);
    bench.commit().await;
    merged(&bench, "lost\nagain\nmore\n").await;
    bench.finish().await;
}

/// A late write to a rotated file: the piece that was merged at the roll stands, the rest waits for its LF.
#[test]
fn a_line_that_a_roll_ended_goes_on_as_a_line_of_its_own() {
    let half = |len, lf| (0, Op::Append(vec![len], lf));
    let mut ops = vec![half(12, false), (0, Op::Roll), (0, Op::Restart)];
    ops.push(half(5, false));
    play(&ops);
    ops.push((0, Op::Roll));
    play(&ops);
    ops.push(half(7, true));
    play(&ops);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn every_line_is_merged_once_and_is_nobody_elses(ops in vec((0..4usize, op()), 1..40)) {
        play(&ops);
    }
}
