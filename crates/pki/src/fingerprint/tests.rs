//! Fingerprints as text.

use super::*;

#[test]
fn hashes_as_sha256sum_does() {
    assert_eq!(
        Fingerprint::of(b"abc").to_string(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn text_round_trips_and_nothing_else_is_taken() {
    let text = Fingerprint::of(b"x").to_string();
    assert_eq!(text.parse::<Fingerprint>().unwrap(), Fingerprint::of(b"x"));
    for bad in [
        "",
        "ab",
        &text.to_uppercase(),
        &text[1..],
        &format!("{text}0"),
        &text.replace(&text[..1], "g"),
    ] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
    }
}
