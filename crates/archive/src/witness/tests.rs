//! Records that are whole, torn, overruled or nonsense.

use super::*;
use crate::entry::{Closed, Entry, HexNode, LedgerMark};
use crate::name::{EpochId, Form, StreamKey};

fn change() -> Change {
    let key = StreamKey::new("w", "decky").unwrap();
    let mut entry = Entry::new(key.clone(), EpochId::random(), Form::Log, 7, 12);
    entry.mark.segment = Some((7, 13));
    entry.pieces = (3, vec![HexNode([9; 32])]);
    entry.closed.push(Closed {
        base: 0,
        len: 7,
        hash: [1; 32],
        at_ms: 5,
    });
    let mark = LedgerMark {
        head: [2; 32],
        len: 44,
    };
    Change {
        entries: vec![entry],
        ledgers: vec![(key, mark)],
    }
}

fn open(dir: &tempfile::TempDir) -> (Witness, Option<Record>) {
    Witness::open(&Dir::root(dir.path()).unwrap()).unwrap()
}

#[test]
fn gives_the_newest_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let root = Dir::root(dir.path()).unwrap();
    let (mut witness, found) = open(&dir);
    assert_eq!(found, None);
    for window in 1..=5 {
        witness.write(&root, window, 99, &change()).unwrap();
        let record = open(&dir).1.unwrap();
        assert_eq!((record.window, record.at_ms), (window, 99));
        let change = record.change.unwrap();
        assert_eq!(change.ledgers, self::change().ledgers);
        assert_eq!(change.entries[0].closed, self::change().entries[0].closed);
    }
    // The fifth is torn anywhere: the fourth counts.
    let path = dir.path().join(NAMES[slot(5)]);
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 1, HEADER - 1, HEADER, HEADER + 50, 900] {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert_eq!(open(&dir).1.unwrap().window, 4, "{at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(open(&dir).1.unwrap().window, 4, "{at}");
    }
    std::fs::write(&path, whole).unwrap();
    // A void window is overruled.
    let (mut witness, _) = open(&dir);
    witness.overrule(&root, 4, 100).unwrap();
    let record = open(&dir).1.unwrap();
    assert_eq!((record.window, record.change), (4, None));
    witness.write(&root, 5, 101, &change()).unwrap();
    assert_eq!(open(&dir).1.unwrap().window, 5);
}

#[test]
fn nonsense_is_no_record() {
    let huge = format!("{MAGIC} 9999999999 {}\n", "0".repeat(64));
    for bytes in [&b""[..], b"x", huge.as_bytes(), &[0xff; 5000]] {
        assert_eq!(decode(bytes), None);
    }
}
