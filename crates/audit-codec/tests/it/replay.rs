//! The fuzzer's corpus, without the fuzzer.

use audit_codec::{Context, Message, decode_frame};

#[test]
fn corpus_holds_what_the_fuzz_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/audit_codec");
    let (mut inputs, mut records) = (0, 0);
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("an input");
        let mut at = 0;
        while let Ok(Some((frame, consumed))) = decode_frame(&data[at..]) {
            at += consumed;
            let Ok(message) = Message::decode(frame.tag, frame.payload) else {
                continue;
            };
            let again = message.encode(frame.tag);
            assert_eq!(Message::decode(frame.tag, &again), Ok(message.clone()));
            let Message::Logs(request) = &message else {
                continue;
            };
            for log in &request.logs {
                let (mut line, mut json) = (Vec::new(), Vec::new());
                Context::default().write_line(request, log, &mut line);
                Context::default().write_json(request, log, &line, &mut json);
                assert!(rfc5424::parse(&line[..line.len() - 1]).is_ok());
                assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
                records += 1;
            }
        }
        inputs += 1;
    }
    assert!(
        inputs >= 20 && records >= 6,
        "{inputs} inputs, {records} records"
    );
}
