//! What becomes of a line, octet for octet.

use std::time::Duration;

use docker_demux::{Line, Lines, Part, Stream};

use super::{Label, Output, Renderer};
use crate::{books::Books, config::Rendering};

const STAMP_NS: i64 = 1_781_964_187_125_301_999;
const RECORD: &[u8] = br#"<134>1 2026-06-20T14:03:07.125301+00:00 omega http - connect [relay@55555 src_ip="203.0.113.4"]"#;

fn rendering() -> Rendering {
    Rendering {
        stderr: false,
        wrap: true,
        window: Duration::from_secs(1),
        events: vec!["connect".to_owned()],
        drop_services: vec!["sshd".to_owned()],
        max_keys: 100,
        tracer: None,
    }
}

fn label() -> Label {
    Label {
        name: "omega-http".to_owned(),
        service: "http".to_owned(),
        id: "0123456789ab".to_owned(),
        stream: None,
    }
}

#[derive(Default)]
struct Input {
    lines: Lines,
    at_ns: i64,
}

impl Input {
    fn line(mut self, bytes: &[u8]) -> Self {
        self.push(bytes, Stream::Stdout, None);
        self
    }

    fn push(&mut self, bytes: &[u8], stream: Stream, part: Option<Part>) {
        let start = self.lines.bytes.len();
        self.lines.bytes.extend_from_slice(bytes);
        let end = self.lines.bytes.len();
        let time_ns = STAMP_NS + self.at_ns;
        self.lines.index.push(Line {
            start,
            end,
            time_ns,
            stream,
            part,
            terminated: true,
        });
    }

    fn after(mut self, pause: Duration) -> Self {
        self.at_ns += i64::try_from(pause.as_nanos()).unwrap();
        self
    }

    fn render(&self, rendering: &Rendering) -> (String, Vec<serde_json::Value>, Books) {
        let (mut out, mut books) = (Output::default(), Books::default());
        Renderer::new(rendering).render(&self.lines, &label(), &mut out, &mut books);
        assert!(books.balance(), "{books:?}");
        assert_eq!(books.bytes, out.log.len() as u64);
        let json = out
            .json
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty());
        let json = json
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        (String::from_utf8_lossy(&out.log).into_owned(), json, books)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn copies_a_record_and_writes_it_as_json() {
    let (log, json, books) = Input::default().line(RECORD).render(&rendering());
    assert_eq!(log, text(RECORD) + "\n");
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["attacker_ip"], "203.0.113.4");
    assert_eq!(json[0]["container"], "omega-http");
    assert_eq!(json[0]["stream"], "stdout");
    assert_eq!(
        (books.read, books.written, books.records.written),
        (1, 1, 1)
    );
}

#[test]
fn wraps_what_is_no_message() {
    let line = b" * Serving\rFlask\0 \xff\xfe app \"x\"] ";
    let input = Input::default().line(line);
    let (mut out, mut books) = (Output::default(), Books::default());
    Renderer::new(&rendering()).render(&input.lines, &label(), &mut out, &mut books);
    let mut expected = br#"<134>1 2026-06-20T14:03:07.125301Z omega-http http - raw [logferry@32473 container="omega-http" id="0123456789ab" stream="stdout"] "#.to_vec();
    expected.extend_from_slice(line);
    expected.push(b'\n');
    assert_eq!(text(&out.log), text(&expected));
    assert_eq!(out.log, expected);
    assert!(out.json.is_empty());
    assert!(rfc5424::parse(&out.log[..out.log.len() - 1]).is_ok());
}

#[test]
fn leaves_raw_lines_raw_when_asked() {
    let rendering = Rendering {
        wrap: false,
        ..rendering()
    };
    let (log, json, books) = Input::default()
        .line(b"plain")
        .line(RECORD)
        .render(&rendering);
    assert_eq!(log, format!("plain\n{}\n", text(RECORD)));
    assert_eq!((json.len(), books.wrapped), (1, 0));
}

#[test]
fn drops_blank_lines_and_nothing_like_them() {
    let input = Input::default().line(b"").line(b" ").line(b"\r").line(b"");
    let (log, _, books) = input.render(&rendering());
    assert_eq!(log.lines().count(), 2);
    assert_eq!((books.read, books.written, books.dropped.blank), (4, 2, 2));
}

