//! What is counted on the way.

use super::*;

#[test]
fn counts_frames_that_are_no_syslog() {
    let mut octets = Vec::new();
    for message in [
        &b"<13>1 - - - - - -"[..],
        b"no",
        b"<13>1 - - - - - - x",
        b"<13>2",
    ] {
        framing::encode(message, &mut octets);
    }
    assert_eq!(count_invalid(Decoder::new(1000), &octets), 2);
}
