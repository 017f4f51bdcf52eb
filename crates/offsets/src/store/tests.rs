//! The store over real files: durability across opens, order, damage and versions.

use std::time::Instant;

use super::*;

fn put(key: &str, value: &[u8]) -> Change {
    Change::Put {
        key: key.into(),
        value: value.to_vec(),
    }
}

fn delete(key: &str) -> Change {
    Change::Delete { key: key.into() }
}

#[tokio::test]
async fn keeps_changes_across_opens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/offsets.sqlite");
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    store
        .commit(&[
            put("a", b"1"),
            put("b/1", b"\xff\0"),
            put("b/2", b""),
            put("c", b"x"),
            delete("c"),
        ])
        .await
        .unwrap();
    store
        .commit(&[put("a", b"2"), delete("none")])
        .await
        .unwrap();
    drop(store);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(store.get("c").await.unwrap(), None);
    let listed = store.list("b/").await.unwrap();
    assert_eq!(
        listed,
        [
            ("b/1".to_owned(), b"\xff\0".to_vec()),
            ("b/2".to_owned(), vec![])
        ]
    );
}

#[tokio::test]
async fn takes_a_prefix_literally() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("s")).await.unwrap();
    store
        .commit(&[
            put("é%_1", b""),
            put("éx", b""),
            put("é%_2", b""),
            put("Éx", b""),
        ])
        .await
        .unwrap();
    let keys: Vec<String> = store
        .list("é%_")
        .await
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["é%_1", "é%_2"]);
    assert_eq!(store.list("").await.unwrap().len(), 4);
}

#[tokio::test]
async fn commits_many_rows_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("s")).await.unwrap();
    let changes: Vec<Change> = (0..1000)
        .map(|n| put(&format!("k{n:04}"), &[0; 100]))
        .collect();
    store.commit(&changes).await.unwrap();
    assert_eq!(store.list("k").await.unwrap().len(), 1000);
}

#[tokio::test]
async fn shows_what_is_ahead_and_writes_it_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let store = Store::open(&path).await.unwrap();
    store
        .commit(&[put("a", b"1"), put("b", b"1")])
        .await
        .unwrap();
    store.put_ahead("redo", 7, [put("a", b"2"), delete("b"), put("c", b"3")]);
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(store.list("").await.unwrap().len(), 2);
    let other = Store::open(&path).await.unwrap();
    assert_eq!(other.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(other.applied("redo").await.unwrap(), None);
    store.commit(&[put("c", b"4")]).await.unwrap();
    assert_eq!(
        other.list("").await.unwrap(),
        [
            ("a".to_owned(), b"2".to_vec()),
            ("c".to_owned(), b"4".to_vec())
        ]
    );
    assert_eq!(other.applied("redo").await.unwrap(), Some(7));
    assert_eq!(store.ahead_of("redo"), (7, Vec::new()));
}

#[tokio::test]
async fn refuses_a_damaged_file_and_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), [b'x'; 8192]);
}

#[tokio::test]
async fn notices_a_damaged_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let store = Store::open(&path).await.unwrap();
    let changes: Vec<Change> = (0..2000)
        .map(|n| put(&format!("k{n:04}"), &[7; 100]))
        .collect();
    store.commit(&changes).await.unwrap();
    drop(store);
    // The connection's thread closes the file, and with it the WAL, on its own time.
    let wal = dir.path().join("s-wal");
    let deadline = Instant::now() + Duration::from_secs(10);
    while wal.exists() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..64].fill(0xee);
    }
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn refuses_another_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let store = Store::open(&path).await.unwrap();
    sqlx::query("PRAGMA user_version = 9")
        .execute(&mut *store.inner.connection.lock().await)
        .await
        .unwrap();
    drop(store);
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Version {
                found: 9,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn names_the_path_that_cannot_be_made() {
    let error = Store::open("/proc/none/offsets.sqlite").await.unwrap_err();
    assert!(
        error.to_string().contains("/proc/none/offsets.sqlite"),
        "{error}"
    );
}

/// Runs a statement on a store's own connection.
async fn execute(store: &Store, statement: &'static str) {
    let mut connection = store.inner.connection.lock().await;
    sqlx::query(statement)
        .execute(&mut *connection)
        .await
        .unwrap();
}

/// SQLite rolls some failed transactions back by itself and leaves others open. Whatever it did, the next commit holds.
#[tokio::test]
async fn a_commit_after_failed_ones_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("offsets.sqlite");
    let store = Store::open(&path).await.unwrap();
    store.commit(&[put("a", b"before")]).await.unwrap();
    execute(&store, "PRAGMA busy_timeout = 0").await;
    let other = Store::open(&path).await.unwrap();
    let big = vec![7; 64 << 10];
    // Full, or locked by somebody else, in every order of two.
    for order in ["full full", "busy full", "full busy", "busy busy"] {
        for trouble in order.split(' ') {
            if trouble == "full" {
                execute(&store, "PRAGMA max_page_count = 1").await;
                store.commit(&[put("a", &big)]).await.unwrap_err();
                execute(&store, "PRAGMA max_page_count = 1000000").await;
            } else {
                execute(&other, "BEGIN IMMEDIATE").await;
                store.commit(&[put("a", b"x")]).await.unwrap_err();
                execute(&other, "ROLLBACK").await;
            }
        }
        let value = order.as_bytes();
        store.commit(&[put("a", value)]).await.unwrap();
        let found = other.get("a").await.unwrap();
        assert_eq!(found.as_deref(), Some(value), "after {order}");
    }
}
