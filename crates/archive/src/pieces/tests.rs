//! The tree against the library's own hash.

use super::*;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn hashes_as_the_library_does_and_resumes_anywhere() {
    let piece = PIECE as usize;
    for len in [
        0,
        1,
        1024,
        piece - 1,
        piece,
        piece + 1,
        2 * piece,
        3 * piece + 5,
        5 * piece,
        7 * piece - 1,
    ] {
        let bytes = bytes(len);
        let mut pieces = Pieces::default();
        bytes
            .chunks(piece / 3 + 17)
            .for_each(|chunk| pieces.update(chunk));
        let sum = pieces.finish();
        assert_eq!(sum.hash, *blake3::hash(&bytes).as_bytes(), "{len}");
        assert_eq!(pieces.whole().len(), whole(len as u64), "{len}");
        if sum.pieces.len() > 1 {
            assert_eq!(root(&sum.pieces), Some(sum.hash), "{len}");
        } else {
            assert!(len <= piece && sum.pieces.is_empty());
        }
        // From all, some and none of the whole pieces.
        for known in [pieces.whole().len(), pieces.whole().len() / 2, 0] {
            let known = pieces.whole()[..known].to_vec();
            let read = |buf: &mut [u8], at: u64| {
                buf.copy_from_slice(&bytes[at as usize..at as usize + buf.len()]);
                Ok(())
            };
            let again = Pieces::resume(known, len as u64, read).unwrap();
            assert_eq!(again.finish(), sum, "{len}");
        }
    }
}

#[test]
fn joins_pieces_of_a_long_segment() {
    let nodes: Vec<Node> = (0..MOST * 3 + 1)
        .map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes())
        .collect();
    let joined = pairs(&pairs(&nodes));
    assert!(joined.len() < MOST);
    assert_eq!(root(&joined), root(&nodes));
}
