//! Wrapped lines: their text, and that they are legal whatever the names are.

use proptest::prelude::*;

use super::*;
use crate::{decnet, parse};

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
}
