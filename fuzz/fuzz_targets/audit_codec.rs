//! Any octets as an audit stream: what decodes is the same after encoding, and each record makes a legal line and JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some((frame, len))) = audit_codec::decode_frame(rest) {
        rest = &rest[len..];
        let Ok(message) = audit_codec::Message::decode(frame.tag, frame.payload) else { continue };
        assert_eq!(audit_codec::Message::decode(frame.tag, &message.encode(frame.tag)), Ok(message.clone()));
        let audit_codec::Message::Logs(request) = &message else { continue };
        for log in &request.logs {
            let (mut line, mut json, context) = (Vec::new(), Vec::new(), audit_codec::Context::default());
            context.write_line(request, log, &mut line);
            context.write_json(request, log, &line, &mut json);
            assert!(rfc5424::parse(&line[..line.len() - 1]).is_ok());
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }
});
