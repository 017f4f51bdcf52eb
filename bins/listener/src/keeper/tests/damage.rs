//! Files that vanish under the keeper.

use std::path::Path;

use delivery::Offset;

use super::links::{hear, joined, open, say};
use super::*;
use crate::intake::{News, Seat};

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
