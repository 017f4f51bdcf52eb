//! Any octets as a bus's stream, in both directions: what decodes is the same after encoding, whole and not before.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some((frame, used))) = bus::decode(rest) {
        assert_eq!(bus::decode(&rest[..used - 1]), Ok(None));
        rest = &rest[used..];
        let mut again = Vec::new();
        // A header may hold what we would not write: a tab.
        if bus::encode(frame.verb, frame.args, frame.body, &mut again).is_ok() {
            assert_eq!(bus::decode(&again), Ok(Some((frame, again.len()))));
        }
        assert!(bus::matches(frame.args, frame.args) && bus::matches(">", frame.args));
        if let Ok(event) = bus::Event::read(&frame) {
            assert!(frame.verb == bus::Verb::Evt && event.topic == frame.args);
        }
    }
});
