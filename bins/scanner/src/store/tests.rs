//! The store over real files.

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
async fn a_batch_stands_whole_or_not_at_all() {
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
    // The second has an id that is taken.
    batch.events = vec![event(3), event(1)];
    batch.values.insert("x", b"1".to_vec());
    assert!(store.commit(&batch).await.is_err());
    assert_eq!(store.value("x").await.unwrap(), None);
    let mut reader = EventReader::open(dir.path()).await.unwrap();
    let found = reader.after(0, 10).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["id-1", "id-2"]);
    assert_eq!(reader.after(1, 10).await.unwrap(), found[1..]);
    assert_eq!(reader.last_seq().await.unwrap(), 2);
    assert_eq!(reader.before(1500).await.unwrap(), 1);
    assert_eq!(reader.before(9_999_999).await.unwrap(), 2);
    assert_eq!(reader.find("id-2").await.unwrap().as_ref(), Some(&found[1]));
    batch.events = vec![event(4)];
    assert_eq!(store.commit(&batch).await.unwrap(), Some(3));
    store.close().await.unwrap();
    // Also when nobody writes.
    assert_eq!(reader.last_seq().await.unwrap(), 3);
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
