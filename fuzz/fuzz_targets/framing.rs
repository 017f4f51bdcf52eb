//! Any octets as a counted stream: the whole frames at its front, written again, are its front.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let decoder = framing::Decoder::new(4096).with_controls();
    let batch = decoder.whole(data).unwrap_or_else(|(batch, _)| batch);
    let (mut at, mut written) = (0, Vec::new());
    while let Ok(Some((frame, consumed))) = decoder.decode(&data[at..]) {
        match frame {
            framing::Frame::Message(message) => framing::encode(message, &mut written),
            framing::Frame::Control(json) => framing::encode_control(json, &mut written),
        }
        at += consumed;
    }
    assert!(at == batch.len && written == data[..at]);
});
