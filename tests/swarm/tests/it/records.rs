//! All fields of all records, against what the decoys say that their lines must become.

use std::collections::VecDeque;
use std::path::Path;

use decoy::Expected;
use serde_json::Value;
use swarm::{Archived, Source, merged_lines};

use crate::stage::{Script, WORKER};

/// The keys of every record, in order.
const KEYS: [&str; 8] = [
    "timestamp",
    "decky",
    "service",
    "event_type",
    "attacker_ip",
    "fields",
    "msg",
    "raw_line",
];

/// Events that the collector's dedupe may keep out of the worker's `.json`, by default.
const DEDUPED: [&str; 5] = ["connect", "disconnect", "connection", "accept", "close"];

/// The service among the decoys' whose records the collector leaves out of the worker's `.json`, by default.
const DROPPED: &str = "sshd";

/// Docker cuts lines into pieces of so many octets and stores each by itself.
const PIECE: usize = 16 * 1024;

/// What became of octets that are no UTF-8 before a line reached the `.log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Altered {
    /// The json-file driver replaced each of them by U+FFFD, and those of a character that it cut.
    ByDocker,
    /// Nothing: the record alone replaces them, and says so.
    No,
}

/// A `.log` whose lines are known.
pub(crate) struct Text<'a> {
    /// Its lines.
    pub(crate) lines: &'a [Vec<u8>],
    /// For each line its source and number there.
    pub(crate) places: &'a [Option<(usize, usize)>],
    /// What the containers wrote.
    pub(crate) sources: &'a [Source],
    /// What happened to their octets on the way.
    pub(crate) altered: Altered,
}

impl Text<'_> {
    /// Asserts the worker's `.json`: every record, but for those that the dedupe may suppress.
    pub(crate) fn assert_worker(&self, json: &Path, scripts: Vec<Script<'_>>) {
        let mut records: VecDeque<Vec<u8>> = merged_lines(json).unwrap().into();
        let (mut written, mut suppressed) = (0_u64, 0_u64);
        self.each(scripts, |number, source, expected| {
            if expected.service == DROPPED {
                return;
            }
            let raw = String::from_utf8_lossy(&self.lines[number]);
            let next = records.front().map(|text| parse(text));
            if next.as_ref().is_none_or(|next| next["raw_line"] != *raw)
                && DEDUPED.contains(&expected.event_type.as_str())
            {
                suppressed += 1;
                return;
            }
            let record = next.unwrap_or_else(|| panic!("no record of {raw}"));
            let text = records.pop_front().unwrap_or_default();
            self.assert_record(number, expected, &record, &text);
            let stamp = self.places[number].and_then(|(_, at)| source.stamps.get(at));
            if let (None, Some(stamp)) = (&expected.timestamp, stamp) {
                assert_eq!(record["timestamp"], stamp.as_str(), "{raw}");
            }
            assert_eq!(record["container"], source.name.as_str(), "{raw}");
            assert_eq!(record["stream"], "stdout", "{raw}");
            assert_keys(&record, &["container", "stream"]);
            written += 1;
        });
        assert!(records.is_empty(), "{} records of no line", records.len());
        assert!(written > 0, "{suppressed} records suppressed, none written");
    }

    /// Asserts the merged `.json`: every record, with the place where the archive keeps its line.
    pub(crate) fn assert_master(
        &self,
        json: &Path,
        scripts: Vec<Script<'_>>,
        archived: &[Archived],
    ) {
        assert_eq!(archived.len(), self.lines.len(), "lines in the archive");
        let mut records: VecDeque<Vec<u8>> = merged_lines(json).unwrap().into();
        let mut lossy = 0;
        self.each(scripts, |number, _, expected| {
            let raw = String::from_utf8_lossy(&self.lines[number]);
            let text = records
                .pop_front()
                .unwrap_or_else(|| panic!("no record of {raw}"));
            let record = parse(&text);
            self.assert_record(number, expected, &record, &text);
            let kept = &archived[number];
            assert_eq!(
                kept.bytes, self.lines[number],
                "line {number} in the archive"
            );
            assert_eq!(record["source_worker"], WORKER, "{raw}");
            assert!(record["source_stream"].is_string(), "{raw}");
            assert_eq!(record["source_epoch"], kept.epoch.as_str(), "{raw}");
            assert_eq!(record["source_offset"], kept.offset, "{raw}");
            assert_keys(
                &record,
                &[
                    "source_worker",
                    "source_stream",
                    "source_epoch",
                    "source_offset",
                ],
            );
            lossy += u64::from(record["lossy"] == true);
        });
        assert!(records.is_empty(), "{} records of no line", records.len());
        assert_eq!(
            lossy > 0,
            self.altered == Altered::No,
            "{lossy} lossy records"
        );
    }

    /// Calls `check` with the number, the source and the record of each line that must have one.
    fn each(&self, mut scripts: Vec<Script<'_>>, mut check: impl FnMut(usize, &Source, &Expected)) {
        let mut checked = 0;
        for (number, place) in self.places.iter().enumerate() {
            let (source, at) = place.unwrap_or_else(|| panic!("line {number} is of no source"));
            let (printed, expected) = scripts[source]
                .next()
                .unwrap_or_else(|| panic!("printed less"));
            let source = &self.sources[source];
            let stored = String::from_utf8_lossy(&source.lines[at]);
            // The `.log` has this line where the script has it: else what follows would compare others.
            if self.altered == Altered::ByDocker {
                assert!(
                    as_docker_stores(&printed, &stored),
                    "line {number}: {stored}"
                );
            } else {
                assert_eq!(printed, source.lines[at], "line {number}");
            }
            if let Some(expected) = expected {
                check(number, source, &expected);
                checked += 1;
            }
        }
        assert!(
            checked > self.lines.len() / 3,
            "{checked} records of {}",
            self.lines.len()
        );
    }

    /// What every record says, wherever it stands.
    fn assert_record(&self, number: usize, expected: &Expected, record: &Value, text: &[u8]) {
        let line = &self.lines[number];
        let raw = String::from_utf8_lossy(line);
        let same = |key: &str, value: &Value, octets: &[u8]| {
            let value = value
                .as_str()
                .unwrap_or_else(|| panic!("{key} of {raw}: {value}"));
            let same = match self.altered {
                Altered::ByDocker => as_docker_stores(octets, value),
                Altered::No => value == String::from_utf8_lossy(octets),
            };
            let octets = String::from_utf8_lossy(octets);
            assert!(same, "{key} is {value:?}, not {octets:?}: {raw}");
        };
        match &expected.timestamp {
            Some(timestamp) => assert_eq!(record["timestamp"], timestamp.as_str(), "{raw}"),
            None => assert_recent(record["timestamp"].as_str().unwrap_or_default(), &raw),
        }
        assert_eq!(record["decky"], expected.decky.as_str(), "{raw}");
        assert_eq!(record["service"], expected.service.as_str(), "{raw}");
        assert_eq!(record["event_type"], expected.event_type.as_str(), "{raw}");
        assert_eq!(
            record["attacker_ip"],
            expected.attacker_ip.as_str(),
            "{raw}"
        );
        assert_eq!(record["raw_line"], *raw);
        same("msg", &record["msg"], &expected.msg);
        let fields = record["fields"]
            .as_object()
            .unwrap_or_else(|| panic!("no fields: {raw}"));
        assert_eq!(fields.len(), expected.fields.len(), "{fields:?}: {raw}");
        for (name, octets) in &expected.fields {
            same(name, &fields[name], octets);
        }
        let lossy = std::str::from_utf8(line).is_err();
        assert_eq!(record["lossy"] == true, lossy, "{raw}");
        assert_order(text, &raw);
    }
}

