//! The fuzzer's corpus, without the fuzzer.

#![expect(clippy::disallowed_methods, reason = "the corpus is a folder")]

use framing::{Decoder, Frame, Mixed, Piece, encode, encode_control};

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
        as_lines(decoder, &data);
        inputs += 1;
    }
    assert!(inputs >= 34, "inputs are missing");
}

#[test]
fn corpus_of_mixed_streams_holds_what_its_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/mixed");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let data = std::fs::read(entry.expect("an entry").path()).expect("an input");
        assert_eq!(mixed(&data, data.len().max(1)), mixed(&data, 1));
        inputs += 1;
    }
    assert!(inputs >= 12, "inputs are missing");
}

/// The pieces of a stream that comes in chunks of this size, and whether it ended with an error.
fn mixed(data: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let octets = |piece: Piece<'_>| match piece {
        Piece::Message(octets) | Piece::Part { octets, .. } => octets.to_vec(),
    };
    let mut mixed = Mixed::new(64);
    let (mut at, mut pieces) = (0, Vec::new());
    for end in (0..=data.len()).filter(|end| end % size == 0 || *end == data.len()) {
        loop {
            match mixed.decode(&data[at..end]) {
                Ok(Some((piece, consumed))) => {
                    pieces.push(octets(piece));
                    at += consumed;
                }
                Ok(None) => break,
                Err(_) => return (pieces, true),
            }
        }
    }
    let rest = mixed.finish(&data[at..]);
    let failed = rest.is_err();
    pieces.extend(rest.ok().flatten().map(octets));
    assert!(pieces.iter().all(|piece| piece.len() <= 64));
    (pieces, failed)
}

/// The same messages as lines, made in place.
fn as_lines(decoder: Decoder, data: &[u8]) {
    let (mut buf, mut at) = (data.to_vec(), 0);
    let mut left = data;
    loop {
        let result = decoder.unframe(&mut buf[at..]);
        let (done, error) =
            result.map_or_else(|(done, error)| (done, Some(error)), |done| (done, None));
        let mut lines = Vec::new();
        for _ in 0..done.frames {
            let Ok(Some((Frame::Message(message), consumed))) = decoder.decode(left) else {
                panic!("a line that is no message");
            };
            lines.extend_from_slice(message);
            lines.push(b'\n');
            left = &left[consumed..];
        }
        assert_eq!(lines, buf[at..at + done.len]);
        at += done.consumed;
        assert_eq!(left, &buf[at..]);
        match decoder.decode(left) {
            Ok(Some((Frame::Control(_), consumed))) if error.is_none() => {
                at += consumed;
                left = &left[consumed..];
            }
            Ok(Some((Frame::Message(message), _))) => {
                assert!(error.is_some() && message.contains(&b'\n'));
                break;
            }
            rest => {
                assert_eq!(rest.is_err(), error.is_some());
                break;
            }
        }
    }
}
