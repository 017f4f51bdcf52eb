//! What the owner's end is told of how far the merged files are.

use archive::{Archive, Options, Origin};

use super::*;

fn id(n: u8) -> EpochId {
    EpochId::from_bytes([n; 16])
}

/// What an archive tells of windows that append to epochs.
async fn reports(archive: &mut Archive, key: &StreamKey, epochs: &[u8]) -> Vec<Committed> {
    for &n in epochs {
        let origin = Origin::default();
        let handle = archive.open_epoch(key, id(n), Form::Log, 0, origin).await;
        archive.append(handle.unwrap(), b"a line\n").unwrap();
    }
    archive.commit().await.unwrap()
}

#[tokio::test]
async fn whatever_is_not_known_to_be_merged_is_needed() {
    let data = tempfile::tempdir().unwrap();
    archive::init(data.path()).unwrap();
    let mut archive = Archive::open(data.path(), Options::default())
        .await
        .unwrap();
    let key = StreamKey::new("web", "decky").unwrap();
    let first = reports(&mut archive, &key, &[1, 2]).await;
    let (feed, inbox) = Feed::new();
    assert_eq!(feed.needed(&key, id(1)), Some(0), "nobody said anything");
    feed.standing(data.path(), first.into_iter());
    assert!(inbox.again().unwrap()[&key] > 0, "it has a ledger");
    inbox.publish(
        &key,
        Merged {
            whole: false,
            epochs: HashMap::from([(id(1), 5)]),
        },
    );
    assert_eq!(feed.needed(&key, id(1)), Some(5));
    assert_eq!(feed.needed(&key, id(9)), Some(0), "the ledger was not read");
    inbox.publish(
        &key,
        Merged {
            whole: true,
            epochs: HashMap::from([(id(1), 7)]),
        },
    );
    assert_eq!(feed.needed(&key, id(9)), None, "over and merged long ago");
    assert_eq!(feed.needed(&key, id(2)), Some(0), "told of, not merged");
    let more = reports(&mut archive, &key, &[3]).await;
    feed.committed(&more, std::iter::empty());
    assert_eq!(feed.needed(&key, id(3)), Some(0));
    for news in inbox.news() {
        inbox.forget(&news.source);
    }
    assert_eq!(feed.needed(&key, id(3)), None);
    assert_eq!(
        Feed::default().needed(&key, id(1)),
        None,
        "nothing is merged"
    );
}

#[tokio::test]
async fn a_full_queue_leaves_out_the_newest_and_a_piece_has_its_own_place() {
    let data = tempfile::tempdir().unwrap();
    archive::init(data.path()).unwrap();
    let mut archive = Archive::open(data.path(), Options::default())
        .await
        .unwrap();
    let key = StreamKey::new("web", "decky").unwrap();
    let mut report = reports(&mut archive, &key, &[1]).await;
    let (feed, inbox) = Feed::new();
    let half = Bytes::from(vec![b'x'; MAX_QUEUE / 2]);
    let bytes = |bytes: &'static [u8]| Step::Bytes(Bytes::from_static(bytes));
    let steps = [
        Step::Bytes(half.clone()),
        Step::Gap(MAX_QUEUE as u64),
        Step::Archived(10),
        Step::Bytes(half.clone()),
        Step::Bytes(half),
        bytes(b"y"),
    ];
    let handle = report[0].handle;
    let (half, all) = (MAX_QUEUE as u64 / 2, MAX_QUEUE as u64);
    report[0].to = all + 10 + all + 1;
    feed.committed(&report, steps.into_iter().map(|step| (handle, step)));
    assert_eq!(places(&inbox), [(0, half), (all + 10, all + 10 + half)]);
    // What does not add up to the window is left out whole.
    (report[0].from, report[0].to) = (report[0].to, report[0].to + 9);
    let steps = [bytes(b"four"), bytes(b"")];
    feed.committed(&report, steps.into_iter().map(|step| (handle, step)));
    assert_eq!(places(&inbox), []);
}

/// Where the queued pieces begin and end.
fn places(inbox: &Inbox) -> Vec<(u64, u64)> {
    let pieces = std::iter::from_fn(|| inbox.take().piece);
    pieces.map(|piece| (piece.from, piece.to())).collect()
}
