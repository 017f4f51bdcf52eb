//! The ledger on a full disk.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use offsets::{Fact, Ledger};

use super::Book;

/// Where the ledger is, in the process that can't write all of it.
const LIMITED: &str = "LOGFERRY_TEST_LEDGER";

fn tallies() -> Vec<Fact> {
    let fact = Fact {
        kind: "broken-frame".to_owned(),
        ..Fact::default()
    };
    vec![fact; 20]
}

/// Runs this test again in a process whose files end at 2 KiB: as on a full disk, a write is short there, and then an
/// error.
fn run_limited(path: &Path) {
    // Its output goes through a pipe: the file that ours may be in has an end, too.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "committer::tests::a_tally_stands_once"])
        .env(LIMITED, path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_tally_stands_once() {
    if let Some(path) = env::var_os(LIMITED) {
        let mut facts = tallies();
        let mut book = Book::new(path.into());
        for _ in 0..2 {
            assert!(book.record(&mut facts).await.is_err());
        }
        return fs::write(book.path.with_extension("left"), facts.len().to_string()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    run_limited(&path);
    let left = fs::read_to_string(path.with_extension("left")).unwrap();
    let mut facts = tallies();
    facts.truncate(left.parse().unwrap());
    let mut book = Book::new(path.clone());
    book.record(&mut facts).await.unwrap();
    assert!(facts.is_empty());
    let verified = Ledger::verify(&path).unwrap();
    assert_eq!(verified.facts, tallies().len() as u64);
}
