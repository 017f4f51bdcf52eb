//! The fuzzer's corpora, without the fuzzer.

#![expect(
    clippy::disallowed_methods,
    reason = "a corpus is a folder, and a test may pick an epoch"
)]

mod play;

use std::time::Instant;

use delivery::Control;
use delivery::control::Decoded;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(path).expect("the corpus");
    let inputs: Vec<_> = entries
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("an input"))
        .collect();
    assert!(inputs.len() >= 20, "inputs of {target} are missing");
    inputs
}

#[test]
fn controls_are_written_as_they_are_read() {
    let mut known = 0;
    for data in corpus("control") {
        if let Ok(Decoded::Known(control)) = Control::decode(&data) {
            let again = control.encode().expect("as short as before");
            let decoded = Control::decode(&again).expect("our own");
            assert_eq!(decoded, Decoded::Known(control));
            known += 1;
        }
    }
    assert!(known >= 16, "{known} are known");
}

#[test]
fn neither_end_can_be_talked_into_nonsense() {
    let now = Instant::now();
    for data in corpus("delivery") {
        play::play(&data, now);
    }
}
