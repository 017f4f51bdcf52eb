//! Acknowledged connections over a disk that fails: what is acknowledged stands, and a void window comes again.

use delivery::receiver::{Opening, Standing};
use delivery::{Code, EpochId, GapCause, Offset};

use super::*;
use crate::intake::{News, Seat};
use crate::workers::Joined;

pub(super) const EPOCH: EpochId = EpochId::from_bytes([7; 16]);

pub(super) async fn say(seat: &Seat, said: Said) {
    if let Some(sending) = seat.send(said).unwrap() {
        sending.await.unwrap();
    }
}

pub(super) async fn hear(seat: &Seat) -> News {
    loop {
        if let Some(news) = seat.mailbox().next() {
            return news;
        }
        let news = tokio::time::timeout(Duration::from_secs(60), seat.mailbox().wait());
        news.await.expect("no news");
    }
}

pub(super) fn opening(epoch: EpochId) -> Opening {
    Opening {
        epoch,
        after: None,
        of: None,
        base: Offset::ZERO,
    }
}

pub(super) fn joined(name: &str) -> Joined {
    let workers = Workers::new(0, 16, Gauge::default());
    workers.join(name, false).unwrap().unwrap()
}

/// A connection that has opened the epoch; none: a window of its opening was void.
pub(super) async fn open(intake: &Intake, worker: &Joined) -> (Seat, Standing) {
    let seat = intake.enter(&worker.worker, false).await.unwrap();
    say(&seat, Said::Claim("decky".to_owned())).await;
    assert_eq!(hear(&seat).await, News::Claimed);
    say(&seat, Said::Open(opening(EPOCH))).await;
    match hear(&seat).await {
        News::Standing(standing) => (seat, standing),
        other => panic!("{other:?}"),
    }
}

fn line(n: usize) -> Bytes {
    format!("{n} {}\n", "y".repeat(n * 29 % 5000)).into()
}

/// What comes before a line and will never come.
fn gap(n: usize) -> usize {
    if n % 25 == 4 { n } else { 0 }
}

