//! How messages become lines, and what makes a batch full.

use docker_demux::Part;

use super::Basket;
use crate::source::Pool;

fn basket() -> Basket {
    Basket {
        lines: Pool::new(1).try_take().unwrap(),
        time_ns: 7,
    }
}

#[test]
fn a_message_is_one_line_whatever_is_in_it() {
    let mut basket = basket();
    for message in ["<1>a", "<1>b\n", "<1>c\nd\n\ne\n\n", "", "\n", "x\r\0"] {
        basket.message(message.as_bytes());
    }
    let lines: Vec<_> = basket
        .lines
        .iter()
        .map(|(_, octets)| octets.to_vec())
        .collect();
    let expected = ["<1>a", "<1>b", "<1>c#012d#012#012e#012", "", "", "x\r\0"];
    assert_eq!(lines, expected.map(|line| line.as_bytes().to_vec()));
    let stamps = basket.lines.index.iter().map(|line| line.time_ns);
    assert!(stamps.eq(7..13));
}

#[test]
fn is_full_by_octets_or_by_lines() {
    let mut basket = basket();
    basket.message(&vec![b'x'; 512 << 10]);
    assert!(basket.is_full());
    basket.lines.clear();
    for _ in 0..8191 {
        basket.message(b"");
    }
    assert!(!basket.is_full());
    let part = Part {
        line: 1,
        n: 0,
        last: true,
    };
    basket.part(b"", part);
    assert!(basket.is_full());
}
