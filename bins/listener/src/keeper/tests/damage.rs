//! Files that vanish under the keeper.

use std::path::Path;

use delivery::Offset;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::links::{EPOCH, hear, joined, open, opening, say};
use super::*;
use crate::intake::{News, Seat};
use crate::workers::Joined;

async fn lines(seat: &Seat, from: u64, bytes: &'static [u8]) -> News {
    let lines = Said::Lines {
        from: Offset::new(from).unwrap(),
        bytes: Bytes::from_static(bytes),
        room: None,
    };
    say(seat, lines).await;
    say(seat, Said::Commit).await;
    hear(seat).await
}

fn stands(news: &News, at: u64) -> bool {
    matches!(news, News::Committed { offset, .. } if offset.get() == at)
}

/// The only segment of a worker's stream.
fn segment(dir: &Path, stream: &str) -> std::path::PathBuf {
    let epoch = fs::read_dir(dir.join("archive").join(stream)).unwrap();
    let mut epoch = epoch.flatten().filter(|entry| entry.path().is_dir());
    let mut files = fs::read_dir(epoch.next().unwrap().path()).unwrap();
    files.next().unwrap().unwrap().path()
}

/// A connection that asks for the epoch, and what it hears.
async fn asks(intake: &Intake, worker: &Joined) -> (Seat, News) {
    let seat = intake.enter(&worker.worker, false).await.unwrap();
    say(&seat, Said::Claim("decky".to_owned())).await;
    assert_eq!(hear(&seat).await, News::Claimed);
    say(&seat, Said::Open(opening(EPOCH))).await;
    let news = hear(&seat).await;
    (seat, news)
}

#[tokio::test]
async fn an_epoch_that_cannot_be_opened_costs_only_its_own_connection() {
    let Bench {
        dir,
        intake,
        keeper,
        ..
    } = bench(Fault::default()).await;
    let stream = dir.path().join("archive/broken/decky");
    fs::create_dir_all(&stream).unwrap();
    // Where its directory should be.
    fs::write(stream.join(EPOCH.to_string()), "").unwrap();
    let work = async {
        let broken = joined("broken");
        let (_, heard) = asks(&intake, &broken).await;
        assert_eq!(heard, News::Void);
        let (whole, _) = open(&intake, &joined("whole")).await;
        assert!(stands(&lines(&whole, 0, b"one\n").await, 4));
        fs::remove_file(stream.join(EPOCH.to_string())).unwrap();
        let (again, _) = open(&intake, &broken).await;
        assert!(stands(&lines(&again, 0, b"late\n").await, 5));
        drop(intake);
    };
    let ((), kept) = tokio::join!(work, keeper.run());
    kept.unwrap();
}

/// Nobody has to stop a listener whose index is damaged: it ends, with what it took in the archive, and the next start
/// makes the index again.
#[tokio::test]
async fn a_damaged_index_ends_the_keeper() {
    let Bench {
        dir,
        intake,
        keeper,
        ..
    } = bench(Fault::default()).await;
    let work = async {
        let (seat, _) = open(&intake, &joined("w")).await;
        assert!(stands(&lines(&seat, 0, b"one\n").await, 4));
        let index = dir.path().join("index.sqlite");
        let options = SqliteConnectOptions::new().filename(index);
        let mut other = options.connect().await.unwrap();
        sqlx::query("DROP TABLE epochs")
            .execute(&mut other)
            .await
            .unwrap();
        other.close().await.unwrap();
        let seat = intake.enter(&joined("v").worker, false).await.unwrap();
        say(&seat, Said::Claim("decky".to_owned())).await;
        say(&seat, Said::Open(opening(EPOCH))).await;
        // Held until the end.
        (seat, intake.clone())
    };
    let (held, kept) = tokio::join!(work, keeper.run());
    let error = kept.unwrap_err().to_string();
    assert!(error.contains("the next start"), "{error}");
    drop(held);
    let mut archive = Archive::open(dir.path(), Options::default()).await.unwrap();
    let key = StreamKey::new("w", "decky").unwrap();
    assert_eq!(archive.epochs(&key, 1).await.unwrap()[0].end, 4);
}

/// Two streams of four lose their segment: they go on where their files end, and the two others as if nothing were.
#[tokio::test]
async fn damage_costs_only_its_own_stream() {
    let Bench {
        dir,
        intake,
        inbox,
        metrics,
        keeper,
        stop,
    } = bench(Fault::default()).await;
    let work = async {
        let plain = [joined("plain-lost"), joined("plain-kept")];
        let own = Intake::share();
        let frames = async |octets: &'static [u8]| {
            let before = metrics.queued_bytes.get();
            for worker in &plain {
                let octets = Bytes::from_static(octets);
                intake.send(&own, &worker.worker, octets).await.unwrap();
            }
            // Taken by the keeper, and with the next commit of a connection it stands.
            while metrics.queued_bytes.get() > before {
                tokio::task::yield_now().await;
            }
        };
        let (lost, kept) = (joined("lost"), joined("kept"));
        let (first, _) = open(&intake, &lost).await;
        let (mut other, _) = open(&intake, &kept).await;
        frames(b"5 hello").await;
        assert!(stands(&lines(&first, 0, b"one\n").await, 4));
        assert!(stands(&lines(&other, 0, b"eins\n").await, 5));

        fs::remove_file(segment(dir.path(), "lost/decky")).unwrap();
        fs::remove_file(segment(dir.path(), "plain-lost/syslog")).unwrap();
        frames(b"5 again").await;
        assert_eq!(lines(&first, 4, b"two\n").await, News::Void);
        drop(first);
        // In the same window it may be void as well, and then comes again.
        while !stands(&lines(&other, 5, b"zwei\n").await, 10) {
            drop(other);
            let again = open(&intake, &kept).await;
            assert_eq!(again.1.offset.get(), 5);
            other = again.0;
        }
        let (again, standing) = open(&intake, &lost).await;
        assert_eq!(standing.offset, Offset::ZERO);
        assert!(stands(&lines(&again, 0, b"three\n").await, 6));
        assert!(stands(&lines(&other, 10, b"drei\n").await, 15));
        drop(intake);
    };
    let (kept, ()) = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(keeper.run(), work)
    })
    .await
    .expect("it goes on");
    kept.unwrap();
    let held = |stream| String::from_utf8(fs::read(segment(dir.path(), stream)).unwrap());
    assert_eq!(held("lost/decky").unwrap(), "three\n");
    assert_eq!(held("kept/decky").unwrap(), "eins\nzwei\ndrei\n");
    assert_eq!(held("plain-lost/syslog").unwrap(), "5 again");
    assert_eq!(held("plain-kept/syslog").unwrap(), "5 hello5 again");
    assert_eq!(metrics.damaged_epochs.get(), 2);
    // The merger is told that what it may have is gone.
    let mail = inbox.take();
    let told = |worker| {
        let news = mail.news.iter().find(|n| n.source.key.worker() == worker);
        news.map(|news| (news.stood, news.end)).unwrap()
    };
    assert_eq!(told("lost"), (Some(0), 6));
    assert_eq!(told("kept"), (None, 15));
    drop(stop);
}
