//! Elements and parameters, walked and un-escaped.

use proptest::prelude::*;

use super::*;
use crate::message::escape_value;

/// The elements of a legal field, values without escapes.
fn walk(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let (sd, end) = StructuredData::parse(text.as_bytes(), 0).expect("legal");
    assert_eq!(end, sd.as_str().len());
    sd.iter()
        .map(|element| {
            let params = element
                .params()
                .map(|param| (param.name.to_owned(), param.value().into_owned()));
            (element.id.to_owned(), params.collect())
        })
        .collect()
}

#[test]
fn elements_end_where_they_should() {
    let walked = walk(r#"[a k="v"][b][c x="]" y=""] [d]"#.replace(r#""]""#, r#""\]""#).as_str());
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let expected: Vec<(String, Vec<(String, String)>)> = vec![
        ("a".to_owned(), pairs(&[("k", "v")])),
        ("b".to_owned(), Vec::new()),
        ("c".to_owned(), pairs(&[("x", "]"), ("y", "")])),
    ];
    assert_eq!(walked, expected);
}

#[test]
fn a_value_without_escapes_is_borrowed() {
    let (sd, _) = StructuredData::parse(br#"[a k="plain" l="a\\b\x\"\]"]"#, 0).unwrap();
    let params: Vec<Param<'_>> = sd.iter().next().unwrap().params().collect();
    assert!(matches!(params[0].value(), Cow::Borrowed("plain")));
    assert_eq!(params[1].value(), r#"a\b\x"]"#);
}

#[test]
fn the_first_wrong_octet_is_named() {
    let at = |text: &[u8]| StructuredData::parse(text, 0).expect_err("illegal").at;
    assert_eq!(
        at(b"[a k=\"\xFF\"x"),
        6,
        "bad UTF-8 comes before the structure after it"
    );
    assert_eq!(at(b"[a k=\"v\"x"), 8);
    assert_eq!(at(b"[a k=\"v"), 7);
    assert_eq!(at(b"[a k=\"]\""), 6);
    assert_eq!(at(b"[]"), 1);
    assert_eq!(at(b""), 0);
}

proptest! {
    #[test]
    fn escaping_and_reading_is_identity(values in proptest::collection::vec(any::<String>(), 0..4)) {
        let mut text = b"[id@32473".to_vec();
        for value in &values {
            text.extend_from_slice(b" k=\"");
            escape_value(value, &mut text);
            text.push(b'"');
        }
        text.push(b']');
        let text = String::from_utf8(text).expect("of strings");
        let walked = walk(&text);
        let got: Vec<&String> = walked[0].1.iter().map(|(_, value)| value).collect();
        prop_assert_eq!(got, values.iter().collect::<Vec<_>>());
    }
}
