//! The fuzzer's corpus, without the fuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpus is a folder")]

use framing::{Decoder, Frame, encode, encode_control};

#[test]
fn corpus_holds_what_the_fuzz_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/framing");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("an input");
        let decoder = Decoder::new(4096).with_controls();
        let batch = decoder.whole(&data).unwrap_or_else(|(batch, _)| batch);
        let (mut at, mut frames, mut written) = (0, 0, Vec::new());
        while let Ok(Some((frame, consumed))) = decoder.decode(&data[at..]) {
            match frame {
                Frame::Message(message) => encode(message, &mut written),
                Frame::Control(json) => encode_control(json, &mut written),
            }
            at += consumed;
            frames += 1;
        }
        assert_eq!((at, frames), (batch.len, batch.frames));
        assert_eq!(written, data[..at]);
        inputs += 1;
    }
    assert!(inputs >= 34, "inputs are missing");
}
