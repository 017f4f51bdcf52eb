//! What another process sees of an archive.

use archive::{EpochId, Form, Options, Origin, StreamKey, View, ViewError};

use crate::support::Data;

async fn changed(view: &mut View) -> bool {
    view.changed().await.unwrap()
}

#[tokio::test]
async fn sees_what_is_committed_and_nothing_else() {
    let data = Data::new();
    let mut view = View::new(data.path());
    assert!(matches!(view.changed().await, Err(ViewError::NoIndex(_))));
    let mut archive = data.open(Options::default()).await;
    assert!(changed(&mut view).await);
    let key = StreamKey::new("w1", "decky").unwrap();
    let id = EpochId::random();
    let handle = archive
        .open_epoch(&key, id, Form::Log, 0, Origin::default())
        .await
        .unwrap();
    archive.append(handle, b"one\n").unwrap();
    assert!(changed(&mut view).await);
    let found = view.moved(None).await.unwrap();
    assert_eq!((found[0].epoch, found[0].end), (id, 0));
    archive.commit().await.unwrap();
    assert!(changed(&mut view).await);
    let newest = view.newest_ms().await.unwrap();
    let found = view.moved(Some(newest)).await.unwrap();
    assert_eq!((found.len(), found[0].end, found[0].sealed), (1, 4, false));
    assert_eq!(view.moved(Some(newest + 1)).await.unwrap(), []);
    assert_eq!(view.find(&key, id).await.unwrap().as_ref(), Some(&found[0]));
    let streams = view.streams().await.unwrap();
    assert_eq!((streams.len(), &streams[0].0), (1, &key));
    assert!(!changed(&mut view).await);
    archive.append(handle, b"two\n").unwrap();
    assert!(!changed(&mut view).await);
    archive.void().await.unwrap();
    let found = view.behind(&key, 0, 10).await.unwrap();
    assert_eq!((found.len(), found[0].end), (1, 4));
    assert_eq!(view.behind(&key, found[0].ordinal, 10).await.unwrap(), []);
    let before = streams[0].1;
    archive.seal(handle).unwrap();
    archive.commit().await.unwrap();
    assert!(view.streams().await.unwrap()[0].1 > before);
    assert_eq!(view.moved(None).await.unwrap(), []);
    assert!(view.find(&key, id).await.unwrap().unwrap().sealed);
}

#[tokio::test]
async fn leaves_nothing_beside_an_index_that_nobody_has_open() {
    let data = Data::new();
    let mut archive = data.open(Options::default()).await;
    let key = StreamKey::plain("w1").unwrap();
    let handle = archive.plain(&key).await.unwrap();
    archive.append(handle, b"1 a").unwrap();
    archive.commit().await.unwrap();
    archive.close().await.unwrap();
    let beside = || {
        data.path().join("index.sqlite-shm").exists()
            || data.path().join("index.sqlite-wal").exists()
    };
    assert!(!beside());
    let mut view = View::new(data.path());
    assert!(changed(&mut view).await);
    assert_eq!(view.moved(None).await.unwrap()[0].end, 3);
    assert!(!changed(&mut view).await);
    assert!(!beside());
    // The owner comes back, and is seen at once.
    let mut archive = data.open(Options::default()).await;
    let handle = archive.plain(&key).await.unwrap();
    archive.append(handle, b"1 b").unwrap();
    archive.commit().await.unwrap();
    assert!(changed(&mut view).await);
    assert_eq!(view.moved(None).await.unwrap()[0].end, 6);
}

#[tokio::test]
async fn follows_an_index_that_is_made_anew() {
    let data = Data::new();
    let mut archive = data.open(Options::default()).await;
    let key = StreamKey::plain("w1").unwrap();
    let handle = archive.plain(&key).await.unwrap();
    archive.append(handle, b"1 a").unwrap();
    archive.commit().await.unwrap();
    let mut view = View::new(data.path());
    assert!(changed(&mut view).await);
    archive.close().await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.path().join(format!("index.sqlite{suffix}")));
    }
    assert!(matches!(view.changed().await, Err(ViewError::NoIndex(_))));
    let _archive = data.open(Options::default()).await;
    assert!(changed(&mut view).await);
    assert_eq!(view.moved(None).await.unwrap()[0].end, 3);
}
