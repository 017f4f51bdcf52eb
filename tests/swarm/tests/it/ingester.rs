//! Readers of the `.json`: DECNET's ingester contract on what collector and listener write, and its own ingester.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use decoy::{Decoy, Profile};
use serde_json::Value;
use swarm::{Decnet, Master, Programs, Row, Worker, WorkerSpec, merged_lines};
use tempfile::TempDir;

use crate::stage::WORKER;
use crate::support::{folder, line_count, need, wait_lines};

/// Decoys' lines: everything that has broken a pipeline, and what is larger than most.
const HOSTILE: u64 = 3000;
const BIG: u64 = 10;

/// Settings under which every record is written and traced: what is traced has a key more, for readers to pass over.
const EVERYTHING: &str = "[dedupe]\nwindow = \"0s\"\ndrop_services = []\n[syslog]\ntcp = \"127.0.0.1:0\"\n\
                          [otlp]\nendpoint = \"http://127.0.0.1:9\"\nsample = 0.5\n";

/// A worker with lines of many kinds, and a master that has all of them.
struct Scene {
    worker: Worker,
    master: Master,
    dir: TempDir,
}

impl Scene {
    fn play() -> Scene {
        let dir = folder();
        let programs = Programs::build().unwrap();
        let spec = WorkerSpec {
            docker: Some("off".to_owned()),
            label: "none=none".to_owned(),
            collector: EVERYTHING.to_owned(),
            ..WorkerSpec::default()
        };
        let mut worker = Worker::new(&programs, &dir.path().join(WORKER), &spec).unwrap();
        worker.start_collector().unwrap();
        let status = worker.collector_status().unwrap();
        let mut stream = TcpStream::connect(status["syslog"]["tcp"].as_str().unwrap()).unwrap();
        let mut sent = 0;
        for line in lines() {
            write!(stream, "{} ", line.len()).unwrap();
            stream.write_all(&line).unwrap();
            sent += 1;
        }
        drop(stream);
        wait_lines(&worker.log(), sent);
        let mut master = Master::init(&programs, &dir.path().join("master")).unwrap();
        master.start().unwrap();
        let identity = master.enroll(WORKER).unwrap();
        let addr = master.addr().unwrap();
        worker.start_forwarder(addr, &identity).unwrap();
        wait_lines(&master.merged_log(), line_count(&worker.log()));
        let records = line_count(&worker.json());
        assert!(
            records > HOSTILE / 2,
            "{records} of {sent} lines are records"
        );
        wait_lines(&master.merged_json(), records);
        Scene {
            worker,
            master,
            dir,
        }
    }
}

/// What the decoys print, and what is odd in other ways. None is over 64 KiB, so that each is one line.
fn lines() -> Vec<Vec<u8>> {
    let mut lines = odd();
    for (profile, count) in [(Profile::Hostile, HOSTILE), (Profile::Big, BIG)] {
        let decoy = Decoy {
            name: "omega".to_owned(),
            seed: 11,
            profile,
        };
        for seq in 0..count {
            let emission = decoy.emission(seq);
            let short = emission.lines().filter(|(line, _)| line.len() < 64 << 10);
            lines.extend(short.map(|(line, _)| line.to_vec()));
        }
    }
    lines
}

fn odd() -> Vec<Vec<u8>> {
    let stamps = [
        "x",
        "-",
        "2026-06-20T23:59:60Z",
        "2026-06-20T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-06-20",
        "2026-W25-6",
        "20260620T140307,123456789",
        "99999-01-01T00:00:00Z",
        "2026-06-20T14:03:07+99:99",
        "'';DROP",
    ];
    let mut lines: Vec<Vec<u8>> = stamps
        .iter()
        .map(|stamp| format!("<134>1 {stamp} a b - c - text").into_bytes())
        .collect();
    let texts: [&[u8]; 14] = [
        b"\xff\xfe\x80 no UTF-8",
        b"\xed\xa0\x80 a surrogate as octets",
        br"\ud800 and \u0000 as text",
        b"\0\x01\x08\x0b\x0c\x1b\x7f control",
        b"a\rb\r\rc\r",
        "\u{85}\u{2028}\u{2029}\u{feff}\u{fffe}\u{10ffff}".as_bytes(),
        b"\xef\xbb\xbfwith a mark",
        br#""quotes" and \backslashes\ and {"json": [1, null]}"#,
        b"no such table: logs",
        b"1e400 NaN Infinity null []",
        b"src=203.0.113.4:99999 ip=[2001:db8::1]:443",
        b"%s %(x)s {} {0}",
        b"x'; DROP TABLE logs; --",
        b" ",
    ];
    for text in texts {
        let head = b"<134>1 2026-06-20T14:03:07Z a b - c - ";
        lines.push([head, text].concat());
        let quoted: Vec<u8> = text
            .iter()
            .flat_map(|octet| match octet {
                b'"' | b'\\' | b']' => vec![b'\\', *octet],
                _ => vec![*octet],
            })
            .collect();
        let head = b"<134>1 2026-06-20T14:03:07Z a b - c [relay@55555 src_ip=\"203.0.113.4\" secret_b64=\"";
        lines.push([head, &quoted[..], b"\" v=\"", &quoted, b"\"]"].concat());
    }
    // Names of headers and fields that a reader may take for something of its own.
    lines.push(b"<134>1 2026-06-20T14:03:07Z \xff\xfe \xc3\x28 - \xe2\x82 - names".to_vec());
    lines.push(b"<134>1 2026-06-20T14:03:07Z a b - c [relay@55555 id=\"7\" trace_id=\"x\" _trace=\"y\" timestamp=\"z\" =\"\"]".to_vec());
    lines.push(b"<999>1 - - - - - -".to_vec());
    lines
}

