//! Texts of every length at every place of a line.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Which of the texts are found in a line, by their place.
fn found(texts: &[Vec<u8>], line: &[u8]) -> Vec<u32> {
    let owned = texts.iter().enumerate();
    let index = Index::new(owned.map(|(at, text)| (text.to_ascii_lowercase(), vec![at as u32])));
    let mut found = Vec::new();
    index.search(line, |owners| found.extend(owners));
    found.sort_unstable();
    found.dedup();
    found
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len())
        .any(|part| part.eq_ignore_ascii_case(text))
}

#[test]
fn finds_texts_of_every_length_at_every_place() {
    let all: Vec<u8> = (0..24).map(|at| b'a' + at).collect();
    for length in 2..all.len() {
        let text = &all[..length];
        for before in 0..40 {
            for after in [0, 1, 2, 3, 50] {
                let line = [&vec![b'-'; before][..], text, &vec![b'.'; after]].concat();
                assert_eq!(
                    found(&[text.to_vec()], &line),
                    [0],
                    "{length} {before} {after}"
                );
                let upper = line.to_ascii_uppercase();
                assert_eq!(
                    found(&[text.to_vec()], &upper),
                    [0],
                    "{length} {before} {after}"
                );
            }
            let line = [&vec![b'-'; before][..], &text[..length - 1]].concat();
            assert_eq!(found(&[text.to_vec()], &line), [0; 0]);
        }
    }
}

proptest! {
    #[test]
    fn finds_what_is_there_and_nothing_else(
        texts in vec(vec(prop::sample::select(b"abAB@` \xe9\xc3".to_vec()), 2..20), 1..40),
        line in vec(prop::sample::select(b"abAB@` \xe9\xc3".to_vec()), 0..200),
    ) {
        let there = texts.iter().enumerate().filter(|(_, text)| contains(&line, text));
        let expected: Vec<u32> = there.map(|(at, _)| at as u32).collect();
        prop_assert_eq!(found(&texts, &line), expected);
    }
}
