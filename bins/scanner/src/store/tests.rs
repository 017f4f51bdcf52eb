//! The store over real files.

use sqlx::Executor as _;

use super::{Batch, EventReader, NewEvent, Place, PlaceKey, Store, StoreError};

fn event(n: u32) -> NewEvent {
    NewEvent {
        id: format!("id-{n}"),
        at_ms: i64::from(n) * 1000,
        ts: "2026-01-01T00:00:00Z".to_owned(),
        severity: "warn",
        rule: "r".to_owned(),
        workload: "w/c".to_owned(),
        message: format!("message {n}"),
        body: format!("{{\"id\":\"id-{n}\"}}"),
    }
}

#[tokio::test]
async fn a_batch_stands_once_however_often_it_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await.unwrap();
    let key = PlaceKey {
        worker: "w".into(),
        stream: "s".into(),
        epoch: "e".into(),
    };
    let place = Place {
        ordinal: 1,
        offset: 10,
        within: false,
    };
    let mut batch = Batch {
        events: vec![event(1), event(2)],
        ..Batch::default()
    };
    batch.places.insert(key.clone(), Some(place));
    assert_eq!(store.commit(&batch).await.unwrap(), Some(2));
    // The same again, after a try of which nobody knows what became.
    store.commit(&batch).await.unwrap();
    let mut reader = EventReader::open(dir.path()).await.unwrap();
    let found = reader.after(0, 10).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["id-1", "id-2"]);
    assert_eq!(reader.after(1, 10).await.unwrap(), found[1..]);
    // A try may use numbers up.
    let last = reader.last_seq().await.unwrap();
    assert!(last >= 2);
    assert_eq!(reader.before(1500).await.unwrap(), 1);
    assert_eq!(reader.before(9_999_999).await.unwrap(), last);
    assert_eq!(reader.find("id-2").await.unwrap().as_ref(), Some(&found[1]));
    batch.events = vec![event(4)];
    assert_eq!(store.commit(&batch).await.unwrap(), Some(last + 1));
    store.close().await.unwrap();
    // Also when nobody writes.
    assert_eq!(reader.last_seq().await.unwrap(), last + 1);
    let mut reader = EventReader::open(dir.path()).await.unwrap();
    assert_eq!(reader.after(2, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn refuses_what_is_no_file_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(super::FILE), vec![7; 8192]).unwrap();
    let error = Store::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_voids_the_batch_and_the_next_try_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await.unwrap();
    store
        .connection
        .execute("PRAGMA max_page_count = 40")
        .await
        .unwrap();
    let mut large = event(1);
    large.message = "x".repeat(1 << 20);
    let batch = Batch {
        events: vec![event(0), large],
        ..Batch::default()
    };
    for _ in 0..3 {
        assert!(store.commit(&batch).await.is_err());
    }
    let mut reader = EventReader::open(dir.path()).await.unwrap();
    assert_eq!(reader.after(0, 1).await.unwrap(), []);
    store
        .connection
        .execute("PRAGMA max_page_count = 4000")
        .await
        .unwrap();
    assert_eq!(store.commit(&batch).await.unwrap(), Some(2));
}

#[tokio::test]
async fn retention_takes_the_oldest_and_leaves_what_is_still_needed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).await.unwrap();
    let batch = Batch {
        events: (1..=100).map(event).collect(),
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let mut reader = EventReader::open(dir.path()).await.unwrap();
    let mut first = async || reader.after(0, 1).await.unwrap()[0].seq;
    // Seen before the 11th, as far as everybody has read.
    assert_eq!(store.retain(11_000, 1000, 5).await.unwrap(), (5, 0));
    assert_eq!(first().await, 6);
    assert_eq!(store.retain(11_000, 1000, i64::MAX).await.unwrap(), (5, 0));
    assert_eq!(first().await, 11);
    assert_eq!(store.retain(0, 60, i64::MAX).await.unwrap(), (30, 0));
    assert_eq!(first().await, 41);
    // Nobody is waited for once there are twice as many as are kept.
    assert_eq!(store.retain(0, 25, 0).await.unwrap(), (10, 10));
    assert_eq!(first().await, 51);
    let batch = Batch {
        events: vec![event(101)],
        ..Batch::default()
    };
    assert_eq!(store.retain(i64::MAX, 1, i64::MAX).await.unwrap(), (50, 0));
    // Numbers are not used again.
    assert_eq!(store.commit(&batch).await.unwrap(), Some(101));
    assert_eq!(reader.last_seq().await.unwrap(), 101);
}
