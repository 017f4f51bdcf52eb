//! Every problem of a file, at once and at its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::{ByteSize, Environment, Problems, Span, load, load_checked, parse};
use crate::status;

#[derive(Debug, Deserialize)]
struct Raw {
    listen: SocketAddr,
    name: String,
    #[serde(default)]
    retries: u8,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    commit: Commit,
    #[serde(default, rename = "stream")]
    streams: Vec<Stream>,
    #[serde(default)]
    limits: BTreeMap<String, u64>,
    #[serde(default)]
    status: status::Config,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Auto,
    Plain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Commit {
    max_delay: Span,
    max_bytes: ByteSize,
}

#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    path: String,
}

const GOOD: &str = "listen = '127.0.0.1:1'\nname = 'w'\n";

fn check(text: &str, expected: &[&str]) {
    let problems = parse::<Raw>(Path::new("x.toml"), text).expect_err("the text has problems");
    let found: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "in:\n{text}");
}

#[test]
fn reads_what_is_right() {
    let text = format!(
        "{GOOD}mode = 'plain'\nretries = 0x10\ncommit = {{ max_delay = '50ms', max_bytes = '4MiB' }}\n\
         [limits]\nany = 1\n[[stream]]\nname = 'decky'\npath = '/x'\n"
    );
    let (raw, source) = parse::<Raw>(Path::new("x.toml"), &text).expect("the text is right");
    assert_eq!(raw.listen.port(), 1);
    assert_eq!(raw.name, "w");
    assert_eq!(raw.retries, 16);
    assert_eq!(raw.mode, Some(Mode::Plain));
    assert_eq!(raw.commit.max_delay.0, Duration::from_millis(50));
    assert_eq!(raw.commit.max_bytes.0, 4 << 20);
    assert_eq!(raw.limits["any"], 1);
    assert_eq!(raw.streams[0].name, "decky");
    assert_eq!(raw.streams[0].path, "/x");
    let status = raw.status.listen(Path::new("/state"));
    assert_eq!(status.to_string(), "/state/status.sock");
    assert!(source.has("stream.0.path") && !source.has("stream.1"));
}

#[test]
fn problems_of_meaning_find_their_line() {
    let text = format!("{GOOD}\n[[stream]]\nname = 'a'\n\npath = '/x'\n");
    let (_, source) = parse::<Raw>(Path::new("x.toml"), &text).err().map_or_else(
        || parse::<Raw>(Path::new("x.toml"), &text).expect("right"),
        |problems| panic!("{problems}"),
    );
    let line = |key| source.problem(key, "w").line;
    assert_eq!(line("name"), 2);
    assert_eq!(line("stream.0.path"), 7);
    assert_eq!(
        line("stream.0.import_offset"),
        4,
        "a missing key is at its table"
    );
    assert_eq!(line("state"), 1, "and one of the root at the beginning");
}

#[test]
fn names_all_unknown_keys_at_once() {
    check(
        "listen = '127.0.0.1:1'\nnme = 'w'\nname = 'w'\nzebra = 1\n\n[commit]\nmax-delay = '1s'\n[[stream]]\n\
         name = 'a'\npath = '/'\npaths = 1\n",
        &[
            "x.toml:2: nme: unknown key; did you mean `name`?",
            "x.toml:4: zebra: unknown key; known here: listen, name, retries, mode, commit, stream, limits, status",
            "x.toml:7: commit.max-delay: unknown key; did you mean `max_delay`?",
            "x.toml:11: stream.0.paths: unknown key; did you mean `path`?",
        ],
    );
}

#[test]
fn names_all_kinds_of_problems_at_once() {
    check(
        "listen = 'nowhere'\nretries = 300\nmode = 'best'\nbogus = 1\n[commit]\nmax_delay = 5\nmax_bytes = '1 flurb'\n\
         [limits]\na = 1979-05-27\n[[stream]]\nname = 'a'\n[[stream]]\npath = 7\nother = 1\n[status]\nlisten = '0.0.0.0:1'\n",
        &[
            "x.toml:1: listen: invalid socket address syntax",
            "x.toml:1: name: missing",
            "x.toml:2: retries: invalid value: integer `300`, expected u8",
            "x.toml:3: mode: `best` is none of \"auto\", \"plain\"",
            "x.toml:4: bogus: unknown key; known here: listen, name, retries, mode, commit, stream, limits, status",
            "x.toml:6: commit.max_delay: `5` is not a duration: write a number and a unit, like \"50ms\", \"30s\" or \"24h\"",
            "x.toml:7: commit.max_bytes: `1 flurb` is not a size: write a number and a unit, like \"64KiB\" or \"1MiB\"",
            "x.toml:9: limits.a: invalid type: `1979-05-27`, expected u64",
            "x.toml:10: stream.0.path: missing",
            "x.toml:12: stream.1.name: missing",
            "x.toml:13: stream.1.path: invalid type: integer `7`, expected a string",
            "x.toml:14: stream.1.other: unknown key; known here: name, path",
            "x.toml:16: status.listen: 0.0.0.0:1 is not a loopback address: the endpoint has neither TLS nor \
             authentication, so it listens on 127.0.0.1, [::1] or a Unix socket only; let a reverse proxy or an agent \
             on this host carry it further",
        ],
    );
}

