//! The fuzzer's corpus, without the fuzzer.

use bus::{Event, FrameError, Verb, decode, encode, matches};

#[test]
fn corpus_holds_what_the_fuzz_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/bus");
    let (mut inputs, mut frames, mut events, mut errors) = (0, 0, 0, 0);
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("an input");
        let mut rest = data.as_slice();
        let end: Result<_, FrameError> = loop {
            let (frame, used) = match decode(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            assert_eq!(decode(&rest[..used - 1]), Ok(None));
            rest = &rest[used..];
            let mut again = Vec::new();
            if encode(frame.verb, frame.args, frame.body, &mut again).is_ok() {
                assert_eq!(decode(&again), Ok(Some((frame, again.len()))));
            }
            assert!(matches(frame.args, frame.args) && matches(">", frame.args));
            if let Ok(event) = Event::read(&frame) {
                assert!(frame.verb == Verb::Evt && event.topic == frame.args);
                events += 1;
            }
            frames += 1;
        };
        errors += usize::from(end.is_err());
        inputs += 1;
    }
    let found = (inputs, frames, events, errors);
    assert!(
        inputs >= 32 && frames >= 25 && events >= 2 && errors >= 7,
        "inputs are missing: {found:?}"
    );
}