/// What DECNET's ingester expects of every line of a `.json`.
fn assert_contract(json: &Path) -> Vec<Value> {
    let lines = merged_lines(json).unwrap();
    let keys = [
        "decky",
        "service",
        "event_type",
        "attacker_ip",
        "raw_line",
        "msg",
    ];
    let mut records = Vec::new();
    for line in &lines {
        // It reads text in which a CR ends a line.
        let bare = |octet: &u8| *octet < 0x20;
        assert!(
            !line.iter().any(bare),
            "a control octet in {}",
            String::from_utf8_lossy(line)
        );
        let text = std::str::from_utf8(line).unwrap();
        // A lone surrogate is refused by this parser.
        let record: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let object = record
            .as_object()
            .unwrap_or_else(|| panic!("no object: {text}"));
        for key in keys {
            assert!(object[key].is_string(), "{key} in {text}");
        }
        for key in ["decky", "service", "event_type", "attacker_ip", "raw_line"] {
            assert_ne!(object[key], "", "{key} in {text}");
        }
        let fields = object["fields"]
            .as_object()
            .unwrap_or_else(|| panic!("no fields: {text}"));
        assert!(fields.values().all(Value::is_string), "{text}");
        assert!(
            !object.contains_key("id"),
            "it would be the row's key: {text}"
        );
        assert_time(object["timestamp"].as_str().unwrap(), text);
        if let Some(trace) = object.get("_trace") {
            assert!(trace["traceparent"].is_string(), "{text}");
        }
        records.push(record);
    }
    records
}

/// A time that Python's `fromisoformat` takes, and databases too: `YYYY-MM-DD HH:MM:SS`, of a year from 1 to 9999.
fn assert_time(stamp: &str, text: &str) {
    let digits: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(digits, "0000-00-00 00:00:00", "{text}");
    let part = |range: std::ops::Range<usize>| stamp[range].parse::<u32>().unwrap();
    assert!(part(0..4) >= 1 && (1..=12).contains(&part(5..7)), "{text}");
    assert!(
        (1..=31).contains(&part(8..10)) && part(11..13) < 24,
        "{text}"
    );
    assert!(part(14..16) < 60 && part(17..19) < 60, "{text}");
}

/// Each record is a row, in order, and says the same.
fn assert_rows(rows: &[Row], records: &[Value], of: &str) {
    for (at, (row, record)) in rows.iter().zip(records).enumerate() {
        let column = |n: usize| {
            row[n]
                .as_deref()
                .unwrap_or_else(|| panic!("null in row {at}: {record}"))
        };
        // SQLite's column has a fraction behind it.
        assert_eq!(
            Some(&column(0)[..19]),
            record["timestamp"].as_str(),
            "{of}: {record}"
        );
        for (n, key) in [
            (1, "decky"),
            (2, "service"),
            (3, "event_type"),
            (4, "attacker_ip"),
            (6, "msg"),
            (7, "raw_line"),
        ] {
            assert_eq!(
                Some(column(n)),
                record[key].as_str(),
                "{of}: {key} of {record}"
            );
        }
        let fields: Value = serde_json::from_str(column(5)).unwrap();
        assert_eq!(fields, record["fields"], "{of}");
    }
    assert_eq!(rows.len(), records.len(), "rows and records of the {of}");
}

#[test]
fn decnets_ingester_takes_every_record() {
    let scene = Scene::play();
    let (worker, master) = (scene.worker.json(), scene.master.merged_json());
    let collected = assert_contract(&worker);
    let merged = assert_contract(&master);
    assert_eq!(collected.len(), merged.len());
    let traced = collected
        .iter()
        .filter(|record| record.get("_trace").is_some())
        .count();
    assert!(traced > collected.len() / 3, "{traced}");
    let kinds: BTreeSet<_> = collected
        .iter()
        .map(|record| record["event_type"].to_string())
        .collect();
    assert!(kinds.len() > 5, "{kinds:?}");

    let Some(decnet) = need(Decnet::find_ingester()) else {
        return;
    };
    let ingest = |json: &Path, of: &str| {
        let db = scene.dir.path().join(of).with_extension("sqlite");
        decnet
            .ingest(&json.with_extension("log"), &db, INGEST)
            .unwrap()
    };
    // Side by side: most of the time is its start.
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| ingest(&worker, "collector"));
        assert_rows(&ingest(&master, "listener"), &merged, "listener");
        assert_rows(&collector.join().unwrap(), &collected, "collector");
    });
}

/// Only reached when it is stuck.
const INGEST: Duration = Duration::from_secs(120);
