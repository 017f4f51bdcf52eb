//! The ledger over real files: form, chain, repeats, torn ends, large files.

use std::fs;
use std::time::Duration;

use super::*;

fn at_time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn gap(base: u64, len: u64) -> Fact {
    Fact {
        kind: "gap".into(),
        epoch: Some("e1".into()),
        base: Some(base),
        len: Some(len),
        ..Fact::default()
    }
}

fn open(path: &Path) -> Ledger {
    let opened = Ledger::open(path).unwrap();
    assert_eq!(opened.torn, None);
    opened.ledger
}

#[test]
fn goes_on_where_it_was_left_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let mut ledger = open(&path);
    ledger.append(&[gap(0, 5)], at_time(1)).unwrap();
    let end = ledger.end();
    drop(ledger);
    let mut ledger = Ledger::resume(&path, &end).unwrap().unwrap();
    ledger.append(&[gap(9, 5), gap(20, 1)], at_time(2)).unwrap();
    assert_eq!(open(&path).end(), ledger.end());
    assert_eq!(Ledger::verify(&path).unwrap().facts, 3);
    assert!(
        Ledger::resume(&path, &end).unwrap().is_none(),
        "it is longer"
    );
    fs::remove_file(&path).unwrap();
    assert!(Ledger::resume(&path, &ledger.end()).unwrap().is_none());
    assert!(!path.exists());
}

#[test]
fn goes_on_after_a_write_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let mut ledger = open(&path);
    ledger.append(&[gap(0, 5)], at_time(1)).unwrap();
    assert_eq!(ledger.mend().unwrap(), None);
    let whole = fs::read(&path).unwrap();
    ledger.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let full = ledger.append(&[gap(9, 5)], at_time(2));
    assert!(matches!(full, Err(LedgerError::Io { .. })), "{full:?}");
    // What got in before the disk was full.
    fs::write(&path, [&whole[..], b"{\"seq\":"].concat()).unwrap();
    let again = ledger.append(&[gap(9, 5)], at_time(3));
    assert!(
        matches!(again, Err(LedgerError::Failed { .. })),
        "{again:?}"
    );
    assert_eq!(ledger.mend().unwrap().map(|torn| torn.len), Some(7));
    assert_eq!(ledger.append(&[gap(9, 5)], at_time(4)).unwrap(), 1);
    assert_eq!(ledger.append(&[gap(9, 5)], at_time(5)).unwrap(), 0);
    assert_eq!(Ledger::verify(&path).unwrap().facts, 2);
}

#[test]
fn writes_the_fixed_fields_in_order_and_chains_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let mut ledger = open(&path);
    assert_eq!(ledger.head(), "0".repeat(64));
    let mut opened = Fact {
        kind: "opened".into(),
        blake3: Some("ab".into()),
        ..Fact::default()
    };
    opened.more.insert("zebra \"1\"".into(), Value::Null);
    opened.more.insert("after".into(), 7.into());
    assert_eq!(
        ledger
            .append(&[opened, gap(5, 10)], at_time(1_763_700_000))
            .unwrap(),
        2
    );
    let text = fs::read_to_string(&path).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(
        first,
        format!(
            r#"{{"seq":0,"at":"2025-11-21T04:40:00.000000Z","kind":"opened","epoch":null,"base":null,"len":null,"blake3":"ab","prev":"{}","after":7,"zebra \"1\"":null}}"#,
            "0".repeat(64)
        )
    );
    let second: Value = serde_json::from_str(second).unwrap();
    assert_eq!(
        second["prev"],
        blake3::hash(first.as_bytes()).to_hex().as_str()
    );
    assert_eq!(second["seq"], 1);
    let reopened = open(&path);
    assert_eq!((reopened.head(), reopened.next_seq()), (ledger.head(), 2));
    let verified = Ledger::verify(&path).unwrap();
    assert_eq!((verified.facts, verified.head.as_str()), (2, ledger.head()));
    let kinds: Vec<Value> = ledger
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["opened", "gap"]);
}

#[test]
fn leaves_out_repeats_also_after_a_new_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut ledger = open(&path);
    assert_eq!(
        ledger
            .append(&[gap(0, 10), gap(0, 10), gap(10, 10)], at_time(1))
            .unwrap(),
        2
    );
    let mut ledger = open(&path);
    assert_eq!(
        ledger
            .append(&[gap(10, 10), gap(0, 9)], at_time(2))
            .unwrap(),
        0
    );
    assert_eq!(
        ledger.append(&[gap(10, 11)], at_time(2)).unwrap(),
        1,
        "it says more than before"
    );
    let mut other = gap(0, 10);
    other.epoch = None;
    assert_eq!(ledger.append(&[other], at_time(2)).unwrap(), 1);
    let mut uncertain = gap(7, 10);
    uncertain.kind = "uncertain".into();
    let mut second = uncertain.clone();
    uncertain.more.insert("path".into(), "a.log".into());
    second.more.insert("path".into(), "a.json".into());
    assert_eq!(
        ledger
            .append(&[uncertain.clone(), second, uncertain], at_time(2))
            .unwrap(),
        2
    );
    let mut opened = gap(0, 10);
    opened.kind = "opened".into();
    assert_eq!(
        ledger
            .append(&[opened.clone(), opened], at_time(3))
            .unwrap(),
        2,
        "only losses are told again"
    );
    assert_eq!(Ledger::verify(&path).unwrap().facts, 8);
}