#[test]
fn a_table_of_the_wrong_kind_is_named() {
    check(
        &format!("{GOOD}commit = 5\nstream = 'a'\n"),
        &[
            "x.toml:3: commit: invalid type: integer `5`, expected a table",
            "x.toml:4: stream: invalid type: string \"a\", expected a sequence",
        ],
    );
    check(
        &format!("{GOOD}commit = ['1s', 5]\nlimits = {{ a = -1 }}\n"),
        &[
            "x.toml:3: commit: invalid type: sequence, expected a table",
            "x.toml:4: limits.a: invalid value: integer `-1`, expected u64",
        ],
    );
}

#[test]
fn names_every_syntax_error() {
    let problems = parse::<Raw>(Path::new("x.toml"), "a = \n[b\n").expect_err("broken");
    let lines: Vec<u32> = problems.0.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [1, 2], "{problems}");
    check(
        &format!("{GOOD}name = 'again'\n"),
        &["x.toml:3: duplicate key"],
    );
}

#[test]
fn names_a_file_that_cannot_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |path: &Path, expected: &str| {
        let problems = load::<Raw>(path).expect_err("unreadable");
        assert_eq!(
            problems.to_string(),
            format!("{}: {expected}", path.display())
        );
    };
    check(
        &dir.path().join("none.toml"),
        "cannot be read: No such file or directory (os error 2)",
    );
    let binary = dir.path().join("binary");
    std::fs::write(&binary, b"a = '\xff'").expect("written");
    check(&binary, "not UTF-8 at byte 5");
    let huge = dir.path().join("huge");
    std::fs::write(&huge, vec![b'#'; 2 << 20]).expect("written");
    check(&huge, "longer than 1048576 bytes");
}

#[test]
fn units_read_and_print() {
    let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
    assert_eq!(size("1MiB"), Some(1 << 20));
    assert_eq!(size("64 KiB"), Some(64 << 10));
    assert_eq!(size("500MB"), Some(500_000_000));
    assert_eq!(size("134217728"), Some(128 << 20));
    assert_eq!(size("0"), Some(0));
    assert_eq!(size("-1"), None);
    assert_eq!(size(""), None);
    assert_eq!(ByteSize(256 << 20).to_string(), "256.0 MiB");
    let span = |text: &str| text.parse::<Span>().map(|span| span.0).ok();
    assert_eq!(span("50ms"), Some(Duration::from_millis(50)));
    assert_eq!(span("1h 30m"), Some(Duration::from_secs(5400)));
    assert_eq!(span("0"), Some(Duration::ZERO));
    assert_eq!(span("5"), None);
    assert_eq!(span("-5s"), None);
    assert_eq!(Span(Duration::from_secs(86_400)).to_string(), "1day");
}

#[test]
fn environment_beats_the_file() {
    let environment = Environment::of([
        ("PORT", "7"),
        ("EMPTY", ""),
        ("BAD", "x"),
        ("LIST", "connect, ,close"),
    ]);
    let mut port = 1_u16;
    environment
        .beats("UNSET", &mut port)
        .expect("unset is fine");
    environment
        .beats("EMPTY", &mut port)
        .expect("empty is unset");
    assert_eq!(port, 1);
    environment.beats("PORT", &mut port).expect("a number");
    assert_eq!(port, 7);
    let problem = environment.beats("BAD", &mut port).expect_err("no number");
    assert_eq!(
        problem.to_string(),
        "environment: BAD: `x`: invalid digit found in string"
    );
    assert_eq!(port, 7);
    let list = environment.list("LIST").expect("a list");
    assert_eq!(list, Some(vec!["connect".to_owned(), "close".to_owned()]));
}

#[test]
fn problems_are_printed_in_order_of_line() {
    let (_, source) = parse::<Raw>(Path::new("x.toml"), GOOD).expect("right");
    let mut problems = Problems::new();
    assert_eq!(
        problems.take(Err::<u8, _>(source.problem("name", "too long"))),
        None
    );
    problems.push(source.problem("listen", "taken"));
    let problems = problems.none_or(()).expect_err("two problems");
    assert_eq!(
        problems.to_string(),
        "x.toml:1: listen: taken\nx.toml:2: name: too long"
    );
}

#[test]
fn unknown_keys_and_problems_of_meaning_come_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.toml");
    std::fs::write(&file, format!("{GOOD}nmae = 1\n")).expect("written");
    let check = |raw: Raw, source: &super::Source| {
        let mut problems = Problems::new();
        problems.push(source.problem("name", format!("`{}` is taken", raw.name)));
        problems.none_or(())
    };
    let problems = load_checked(&file, check).expect_err("two problems");
    let found: Vec<_> = problems
        .0
        .iter()
        .map(|p| (p.line, p.key.as_str()))
        .collect();
    assert_eq!(found, [(2, "name"), (3, "nmae")]);
    let problems = load_checked(&file, |_: Raw, _| Ok(())).expect_err("one problem");
    assert_eq!(problems.0.len(), 1);
    std::fs::write(&file, GOOD).expect("written");
    load_checked(&file, |_: Raw, _| Ok(())).expect("right");
}
