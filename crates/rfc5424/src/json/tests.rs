//! Both sinks mean the same text, and the fast one is no different where it may be used.

use proptest::prelude::*;

use super::*;

fn careful(write: impl Fn(&mut Careful<'_>)) -> Vec<u8> {
    let mut out = b"\"".to_vec();
    write(&mut Careful { out: &mut out });
    out.push(b'"');
    out
}

fn fast(room: usize, write: impl Fn(&mut Fast<'_>)) -> Vec<u8> {
    let mut out = vec![0; room];
    let mut sink = Fast::new(&mut out);
    sink.raw(b"\"");
    write(&mut sink);
    sink.raw(b"\"");
    let len = sink.len();
    out.truncate(len);
    out
}

fn decoded(json: &[u8]) -> String {
    serde_json::from_slice(json).expect("JSON")
}

/// Texts full of what needs care.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![4 => "[a-z ]{1,9}", 2 => Just("\"".to_owned()), 2 => Just("\\".to_owned()), 1 => Just("]".to_owned()), 1 => "\\PC"], 0..20)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn texts_mean_themselves(text in any::<String>()) {
        prop_assert_eq!(decoded(&careful(|sink| sink.text(text.as_bytes()))), text);
    }

    #[test]
    fn octets_that_are_no_text_are_replaced(octets in proptest::collection::vec(any::<u8>(), 0..20)) {
        let json = careful(|sink| sink.text(&octets));
        prop_assert_eq!(decoded(&json), String::from_utf8_lossy(&octets).into_owned());
    }

    #[test]
    fn the_fast_sink_is_no_different(text in text()) {
        let room = 2 * text.len() + Fast::SLACK + 2;
        let json = fast(room, |sink| sink.text(text.as_bytes()));
        prop_assert_eq!(&json, &careful(|sink| sink.text(text.as_bytes())));
        prop_assert_eq!(decoded(&json), text);
    }

    #[test]
    fn values_lose_their_escapes(value in text()) {
        let mut raw = Vec::new();
        crate::message::escape_value(&value, &mut raw);
        let json = fast(2 * raw.len() + Fast::SLACK + 2, |sink| sink.value(&raw));
        prop_assert_eq!(decoded(&json), value.as_str());
        prop_assert_eq!(&json, &careful(|sink| sink.value(&raw)));
    }

    #[test]
    fn stray_backslashes_stay(value in "([a-z]{0,8}\\\\{1,4}){0,4}[a-z]{0,3}") {
        // Values as they come hold no bare quote, but any backslashes.
        let json = fast(2 * value.len() + Fast::SLACK + 2, |sink| sink.value(value.as_bytes()));
        prop_assert_eq!(&json, &careful(|sink| sink.value(value.as_bytes())));
        decoded(&json);
    }
}

#[test]
fn the_fast_sink_refuses_what_it_cannot_write() {
    assert!(Fast::takes("plain é \u{7F}".as_bytes()));
    for text in [
        b"a\nb".as_slice(),
        b"\0",
        b"\xFF",
        "é\t".as_bytes(),
        b"0123456789abcdef0123456789abcde\x1F",
    ] {
        assert!(!Fast::takes(text), "{text:?}");
    }
}
