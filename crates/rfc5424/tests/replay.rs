//! The fuzzer's corpus, without the fuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpus is a folder")]

use rfc5424::decnet::{Extras, Record, accepts};

#[test]
fn corpus_holds_what_the_fuzz_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/rfc5424");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let line = std::fs::read(&path).expect("an input");
        if let Ok(message) = rfc5424::parse(&line) {
            assert!(accepts(&line), "{}", path.display());
            let mut out = Vec::new();
            message.write(&mut out);
            assert_eq!(
                rfc5424::parse(&out).expect("written by us").msg,
                message.msg
            );
        }
        if let Some(record) = Record::parse(&line) {
            let mut out = Vec::new();
            record.write_json(&mut out, &Extras::default());
            serde_json::from_slice::<serde_json::Value>(&out).expect("JSON");
        }
        inputs += 1;
    }
    assert!(inputs >= 166, "inputs are missing");
}