#[test]
fn one_users_loss_is_no_repeat_of_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let of = |uid: Value| {
        let mut gap = gap(7, 10);
        gap.more.insert("uid".into(), uid);
        gap
    };
    let facts = [of(1000.into()), of(1001.into()), of(Value::Null)];
    assert_eq!(open(&path).append(&facts, at_time(1)).unwrap(), 3);
    assert_eq!(open(&path).append(&facts, at_time(2)).unwrap(), 0);
    assert_eq!(
        open(&path).append(&[gap(7, 10)], at_time(3)).unwrap(),
        0,
        "nobody is no other user"
    );
}

#[test]
fn tells_again_what_a_recovery_took_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut recovery = gap(10, 0);
    recovery.kind = "recovery".into();
    recovery.more.insert("segment".into(), Value::Null);
    for again in [false, true] {
        let mut ledger = open(&path);
        if !again {
            ledger
                .append(
                    &[gap(0, 10), gap(10, 10), gap(30, 5), recovery.clone()],
                    at_time(1),
                )
                .unwrap();
            // In the same process, and after a new open.
            assert_eq!(ledger.append(&[gap(10, 10)], at_time(1)).unwrap(), 1);
            continue;
        }
        assert_eq!(
            ledger
                .append(&[gap(0, 10), gap(10, 10)], at_time(2))
                .unwrap(),
            0
        );
        assert_eq!(ledger.append(&[gap(30, 5)], at_time(2)).unwrap(), 1);
    }
    Ledger::verify(&path).unwrap();
}

#[test]
fn puts_a_torn_line_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut ledger = open(&path);
    ledger
        .append(&[gap(0, 10), gap(20, 10)], at_time(1))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let first = memchr::memchr(b'\n', &whole).unwrap() + 1;
    for cut in [1, first - 1, first, first + 1, whole.len() - 1, whole.len()] {
        fs::write(&path, &whole[..cut]).unwrap();
        let opened = Ledger::open(&path).unwrap();
        let at = if cut < first {
            0
        } else if cut < whole.len() {
            first
        } else {
            cut
        };
        assert_eq!(fs::read(&path).unwrap(), whole[..at]);
        match opened.torn {
            None => assert_eq!(at, cut),
            Some(torn) => {
                assert_eq!((torn.at, torn.len), (at as u64, (cut - at) as u64));
                assert!(
                    fs::read(torn.quarantine)
                        .unwrap()
                        .ends_with(&whole[at..cut])
                );
            }
        }
        let mut ledger = opened.ledger;
        ledger
            .append(&[gap(cut as u64 + 100, 1)], at_time(2))
            .unwrap();
        Ledger::verify(&path).unwrap();
    }
}

/// Runs a test again, by its name, in a process that can't write more than 2 KiB to a file; false in that process.
fn run_limited(name: &str, path: &Path) -> bool {
    if std::env::var_os(LIMITED).is_some() {
        return false;
    }
    let test = std::env::current_exe().unwrap();
    // Without the signal, a write over the limit is short and then an error, as on a full disk. The output goes through a
    // pipe: the file that ours may be in would be limited as well.
    let limited = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(test)
        .args(["--exact", name])
        .env(LIMITED, path)
        .output()
        .unwrap();
    assert!(limited.status.success(), "{limited:?}");
    true
}

const LIMITED: &str = "LOGFERRY_TEST_LEDGER";