fn parse(text: &[u8]) -> Value {
    serde_json::from_slice(text)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(text)))
}

/// No key but those of every record, `more`, and `lossy`.
fn assert_keys(record: &Value, more: &[&str]) {
    let keys = record.as_object().unwrap().keys().map(String::as_str);
    let known = |key: &&str| KEYS.contains(key) || more.contains(key) || *key == "lossy";
    let others: Vec<&str> = keys.filter(|key| !known(key)).collect();
    assert!(others.is_empty(), "{others:?} in {record}");
}

/// The keys stand in the order that other readers are used to. A quote inside a string has a backslash before it, so
/// what looks like a key is one.
fn assert_order(text: &[u8], raw: &str) {
    let mut from = 0;
    for (number, key) in KEYS.iter().enumerate() {
        let key = format!("{}\"{key}\":", if number == 0 { '{' } else { ',' });
        let at = memchr::memmem::find(&text[from..], key.as_bytes());
        from += at.unwrap_or_else(|| panic!("{key} is not in its place: {raw}"));
    }
}

/// A stamp of our own making, in the form of records: Docker's or the commit's.
fn assert_recent(stamp: &str, raw: &str) {
    let digits: String = stamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(digits, "0000-00-00 00:00:00", "{raw}");
    assert!(stamp > "2026-06-21", "{stamp}: {raw}");
}

/// Whether `stored` is what the json-file driver makes of octets: each that is no UTF-8 becomes U+FFFD, also those of
/// a character that its cut at 16 KiB has torn.
fn as_docker_stores(printed: &[u8], stored: &str) -> bool {
    let mut stored = stored.chars();
    let mut rest = printed;
    // Each cut tears one character at most, and a value may lie across one more cut than it has pieces.
    let mut torn = printed.len() / PIECE + 1;
    while let Some(&first) = rest.first() {
        let len = std::str::from_utf8(&rest[..rest.len().min(4)])
            .map_or_else(|e| e.valid_up_to(), str::len);
        let whole = std::str::from_utf8(&rest[..len])
            .ok()
            .and_then(|s| s.chars().next());
        match (whole, stored.next()) {
            (Some(whole), Some(found)) if whole == found => rest = &rest[whole.len_utf8()..],
            (None, Some(char::REPLACEMENT_CHARACTER)) => rest = &rest[1..],
            (Some(whole), Some(char::REPLACEMENT_CHARACTER)) if first >= 0x80 && torn > 0 => {
                torn -= 1;
                for _ in 1..whole.len_utf8() {
                    if stored.next() != Some(char::REPLACEMENT_CHARACTER) {
                        return false;
                    }
                }
                rest = &rest[whole.len_utf8()..];
            }
            _ => return false,
        }
    }
    stored.next().is_none()
}

#[test]
fn knows_what_docker_stores() {
    for (printed, stored, same) in [
        (&b"plain"[..], "plain", true),
        (b"plain", "plait", false),
        (b"plain", "plain!", false),
        (b"plain!", "plain", false),
        ("caf\u{e9}".as_bytes(), "caf\u{e9}", true),
        ("caf\u{e9}".as_bytes(), "caf\u{fffd}\u{fffd}", true),
        ("caf\u{e9}".as_bytes(), "caf\u{fffd}", false),
        (b"\xff\xfe x", "\u{fffd}\u{fffd} x", true),
        (b"\xe2\x9c", "\u{fffd}", false),
    ] {
        assert_eq!(
            as_docker_stores(printed, stored),
            same,
            "{printed:?} {stored}"
        );
    }
}