/// Delivers lines, over a new connection after each void window; what was sent, and how often a window was void.
async fn deliver(intake: Intake, name: &str) -> (Vec<u8>, usize) {
    let worker = joined(name);
    let all: Vec<(usize, Bytes)> = (0..120).map(|n| (gap(n), line(n))).collect();
    let ends: Vec<usize> = all
        .iter()
        .scan(0, |end, (gap, line)| {
            *end += gap + line.len();
            Some(*end)
        })
        .collect();
    let (mut acked, mut voids) = (0, 0);
    'connection: loop {
        let (seat, standing) = open(&intake, &worker).await;
        let mut at = standing.offset.get() as usize;
        assert!(at >= acked, "{at} after {acked} was acknowledged");
        for ((gap, line), end) in all.iter().zip(&ends) {
            if *end <= at {
                continue;
            }
            let start = end - line.len();
            if *gap > 0 && at < start {
                assert_eq!(at, start - gap, "not where the gap begins");
                let (to, cause) = (Offset::new(start as u64).unwrap(), GapCause::LagCap);
                say(&seat, Said::Gap { to, cause }).await;
                at = start;
            }
            assert_eq!(at, start, "not at a line's start");
            let from = Offset::new(at as u64).unwrap();
            at = *end;
            let (bytes, room) = (line.clone(), None);
            say(&seat, Said::Lines { from, bytes, room }).await;
            if !line.starts_with(b"119 ") && line.len() % 3 > 0 {
                tokio::task::yield_now().await;
                continue;
            }
            say(&seat, Said::Commit).await;
            while acked < at {
                match hear(&seat).await {
                    News::Committed { epoch, offset, .. } => {
                        assert_eq!(epoch, EPOCH);
                        acked = offset.get() as usize;
                        assert!(acked <= at);
                    }
                    News::Void => {
                        voids += 1;
                        continue 'connection;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let lines = all.iter().map(|(_, line)| &line[..]);
        return (lines.collect::<Vec<_>>().concat(), voids);
    }
}

fn epoch_bytes(dir: &std::path::Path, worker: &str) -> Vec<u8> {
    let mut files: Vec<_> = fs::read_dir(dir.join(format!("archive/{worker}/decky/{EPOCH}")))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

#[tokio::test]
async fn a_void_window_comes_again_and_plain_frames_are_kept() {
    for step in [
        Step::Write,
        Step::Sync,
        Step::Ledger,
        Step::Index,
        Step::Cut,
    ] {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let Bench {
                dir,
                intake,
                keeper,
                metrics,
                stop,
                ..
            } = bench(failing(step, kind)).await;
            let all = async {
                let (a, b) = (deliver(intake.clone(), "a"), deliver(intake.clone(), "b"));
                tokio::join!(send(intake.clone()), a, b, drop_of(intake))
            };
            let ((plain, (a, a_voids), (b, b_voids), ()), kept) = tokio::join!(all, keeper.run());
            kept.unwrap();
            for (worker, octets) in &plain {
                assert!(archived(dir.path(), worker) == *octets);
            }
            assert!(epoch_bytes(dir.path(), "a") == a, "{step:?} {kind:?}");
            assert!(epoch_bytes(dir.path(), "b") == b, "{step:?} {kind:?}");
            match (step, kind) {
                // A write that finds no room leaves the window as it was.
                (Step::Write, ErrorKind::StorageFull) => assert_eq!(a_voids + b_voids, 0),
                (Step::Sync, _) => assert!(a_voids + b_voids > 0, "{kind:?}"),
                _ => {}
            }
            let all = plain.values().map(Vec::len).sum::<usize>() + a.len() + b.len();
            assert_eq!(metrics.committed_bytes.get(), all as u64);
            assert_eq!(metrics.queued_bytes.get(), 0);
            drop(stop);
        }
    }
}

async fn drop_of(intake: Intake) {
    drop(intake);
}

#[tokio::test]
async fn a_commit_is_answered_when_there_is_nothing_to_commit() {
    let Bench {
        dir: _dir,
        intake,
        keeper,
        ..
    } = bench(Fault::default()).await;
    let asking = async move {
        let (seat, standing) = open(&intake, &joined("w")).await;
        say(&seat, Said::Commit).await;
        let News::Committed { epoch, offset, .. } = hear(&seat).await else {
            panic!("no commit")
        };
        assert_eq!((epoch, offset), (EPOCH, standing.offset));
    };
    let ((), kept) = tokio::join!(asking, keeper.run());
    kept.unwrap();
}

#[tokio::test]
async fn new_epochs_are_limited() {
    let Bench {
        dir: _dir,
        intake,
        keeper,
        metrics,
        ..
    } = bench(Fault::default()).await;
    let asking = async move {
        let (seat, _) = open(&intake, &joined("w")).await;
        for n in 1..=600u64 {
            let mut bits = [0; 16];
            bits[..8].copy_from_slice(&n.to_le_bytes());
            let epoch = EpochId::from_bytes(bits);
            say(&seat, Said::Open(opening(epoch))).await;
            match hear(&seat).await {
                News::Standing(_) => assert!(n < 600),
                News::Refused(Code::Limit, _) => assert_eq!(n, 600),
                other => panic!("{other:?}"),
            }
        }
        // One that is known is no new one.
        say(&seat, Said::Open(opening(EPOCH))).await;
        assert!(matches!(hear(&seat).await, News::Standing(_)));
    };
    let ((), kept) = tokio::join!(asking, keeper.run());
    kept.unwrap();
    assert_eq!(metrics.epochs_opened.get(), 600);
}

#[tokio::test]
async fn what_the_merger_is_given_of_a_large_window_stands_where_it_says() {
    let Bench {
        dir: _dir,
        intake,
        keeper,
        inbox,
        ..
    } = bench_with(Fault::default(), "commit = { max_delay = \"1s\" }").await;
    let mut all = Vec::new();
    let writing = async {
        let (seat, _) = open(&intake, &joined("w")).await;
        for n in 0..200 {
            // Large ones, of which some are let go, and small ones behind them.
            let len = if n % 3 == 0 { 60_000 } else { 10 + n };
            let bytes = Bytes::from(vec![n as u8; len]);
            let from = Offset::new(all.len() as u64).unwrap();
            all.extend_from_slice(&bytes);
            let room = None;
            say(&seat, Said::Lines { from, bytes, room }).await;
        }
        drop((seat, intake));
    };
    let ((), kept) = tokio::join!(writing, keeper.run());
    kept.unwrap();
    let mut pieces = 0;
    while let Some(piece) = inbox.take().piece {
        let from = piece.from as usize;
        assert!(all[from..].starts_with(&piece.bytes), "at {from}");
        pieces += 1;
    }
    assert!(pieces > 50, "{pieces}");
}
