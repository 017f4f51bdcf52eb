//! Each word trick against the loop that it stands for.

use proptest::prelude::*;

use super::*;

fn naive(text: &[u8], at: usize, test: impl Fn(u8) -> bool) -> Option<usize> {
    (at..text.len()).find(|index| test(text[*index]))
}

/// Octets near the edges of the tests, so that they meet often.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        Just(0),
        Just(b'"'),
        Just(b'!'),
        Just(b'#'),
        Just(0x20),
        Just(0x7F),
        Just(0x80),
        Just(0xA2),
        any::<u8>()
    ];
    proptest::collection::vec(octet, 0..40)
}

proptest! {
    #[test]
    fn find_agrees_with_a_loop(text in octets(), at in 0_usize..40) {
        prop_assert_eq!(find(&text, at, |word| equal(word, b'"')), naive(&text, at, |octet| octet == b'"'));
        prop_assert_eq!(find(&text, at, |word| below(word, 0x21)), naive(&text, at, |octet| octet < 0x21));
        prop_assert_eq!(find(&text, at, |word| below(word, 128)), naive(&text, at, |octet| octet < 128));
        let either = |word| equal(word, b'!') | below(word, 0x20);
        prop_assert_eq!(find(&text, at, either), naive(&text, at, |octet| octet == b'!' || octet < 0x20));
    }

    #[test]
    fn either_is_exact(text in proptest::array::uniform8(prop_oneof![Just(b'"'), Just(b'#'), Just(b'!'), Just(b'\\'), Just(0xA2), Just(0xDC), any::<u8>()])) {
        let found = either(u64::from_le_bytes(text), b'"', b'\\');
        for (index, octet) in text.iter().enumerate() {
            let bit = found >> (8 * index) & 0xFF;
            prop_assert_eq!(bit, if matches!(octet, b'"' | b'\\') { 0x80 } else { 0 });
        }
    }

    #[test]
    fn a_load_is_the_octets_and_zeros(text in octets(), at in 0_usize..40) {
        prop_assume!(at <= text.len());
        let (word, len) = load(&text, at);
        let mut expected = [0; 8];
        expected[..len].copy_from_slice(&text[at..at + len]);
        prop_assert_eq!(len, (text.len() - at).min(8));
        prop_assert_eq!(word.to_le_bytes(), expected);
    }
}
