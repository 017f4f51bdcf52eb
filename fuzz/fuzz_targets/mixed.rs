//! Any octets as a stream of both framings, whole and cut after each octet: the same pieces, and no octet is lost.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    assert_eq!(read(data, data.len().max(1)), read(data, 1));
});

/// The pieces of a stream that comes in chunks of this size, and how many octets were taken.
fn read(data: &[u8], size: usize) -> (Vec<Vec<u8>>, usize, bool) {
    let mut mixed = framing::Mixed::new(64);
    let (mut at, mut pieces) = (0, Vec::new());
    for end in (0..=data.len()).filter(|end| end % size == 0 || *end == data.len()) {
        loop {
            match mixed.decode(&data[at..end]) {
                Ok(Some((piece, consumed))) => {
                    pieces.push(octets(piece));
                    at += consumed;
                }
                Ok(None) => break,
                Err(_) => return (pieces, at, true),
            }
        }
    }
    match mixed.finish(&data[at..]) {
        Ok(piece) => pieces.extend(piece.map(octets)),
        Err(_) => return (pieces, at, true),
    }
    (pieces, data.len(), false)
}

fn octets(piece: framing::Piece<'_>) -> Vec<u8> {
    match piece {
        framing::Piece::Message(octets) | framing::Piece::Part { octets, .. } => {
            assert!(octets.len() <= 64);
            octets.to_vec()
        }
    }
}
