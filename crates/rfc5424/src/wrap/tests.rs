//! Wrapped lines: their text, and that they are legal whatever the names are.

use proptest::prelude::*;

use super::*;
use crate::{decnet, message::BOM, parse};

const WRAP: Wrap<'_> = Wrap {
    stream: None,
    stderr: false,
    time_unix_ns: 1_781_964_187_123_456_789,
    hostname: "omega-decky-http",
    app_name: "http",
    container: "omega-decky-http",
    id: "0123456789abcdef",
    part: None,
};

fn write(wrap: &Wrap<'_>, line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wrap.write(&mut out);
    out.extend_from_slice(line);
    out
}

#[test]
fn a_wrapped_line_looks_like_this() {
    let expected = concat!(
        r#"<134>1 2026-06-20T14:03:07.123456Z omega-decky-http http - raw "#,
        r#"[logferry@32473 container="omega-decky-http" id="0123456789ab" stream="stdout"]  * Serving"#
    );
    assert_eq!(write(&WRAP, b" * Serving"), expected.as_bytes());
}

#[test]
fn errors_and_parts_are_marked() {
    let part = Some(Part {
        line: 77,
        n: 2,
        last: true,
    });
    let expected = concat!(
        r#"<131>1 2026-06-20T14:03:07.123456Z omega-decky-http http - raw "#,
        r#"[logferry@32473 container="omega-decky-http" id="0123456789ab" stream="stderr" line="77" part="2" last="1"] x"#
    );
    assert_eq!(
        write(
            &Wrap {
                stderr: true,
                part,
                ..WRAP
            },
            b"x"
        ),
        expected.as_bytes()
    );
    let part = Some(Part {
        line: 77,
        n: 1,
        last: false,
    });
    let text = write(&Wrap { part, ..WRAP }, b"x");
    assert!(text.ends_with(br#"line="77" part="1"] x"#));
}

#[test]
fn unfit_names_are_made_to_fit() {
    let hostname = "ö b".repeat(100);
    let wrap = Wrap {
        hostname: &hostname,
        app_name: "",
        container: "a\"]\\b",
        ..WRAP
    };
    let text = write(&wrap, b"\xFF\0\r");
    let message = parse(&text).expect("legal");
    let hostname = message.hostname.expect("there");
    assert_eq!((hostname.len(), &hostname[..8]), (255, "___b___b"));
    assert_eq!(message.app_name, None);
    assert_eq!(message.msg, Some(b"\xFF\0\r".as_slice()));
    let element = message.structured_data.iter().next().expect("one");
    assert_eq!(element.params().next().expect("one").value(), "a\"]\\b");
}

#[test]
fn a_wrapped_line_goes_into_no_json() {
    let text = write(&WRAP, b"src=1.2.3.4");
    assert!(decnet::Record::parse(&text).is_none());
    assert!(decnet::accepts(&text));
}

/// What a collector puts into a `.log`: the line as it came, or behind our header.
fn rendered(wrap: &Wrap<'_>, line: &[u8]) -> Vec<u8> {
    match decnet::classify(line) {
        decnet::Class::Record(_) | decnet::Class::Strict => line.to_vec(),
        decnet::Class::Wrapped | decnet::Class::Raw => write(wrap, line),
    }
}

const LINES: &[&[u8]] = &[b"text", b"\xEF\xBB\xBF\xFF", b"a\nb", b"\r", b""];

/// Lines of the pieces that our header is made of, most of them all but one.
fn forgeries() -> impl Strategy<Value = Vec<u8>> {
    let piece = |usual: &'static str, others: &'static [&'static str]| prop_oneof![9 => Just(usual), 2 => proptest::sample::select(others), 1 => "\\PC{0,3}".prop_map(|text| &*text.leak())];
    (
        piece("<134>", &["<131>", "<13>", "<0134>", "<999>", ""]),
        piece("1 ", &["2 ", "999 ", "01 ", "1"]),
        piece("2026-06-20T14:03:07.123456Z h a ", &["- h a ", "x h a "]),
        piece(
            "- raw ",
            &[
                "1 raw ",
                "- rau ",
                "- - ",
                "- - - 2026-06-20T14:03:07Z h a - raw ",
            ],
        ),
        piece(
            "",
            &[
                "[x@1 a=\"b\"]",
                "[x@1]",
                "[x@1 a=\"[logferry@32473 \"]",
                "- ",
            ],
        ),
        piece(
            "[logferry@32473",
            &["[logferry@32473 x=\"\"", "[logferry@32473\t"],
        ),
        piece(
            " container=\"victim\"",
            &[" container=\"vi\nctim\"", " id=\"1\" container=\"victim\""],
        ),
        piece(
            " id=\"0123456789ab\" stream=\"stdout\"",
            &[" id=\"\" stream=\"\" line=\"1\" part=\"2\""],
        ),
        piece("] ", &["]", "][x@1] ", " ] ", "]\r"]),
        proptest::sample::select(LINES),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i, msg)| {
            [a, b, c, d, e, f, g, h, i]
                .concat()
                .bytes()
                .chain(msg.iter().copied())
                .collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_a_container_prints_names_it_or_nobody(line in forgeries()) {
        let text = rendered(&WRAP, &line);
        // Readers take off a CR at the end first.
        for text in [&text[..], text.strip_suffix(b"\r").unwrap_or(&text)] {
            if let Some(wrapped) = Wrapped::of(text) {
                prop_assert_eq!(&wrapped.container, WRAP.container);
                prop_assert_eq!(wrapped.id, &WRAP.id[..12]);
                prop_assert_eq!(wrapped.message.hostname, Some(WRAP.hostname));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_names_and_any_line_make_a_legal_message(
        names in any::<[String; 4]>(), time_unix_ns in any::<i64>(), stderr in any::<bool>(),
        line in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        // The one exception: a BOM promises UTF-8, and the line is not to be changed.
        prop_assume!(!line.starts_with(b"\xEF\xBB\xBF"));
        let [hostname, app_name, container, id] = &names;
        let wrap = Wrap { stderr, stream: None, time_unix_ns, hostname, app_name, container, id, part: None };
        let text = write(&wrap, &line);
        let message = parse(&text).expect("legal");
        prop_assert_eq!(message.msg, Some(&line[..]));
        let element = message.structured_data.iter().next().expect("one");
        prop_assert_eq!(&element.params().next().expect("one").value(), container);
    }

    #[test]
    fn a_wrapped_line_is_known_with_any_names_and_any_line(
        names in any::<[String; 4]>(), time_unix_ns in any::<i64>(), stderr in any::<bool>(),
        part in proptest::option::of((any::<u64>(), any::<u32>(), any::<bool>())),
        bom in any::<bool>(), line in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let [hostname, app_name, container, id] = &names;
        let part = part.map(|(line, n, last)| Part { line, n, last });
        let wrap = Wrap { stderr, stream: None, time_unix_ns, hostname, app_name, container, id, part };
        let line = [if bom { BOM } else { b"" }, &line].concat();
        let text = write(&wrap, &line);
        let wrapped = Wrapped::of(&text).expect("wrapped");
        prop_assert_eq!(&wrapped.container, container);
        prop_assert_eq!(wrapped.id, id.chars().take(12).collect::<String>());
        prop_assert_eq!(wrapped.stream, if stderr { "stderr" } else { "stdout" });
        prop_assert_eq!(wrapped.message.msg, Some(&line[..]));
    }
}
