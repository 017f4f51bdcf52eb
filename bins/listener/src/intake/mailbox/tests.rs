//! What a reader that comes late finds.

use super::*;

fn committed(n: u64) -> News {
    News::Committed {
        epoch: EpochId::from_bytes([1; 16]),
        offset: Offset::new(n).unwrap(),
        ledger: Hash::of(b""),
    }
}

#[test]
fn keeps_the_last_of_commits_in_a_row_and_the_order_of_the_rest() {
    let mailbox = Mailbox::default();
    for n in 0..1000 {
        mailbox.put(committed(n));
    }
    mailbox.put(News::Superseded);
    mailbox.put(committed(1000));
    mailbox.put(committed(1001));
    let found: Vec<_> = std::iter::from_fn(|| mailbox.next()).collect();
    assert_eq!(found, [committed(999), News::Superseded, committed(1001)]);
}
