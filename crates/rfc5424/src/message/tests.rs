//! Errors with their octets, and what no input may do. The vectors are in `tests/vectors.rs`.

use proptest::prelude::*;

use super::*;

fn at(text: &[u8]) -> (usize, Field) {
    let error = parse(text).expect_err("illegal");
    (error.at, error.field)
}

#[test]
fn each_error_names_its_octet() {
    assert_eq!(at(b""), (0, Field::Pri));
    assert_eq!(at(b"<192>1 - - - - - -"), (3, Field::Pri));
    assert_eq!(at(b"<034>1 - - - - - -"), (2, Field::Pri));
    assert_eq!(at(b"<1911>1 - - - - - -"), (4, Field::Pri));
    assert_eq!(at(b"<34>1000 - - - - - -"), (7, Field::Version));
    assert_eq!(at(b"<34>1  - - - - -"), (6, Field::Timestamp));
    assert_eq!(at(b"<34>1 - h\x7F - - - -"), (9, Field::Hostname));
    assert_eq!(at(b"<34>1 - - - - -"), (15, Field::Msgid));
    assert_eq!(at(b"<34>1 - - - - - -x"), (17, Field::StructuredData));
    assert_eq!(at(b"<34>1 - - - - - - \xEF\xBB\xBFa\xFF"), (22, Field::Msg));
    let long = format!("<34>1 - - - - {} -", "m".repeat(33));
    assert_eq!(at(long.as_bytes()), (14 + 32, Field::Msgid));
}

#[test]
fn an_error_reads_as_a_sentence() {
    let error = parse(b"<34>1 - - - - - [a k=\"]\"]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "structured_data: `]` in a value must be escaped at octet 22"
    );
}

#[test]
fn all_priorities_come_through() {
    for value in 0..=191 {
        let text = format!("<{value}>1 - - - - - -");
        let priority = parse(text.as_bytes()).unwrap().priority;
        assert_eq!(
            (
                priority.value(),
                priority.facility() * 8 + priority.severity()
            ),
            (value, value)
        );
    }
    assert_eq!(Priority::new(192), None);
}

/// Messages that are nearly legal: legal pieces with a few octets changed.
fn nearly_legal() -> impl Strategy<Value = Vec<u8>> {
    let sd = prop_oneof![
        Just("-".to_owned()),
        "(\\[[a-c@]{1,3}( [k-m]=\"[a-c\\]\\\\\"é]{0,5}\")?\\]){1,2}"
    ];
    let legal = ("<[0-9]{1,3}>1", sd, "( .{0,10})?").prop_map(|(pri, sd, msg)| {
        format!("{pri} 2026-06-20T14:03:07Z h a - m {sd}{msg}").into_bytes()
    });
    (
        legal,
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    )
        .prop_map(|(mut text, changes)| {
            for (index, octet) in changes {
                let at = index.index(text.len());
                text[at] = octet;
            }
            text
        })
}

proptest! {
    #[test]
    fn what_is_accepted_is_written_and_read_alike(text in nearly_legal()) {
        if let Ok(message) = parse(&text) {
            let mut written = Vec::new();
            message.write(&mut written);
            let again = parse(&written).expect("written by us");
            let mut rewritten = Vec::new();
            again.write(&mut rewritten);
            prop_assert_eq!(&rewritten, &written);
            prop_assert_eq!(again.msg, message.msg);
            prop_assert_eq!(again.timestamp.map(|stamp| stamp.time), message.timestamp.map(|stamp| stamp.time));
        }
    }

    #[test]
    fn an_error_lies_within_the_message(text in nearly_legal()) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at <= text.len());
            // What stands before is not to blame: the error stays whatever follows it.
            let mut cut = text[..text.len().min(error.at + 4)].to_vec();
            cut.push(b'x');
            prop_assert!(parse(&cut).is_err());
        }
    }
}