#[test]
fn tells_which_facts_stand_after_a_write_that_failed() {
    let mut facts: Vec<Fact> = (0..20).map(|number| gap(number, 10)).collect();
    facts.iter_mut().for_each(|fact| fact.base = None);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let name = "ledger::tests::tells_which_facts_stand_after_a_write_that_failed";
    if !run_limited(name, &path) {
        let mut ledger = open(Path::new(&std::env::var_os(LIMITED).unwrap()));
        assert!(ledger.append(&facts, at_time(1)).is_err());
        assert!(ledger.append(&facts, at_time(1)).is_err());
        assert!(ledger.stood() > 0 && ledger.stood() < facts.len());
        fs::write(
            ledger.path.with_extension("stood"),
            ledger.stood().to_string(),
        )
        .unwrap();
        return;
    }
    let stood = fs::read_to_string(path.with_extension("stood")).unwrap();
    let stood: usize = stood.parse().unwrap();
    let opened = Ledger::open(&path).unwrap();
    assert!(opened.torn.is_some());
    let mut ledger = opened.ledger;
    assert_eq!(ledger.next_seq(), stood as u64);
    ledger.append(&facts[stood..], at_time(2)).unwrap();
    assert_eq!(Ledger::verify(&path).unwrap().facts, facts.len() as u64);
}

#[test]
fn reads_only_the_tail_of_a_large_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut ledger = open(&path);
    let facts: Vec<Fact> = (0..10_000).map(|base| gap(base * 10, 10)).collect();
    ledger.append(&facts, at_time(1)).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 3 * TAIL_BYTES);
    // What lies before the tail is not looked at by open, but by verify.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(b"XX", 1000)
        .unwrap();
    let mut ledger = open(&path);
    assert_eq!(ledger.next_seq(), 10_000);
    assert_eq!(ledger.append(&facts[9_000..], at_time(2)).unwrap(), 0);
    let error = Ledger::verify(&path).unwrap_err();
    assert!(
        matches!(error, LedgerError::Damaged { line: 1..10, .. }),
        "{error}"
    );
}

#[test]
fn names_the_line_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut ledger = open(&path);
    ledger
        .append(
            &(0..5).map(|base| gap(base * 20, 10)).collect::<Vec<_>>(),
            at_time(1),
        )
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let check = |lines: &[&str], line: u64, what: &str| {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let error = Ledger::verify(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("line {line}: {what}")), "{error}");
    };
    let changed = lines[1].replace("\"len\":10", "\"len\":11");
    check(
        &[lines[0], &changed, lines[2]],
        3,
        "its prev is not the hash of the line before",
    );
    check(
        &[lines[0], lines[2]],
        2,
        "its seq does not follow the line before",
    );
    check(&[lines[0], "[]"], 2, "no JSON object");
    check(&[lines[0], lines[1], ""], 3, "no JSON object");
    fs::write(&path, [lines[0], lines[1]].join("\n")).unwrap();
    assert!(
        Ledger::verify(&path)
            .unwrap_err()
            .to_string()
            .ends_with("line 2: it is unfinished")
    );
    fs::write(&path, "not a ledger\n").unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(
        matches!(error, LedgerError::Damaged { line: 0, .. }),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"not a ledger\n");
}

#[test]
fn refuses_fixed_names_and_long_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut ledger = open(&path);
    let mut fact = gap(0, 1);
    fact.more.insert("prev".into(), 1.into());
    assert!(matches!(
        ledger.append(&[fact], at_time(1)),
        Err(LedgerError::Refused { .. })
    ));
    let mut fact = gap(0, 1);
    fact.more
        .insert("text".into(), "x".repeat(LINE_BYTES).into());
    assert!(matches!(
        ledger.append(&[gap(5, 5), fact], at_time(1)),
        Err(LedgerError::Refused { .. })
    ));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    ledger.append(&[gap(5, 5)], at_time(1)).unwrap();
    assert_eq!(Ledger::verify(&path).unwrap().facts, 1);
}

#[test]
fn joins_adjacent_gaps() {
    let mut far = gap(40, 5);
    far.epoch = None;
    let mut facts = vec![
        gap(0, 10),
        gap(10, 5),
        gap(15, 1),
        gap(17, 3),
        gap(20, 4),
        far.clone(),
    ];
    Fact::coalesce(&mut facts);
    assert_eq!(facts, [gap(0, 16), gap(17, 7), far]);
    let mut opened = vec![gap(0, 1), gap(1, 1)];
    opened
        .iter_mut()
        .for_each(|fact| fact.kind = "opened".into());
    Fact::coalesce(&mut opened);
    assert_eq!(opened.len(), 2);
}

#[test]
fn formats_times() {
    let check = |seconds, expected: &str| assert_eq!(time::rfc3339(at_time(seconds)), expected);
    check(0, "1970-01-01T00:00:00.000000Z");
    check(951_782_399, "2000-02-28T23:59:59.000000Z");
    check(951_782_400, "2000-02-29T00:00:00.000000Z");
    check(4_107_542_399, "2100-02-28T23:59:59.000000Z");
    check(4_107_542_400, "2100-03-01T00:00:00.000000Z");
    check(1_763_700_000, "2025-11-21T04:40:00.000000Z");
    assert_eq!(
        time::rfc3339(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890)),
        "1970-01-01T00:00:01.234567Z"
    );
}
