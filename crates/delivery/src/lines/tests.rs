//! Runs put together again are the lines.

use proptest::prelude::*;

use super::*;

fn again(lines: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in runs(lines) {
        match run {
            Run::Lines(range) => {
                let part = &lines[range];
                assert!(part.ends_with(b"\n") && !part.starts_with(b"\n"));
                assert!(!part.windows(2).any(|pair| pair == b"\n\n"));
                bytes.extend_from_slice(part);
            }
            Run::Blank(count) => {
                assert!((1..=MAX_BLANK).contains(&count));
                bytes.resize(bytes.len() + count as usize, b'\n');
            }
        }
    }
    bytes
}

#[test]
fn counts_at_most_65536_at_a_time() {
    let lines = vec![b'\n'; 70_000];
    assert_eq!(
        runs(&lines).collect::<Vec<_>>(),
        [Run::Blank(65_536), Run::Blank(4464)]
    );
}

proptest! {
    #[test]
    fn nothing_is_lost_or_added(lines in "[a\n]{0,60}") {
        let end = lines.rfind('\n').map_or(0, |lf| lf + 1);
        prop_assert_eq!(again(lines.as_bytes()), &lines.as_bytes()[..end]);
    }
}
