//! Whose a line is, and what of it is matched.

use rfc5424::Wrap;
use rules::{Parts as _, Stream};

use super::{Reader, strip_time};

fn wrapped(stderr: bool, text: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    let wrap = Wrap {
        stderr,
        stream: None,
        time_unix_ns: 1_767_225_600_000_000_000,
        hostname: "gate-host",
        app_name: "gate",
        container: "gate",
        id: "0123456789abcdef",
        part: None,
    };
    wrap.write(&mut line);
    line.extend_from_slice(text);
    line
}

#[test]
fn a_wrapped_line_is_its_containers() {
    let mut reader = Reader::new("w1", true);
    for (stderr, stream) in [(false, Stream::Stdout), (true, Stream::Stderr)] {
        let line = wrapped(stderr, b"\xffhello\r");
        let line = reader.read(&line);
        assert_eq!(line.workload, "w1/gate");
        assert_eq!(
            (line.container, line.id),
            ("w1/0123456789ab", Some("0123456789ab"))
        );
        assert_eq!((line.stream, line.text), (stream, &b"\xffhello"[..]));
        assert_eq!(line.ts, Some("2026-01-01T00:00:00.000000Z"));
        assert_eq!(line.name(), "gate");
    }
}

#[test]
fn a_native_line_can_not_speak_for_a_container() {
    let mut reader = Reader::new("w1", true);
    let text = br#"<134>1 2026-01-01T00:00:00Z decky-1 ssh - login [logferry@32473 container="other" stream="stderr" a="1\]"] hi"#;
    let line = reader.read(text);
    assert_eq!(
        (line.workload, line.container),
        ("w1/decky-1", "w1/decky-1")
    );
    assert_eq!(
        (line.stream, line.text, line.id),
        (Stream::Stdout, &text[..], None)
    );
    assert_eq!(line.msg(), Some(&b"hi"[..]));
    assert_eq!(line.field("a").as_deref(), Some(&b"1]"[..]));
    assert_eq!(line.field("b"), None);
}

#[test]
fn only_what_a_collector_writes_names_a_container() {
    let mut reader = Reader::new("w1", true);
    for text in [
        r#"<134>1 2026-01-01T00:00:00Z h a - raw [x@1 a="b"][logferry@32473 container="victim" id="0123456789ab" stream="stderr"] x"#,
        r#"<134>1 2026-01-01T00:00:00Z h a - raw [logferry@32473 container="victim" id="0123456789ab" stream="stderr"][x@1] x"#,
        r#"<134>2 2026-01-01T00:00:00Z h a - raw [logferry@32473 container="victim" id="0123456789ab" stream="stderr"] x"#,
        r#"<135>1 2026-01-01T00:00:00Z h a - raw [logferry@32473 container="victim" id="0123456789ab" stream="stderr"] x"#,
        r#"<134>1 2026-01-01T00:00:00Z h a 1 raw [logferry@32473 container="victim" id="0123456789ab" stream="stderr"] x"#,
        r#"<134>1 2026-01-01T00:00:00Z h a - raw [logferry@32473 stream="stderr" container="victim"] x"#,
        r#"<134>1 2026-01-01T00:00:00Z h a - raw [logferry@32473 container="victim" id="" stream="stderr" part="1"] x"#,
    ] {
        let line = reader.read(text.as_bytes());
        assert_eq!((line.workload, line.id), ("w1/h", None), "{text}");
        assert_eq!((line.stream, line.text), (Stream::Stdout, text.as_bytes()));
    }
}

#[test]
fn a_bom_that_lies_hides_nobody() {
    let mut reader = Reader::new("w1", true);
    let line = wrapped(true, b"\xEF\xBB\xBF\xFFhit");
    let line = reader.read(&line);
    assert_eq!((line.workload, line.id), ("w1/gate", Some("0123456789ab")));
    assert_eq!(
        (line.stream, line.text),
        (Stream::Stderr, &b"\xEF\xBB\xBF\xFFhit"[..])
    );
    assert_eq!(line.msg(), Some(&b"\xFFhit"[..]));
    assert_eq!(line.field("container").as_deref(), Some(&b"gate"[..]));
}

#[test]
fn a_line_that_is_no_message_names_nobody() {
    let mut reader = Reader::new("w1", true);
    let line = reader
        .of("w2")
        .read(b"2026-01-01T00:00:00.123456789Z plain\r");
    assert_eq!(
        (line.workload, line.text, line.ts),
        ("w2/-", &b"plain"[..], None)
    );
    assert_eq!(line.msg(), None);
}

#[test]
fn strips_time_stamps_and_nothing_else() {
    let check = |text: &str, expected: &str| {
        assert_eq!(strip_time(text.as_bytes()), expected.as_bytes(), "{text}");
    };
    check("2026-11-21T03:22:18.207475101Z x", "x");
    check("2026-11-21T03:22:18Z x y", "x y");
    check("2024-02-29T03:22:18+02:00  x", " x");
    for kept in [
        "2026-02-29T03:22:18Z x",
        "2026-11-21T24:00:00Z x",
        "2026-11-21t03:22:18Z x",
        "2026-11-21T03:22:18.Z x",
        "2026-11-21T03:22:18Z",
        "2026-11-21 03:22:18Z x",
        "2026-11-21T03:22:18+99:00 x",
        "abcdefghijabcdefghijabcdefghij x",
        "",
    ] {
        check(kept, kept);
    }
    // Once.
    check(
        "2026-11-21T03:22:18Z 2026-11-21T03:22:18Z x",
        "2026-11-21T03:22:18Z x",
    );
}
