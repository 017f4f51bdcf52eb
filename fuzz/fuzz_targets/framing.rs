//! Any octets as a counted stream: the whole frames at its front, written again, are its front; its lines are theirs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let decoder = framing::Decoder::new(4096).with_controls();
    let batch = decoder.whole(data).unwrap_or_else(|(batch, _)| batch);
    let (mut at, mut written, mut lines) = (0, Vec::new(), Vec::new());
    while let Ok(Some((frame, consumed))) = decoder.decode(&data[at..]) {
        match frame {
            framing::Frame::Message(message) => {
                framing::encode(message, &mut written);
                lines.extend([message, b"\n"].concat());
            }
            framing::Frame::Control(json) => framing::encode_control(json, &mut written),
        }
        at += consumed;
    }
    assert!(at == batch.len && written == data[..at]);
    let mut buf = data.to_vec();
    let done = decoder.unframe(&mut buf).unwrap_or_else(|(done, _)| done);
    assert!(lines.starts_with(&buf[..done.len]) && data[done.consumed..] == buf[done.consumed..]);
});
