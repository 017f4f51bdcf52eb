//! Reading a ledger on, while it grows.

use std::fs;

use super::*;

fn id(n: u8) -> EpochId {
    EpochId::parse(&format!("{n:02x}").repeat(16)).unwrap()
}

struct Bench {
    data: tempfile::TempDir,
    key: StreamKey,
}

impl Bench {
    fn new() -> Bench {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("archive/web/decky")).unwrap();
        let key = StreamKey::new("web", "decky").unwrap();
        Bench { data, key }
    }

    fn write(&self, text: &str) {
        fs::write(
            self.data.path().join("archive/web/decky/ledger.jsonl"),
            text,
        )
        .unwrap();
    }

    fn read(&self, from: u64) -> Page {
        read(self.data.path(), &self.key, from).unwrap()
    }
}

#[test]
fn takes_what_it_knows_and_passes_over_the_rest() {
    let bench = Bench::new();
    assert_eq!((bench.read(0).to, bench.read(0).whole), (0, true));
    let epoch = id(1);
    let opened = format!("{{\"seq\":0,\"kind\":\"epoch\",\"epoch\":\"{epoch}\",\"base\":7}}\n");
    let others = "{\"kind\":\"takeover\",\"epoch\":null,\"base\":null}\nnonsense\n";
    let rolled = format!("{{\"kind\":\"rolled\",\"epoch\":\"{epoch}\",\"base\":90}}\n");
    let torn = "{\"kind\":\"ep";
    bench.write(&format!("{opened}{others}{rolled}{torn}"));
    let page = bench.read(0);
    let at = (opened.len() + others.len()) as u64;
    let facts = [
        (0, Fact::Opened { epoch, base: 7 }),
        (at, Fact::Rolled { epoch, end: 90 }),
    ];
    assert_eq!(page.facts, facts);
    assert_eq!((page.to, page.whole), (at + rolled.len() as u64, true));
    assert_eq!(bench.read(page.to).facts, []);
    assert_eq!(bench.read(at).facts, facts[1..]);
}

#[test]
fn a_long_ledger_comes_in_pages() {
    let bench = Bench::new();
    let line = |n: u8| {
        format!(
            "{{\"kind\":\"epoch\",\"epoch\":\"{}\",\"base\":0}}\n",
            id(n)
        )
    };
    let lines: String = (0..5000).map(|n| line((n % 250) as u8)).collect();
    bench.write(&lines);
    let (mut from, mut facts, mut pages) = (0, 0, 0);
    loop {
        let page = bench.read(from);
        (from, facts, pages) = (page.to, facts + page.facts.len(), pages + 1);
        if page.whole {
            break;
        }
    }
    assert_eq!((from, facts), (lines.len() as u64, 5000));
    assert!(pages > 1);
}

#[test]
fn a_shorter_ledger_was_taken_before() {
    let bench = Bench::new();
    bench.write("{}\n");
    let page = bench.read(100);
    assert_eq!((page.to, page.whole, page.facts.len()), (3, true, 0));
}