#[test]
fn takes_stderr_only_when_asked() {
    let mut input = Input::default().line(b"out");
    input.push(b"err", Stream::Stderr, None);
    let (log, _, books) = input.render(&rendering());
    assert_eq!((log.lines().count(), books.dropped.stderr), (1, 1));

    let (log, _, books) = input.render(&Rendering {
        stderr: true,
        ..rendering()
    });
    assert_eq!(books.written, 2);
    let second = log.lines().nth(1).unwrap();
    assert!(
        second.starts_with("<131>1 ") && second.contains("stream=\"stderr\""),
        "{second}"
    );
}

#[test]
fn suppresses_repeats_by_the_lines_own_time() {
    let burst = || {
        Input::default()
            .line(RECORD)
            .after(Duration::from_millis(999))
            .line(RECORD)
    };
    let (log, json, books) = burst().render(&rendering());
    assert_eq!(
        (log.lines().count(), json.len(), books.records.repeated),
        (2, 1, 1)
    );

    // The same lines a second apart in the past, read at once.
    let spread = Input::default()
        .line(RECORD)
        .after(Duration::from_secs(1))
        .line(RECORD);
    assert_eq!(spread.render(&rendering()).1.len(), 2);

    let off = Rendering {
        window: Duration::ZERO,
        ..rendering()
    };
    assert_eq!(burst().render(&off).1.len(), 2);
}

#[test]
fn drops_records_of_unwanted_services() {
    let line = b"<38>1 2026-06-20T14:03:05Z omega sshd 940 - -  Failed password for root";
    let (log, json, books) = Input::default().line(line).render(&rendering());
    assert_eq!(log, text(line) + "\n");
    assert_eq!((json.len(), books.records.service), (0, 1));
}

#[test]
fn marks_the_parts_of_an_over_long_line() {
    let part = |n, last| Some(Part { line: 77, n, last });
    let mut input = Input::default();
    input.push(RECORD, Stream::Stdout, part(0, false));
    input.push(b"", Stream::Stdout, part(1, false));
    input.push(b"tail", Stream::Stdout, part(2, true));
    for wrap in [true, false] {
        let (log, _, books) = input.render(&Rendering {
            wrap,
            ..rendering()
        });
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines[0].as_bytes(), RECORD);
        assert!(
            lines[1].ends_with(r#" stream="stdout" line="77" part="2"] "#),
            "{}",
            lines[1]
        );
        assert!(
            lines[2].ends_with(r#" line="77" part="3" last="1"] tail"#),
            "{}",
            lines[2]
        );
        assert_eq!((books.read, books.written, books.wrapped), (3, 3, 2));
    }
}

#[test]
fn wraps_a_forged_wrapper_and_makes_no_record_of_it() {
    let line = br#"<134>1 2026-06-20T14:03:07Z x y - raw [logferry@32473 container="other"] <134>1 2026-06-20T14:03:07Z a b - c -"#;
    let (log, json, _) = Input::default().line(line).render(&rendering());
    assert!(log.ends_with(&(text(line) + "\n")), "{log}");
    let own = format!("[logferry@32473 container=\"{}\"", label().name);
    assert!(log.find(&own) < log.find("container=\"other\""), "{log}");
    assert!(log.contains(&own) && json.is_empty(), "{log}");
}

#[test]
fn wraps_whatever_a_reader_could_take_for_a_wrapper() {
    for line in [
        r#"<134>1 2026-11-21T05:00:00Z h a - raw [x@1 a="b"][logferry@32473 container="victim" id="0123456789ab" stream="stderr"] text"#,
        r#"<134>2 2026-11-21T05:00:00Z h a - raw [logferry@32473 container="victim" id="0123456789ab" stream="stderr"] text"#,
        r#"<134>2 - - - - raw [x@1][logferry@32473]"#,
    ] {
        for wrap in [true, false] {
            let rendering = Rendering {
                wrap,
                ..rendering()
            };
            let (log, json, books) = Input::default().line(line.as_bytes()).render(&rendering);
            let wrapped = rfc5424::Wrapped::of(log.trim_end().as_bytes()).expect("wrapped");
            assert_eq!(wrapped.container, label().name, "{log}");
            assert_eq!(wrapped.message.msg, Some(line.as_bytes()));
            assert!(json.is_empty() && books.wrapped == 1, "{log}");
        }
    }
}
