//! Plain use: bytes, changes, limits, files that move between batches.

use super::*;

async fn append(appender: &mut Appender, log: &str, json: &str, n: &str) -> Appended {
    let parts = vec![log.as_bytes().to_vec(), json.as_bytes().to_vec()];
    appender.append(parts, vec![put("n", n)]).await.unwrap()
}

#[tokio::test]
async fn appends_and_keeps_changes() {
    let house = House::new();
    let (mut appender, recovered) = house.open().await;
    assert_eq!(recovered, []);
    let appended = append(&mut appender, "a\nb\n", "{}\n", "1").await;
    assert_eq!(appended.bytes, 7);
    assert!(
        appended
            .parts
            .iter()
            .all(|part| part.is_empty() && part.capacity() > 0)
    );
    append(&mut appender, "c\n", "", "2").await;
    append(&mut appender, "", "", "3").await;
    assert_eq!(
        appender.store().get("n").await.unwrap().as_deref(),
        Some(&b"3"[..])
    );
    appender.rest().await.unwrap();
    drop(appender);
    let (appender, recovered) = house.open().await;
    assert_eq!(recovered, [], "a settled batch is not counted again");
    assert_eq!(
        appender.store().get("n").await.unwrap().as_deref(),
        Some(&b"3"[..])
    );
    assert_eq!(house.read("log/decky.log"), "a\nb\nc\n");
    assert_eq!(house.read("log/decky.json"), "{}\n");
}

#[tokio::test]
async fn appends_batches_of_every_size() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    let mut expected = Vec::new();
    for len in [
        1,
        2,
        511,
        512,
        4095,
        4096,
        4097,
        65_535,
        65_536,
        70_001,
        1 << 20,
        3 << 20,
        5,
        200_000,
    ] {
        let mut part: Vec<u8> = (0..len)
            .map(|byte| b'a' + u8::try_from(byte % 23).unwrap())
            .collect();
        part[len - 1] = b'\n';
        expected.extend_from_slice(&part);
        appender
            .append(vec![part.clone(), part], vec![])
            .await
            .unwrap();
        let (record, _) = appender.slots_newest().await;
        assert_eq!(record.parts.concat().len(), 2 * len);
        assert!(expected.ends_with(&record.parts[1]));
    }
    assert!(fs::read(house.log()).unwrap() == expected);
    appender.flush().await.unwrap();
    assert_eq!(appender.counters().batches, 14);
    assert_eq!(appender.counters().bytes, 2 * expected.len() as u64);
}

impl Appender {
    async fn slots_newest(&mut self) -> (record::Record, bool) {
        let core = self.idle().await.unwrap();
        let newest = core.slots.newest().unwrap();
        self.state = State::Idle(core);
        newest
    }
}

#[tokio::test]
async fn refuses_what_breaks_the_contract() {
    let house = House::new();
    let store = Store::open(house.path("s")).await.unwrap();
    let limits = Limits {
        batch_bytes: 10,
        change_bytes: 10,
    };
    let (mut appender, _) = Appender::open(store, house.path("redo"), &[house.log()], limits)
        .await
        .unwrap();
    let mut check = async |parts: &[&str], changes: Vec<Change>, what: &str| {
        let parts = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let error = appender.append(parts, changes).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    check(&[], vec![], "number of parts").await;
    check(&["a\n", "b\n"], vec![], "number of parts").await;
    check(&["no end"], vec![], "without a final LF").await;
    check(&["12345678901\n"], vec![], "bytes of a batch").await;
    check(&["1\n"], vec![put("key", "12345678")], "bytes of changes").await;
    appender
        .append(vec![b"123456789\n".to_vec()], vec![])
        .await
        .unwrap();
    assert_eq!(house.read("log/decky.log"), "123456789\n");
}

#[tokio::test]
async fn opens_what_was_rotated_or_deleted_between_batches() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    append(&mut appender, "1\n", "1\n", "1").await;
    fs::rename(house.log(), house.path("log/decky.log.1")).unwrap();
    append(&mut appender, "2\n", "2\n", "2").await;
    appender.rest().await.unwrap();
    copytruncate(&house.log(), &house.path("log/decky.log.0"));
    append(&mut appender, "3\n", "3\n", "3").await;
    appender.rest().await.unwrap();
    fs::remove_dir_all(house.path("log")).unwrap();
    append(&mut appender, "4\n", "4\n", "4").await;
    assert_eq!(house.read("log/decky.log"), "4\n");
    assert_eq!(house.read("log/decky.json"), "4\n");
    assert_eq!(appender.counters().reopened, 3);
}

#[tokio::test]
async fn puts_an_lf_behind_somebodys_torn_line() {
    let house = House::new();
    append_raw(&house.log(), b"torn before");
    let (mut appender, _) = house.open().await;
    append(&mut appender, "1\n", "", "1").await;
    append_raw(&house.log(), b"torn between");
    append(&mut appender, "2\n", "", "2").await;
    append_raw(&house.log(), b"whole\n");
    append(&mut appender, "3\n", "", "3").await;
    assert_eq!(
        house.read("log/decky.log"),
        "torn before\n1\ntorn between\n2\nwhole\n3\n"
    );
}

#[tokio::test]
async fn keeps_a_blocked_batch_and_goes_on() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    append(&mut appender, "1\n", "", "1").await;
    appender.rest().await.unwrap();
    fs::remove_file(house.log()).unwrap();
    fs::create_dir(house.log()).unwrap();
    let error = appender
        .append(vec![b"2\n".to_vec(), b"2\n".to_vec()], vec![put("n", "2")])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AppendError::Blocked { path, .. } if *path == house.log()),
        "{error:?}"
    );
    let error = appender
        .append(vec![b"3\n".to_vec(), vec![]], vec![])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AppendError::Pending { parts, .. } if parts[0] == b"3\n"),
        "{error:?}"
    );
    assert!(!appender.is_kept().await.unwrap(), "not announced yet");
    assert!(matches!(
        appender.resume().await,
        Err(AppendError::Blocked { .. })
    ));
    fs::remove_dir(house.log()).unwrap();
    let appended = appender.resume().await.unwrap();
    assert_eq!(appended.bytes, 4);
    assert_eq!(appender.resume().await.unwrap().bytes, 0);
    assert_eq!(house.read("log/decky.log"), "2\n");
    assert_eq!(
        appender.store().get("n").await.unwrap().as_deref(),
        Some(&b"2"[..])
    );
    assert_eq!(appender.counters().blocked, 2);
}

#[tokio::test]
async fn survives_a_dropped_future() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    let mut dropped = Box::pin(appender.append(vec![b"1\n".to_vec(), vec![]], vec![put("n", "1")]));
    let waker = std::task::Waker::noop();
    assert!(
        dropped
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
            .is_pending()
    );
    drop(dropped);
    while let Err(error) = appender
        .append(vec![b"2\n".to_vec(), vec![]], vec![put("n", "2")])
        .await
    {
        assert!(matches!(error, AppendError::Pending { .. }), "{error:?}");
        appender.resume().await.unwrap();
    }
    assert_eq!(house.read("log/decky.log"), "1\n2\n");
}

#[tokio::test]
async fn refuses_missing_damaged_and_foreign_redo_files() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    append(&mut appender, "1\n", "", "1").await;
    append(&mut appender, "2\n", "", "2").await;
    appender.flush().await.unwrap();
    drop(appender);
    let redo = [
        house.path("state/redo/redo.0"),
        house.path("state/redo/redo.1"),
    ];
    let kept = redo.each_ref().map(|path| fs::read(path).unwrap());
    let error = async || {
        house
            .try_open(&house.targets(), Disk::default())
            .await
            .unwrap_err()
            .to_string()
    };

    fs::remove_file(&redo[0]).unwrap();
    assert!(error().await.contains("redo.0 is damaged: it is missing"));
    for path in &redo {
        fs::write(path, vec![0; 20_000]).unwrap();
    }
    assert!(error().await.contains("neither slot holds a whole record"));
    fs::write(&redo[1], &kept[1]).unwrap();
    assert!(
        error()
            .await
            .contains("it is older than the checkpoint store")
    );
    fs::write(&redo[0], &kept[0]).unwrap();
    let (mut appender, _) = house.open().await;
    append(&mut appender, "3\n", "", "3").await;
    appender.rest().await.unwrap();
    drop(appender);
    for name in ["offsets.sqlite", "offsets.sqlite-wal", "offsets.sqlite-shm"] {
        let _ = fs::remove_file(house.path("state").join(name));
    }
    assert!(error().await.contains("the checkpoint store is older"));
    assert_eq!(house.read("log/decky.log"), "1\n2\n3\n");
}

#[tokio::test]
async fn a_slot_with_a_sector_of_before_is_no_batch() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    let lines = |text: &str| text.repeat(10_000).into_bytes();
    // 80 kB: there are bytes in the record's head and in its directly written middle.
    for line in ["aaaaaaa\n", "bbbbbbb\n", "ccccccc\n"] {
        appender
            .append(vec![lines(line), lines("json\n")], vec![put("n", line)])
            .await
            .unwrap();
        appender.rest().await.unwrap();
        fs::copy(house.path("state/redo/redo.1"), house.path(&line[..1])).unwrap();
    }
    drop(appender);
    let (before, after) = (
        fs::read(house.path("b")).unwrap(),
        fs::read(house.path("c")).unwrap(),
    );
    let newest = || {
        let slots = Slots::open(&house.path("state/redo"), true, &mut Disk::default()).unwrap();
        slots.newest().unwrap().0.seq
    };
    assert_eq!(newest(), 3);
    // The record begins behind the mark's block; its header says how long the head is.
    let head = u32::from_le_bytes(after[4096 + 12..][..4].try_into().unwrap()) as usize;
    // Between the head and the directly written middle there is padding, which belongs to no record. How much
    // depends on where the allocator put the buffers.
    let padding = 4096 + head..4096 + head.next_multiple_of(4096);
    let mut torn = 0;
    for (index, sector) in after.chunks(512).enumerate().skip(8) {
        let old = &before[index * 512..][..sector.len()];
        if sector != old && !padding.contains(&(index * 512)) {
            let mut mixed = after.clone();
            mixed[index * 512..][..sector.len()].copy_from_slice(old);
            fs::write(house.path("state/redo/redo.1"), mixed).unwrap();
            assert_eq!(newest(), 2, "sector {index} is old");
            torn += 1;
        }
    }
    assert!(torn > 100, "the batches differ in {torn} sectors");
}

#[tokio::test]
async fn moves_with_its_state_directory() {
    let house = House::new();
    let (mut appender, _) = house.open().await;
    append(&mut appender, "1\n", "", "1").await;
    appender.flush().await.unwrap();
    drop(appender);
    fs::rename(house.path("state"), house.path("elsewhere")).unwrap();
    let store = Store::open(house.path("elsewhere/offsets.sqlite"))
        .await
        .unwrap();
    let (appender, recovered) = Appender::open(
        store,
        house.path("elsewhere/redo"),
        &house.targets(),
        Limits::default(),
    )
    .await
    .unwrap();
    assert_eq!(recovered, []);
    assert_eq!(
        appender.store().get("n").await.unwrap().as_deref(),
        Some(&b"1"[..])
    );
}
