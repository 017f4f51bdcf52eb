//! The books balance through gaps, crashes and forgotten epochs.

use tail::{Cause, Ident, Print, RollCause};

use super::*;

const E1: EpochId = EpochId::from_bytes([1; 16]);
const E2: EpochId = EpochId::from_bytes([2; 16]);

fn known(epoch: EpochId, size: u64, delivered: u64, base: u64) -> Known {
    Known {
        epoch,
        ident: Ident {
            size,
            ..Ident::default()
        },
        head: Print::new(0, b""),
        first: Vec::new(),
        tail: Print::new(delivered, b""),
        ended: Some(RollCause::Rotated),
        skip: None,
        spent: false,
        of: None,
        base,
    }
}

fn gap(from: u64, to: Option<u64>, known: u64) -> Gap {
    Gap {
        seq: 1,
        epoch: E1,
        from,
        to,
        known,
        cause: Cause::LagCap,
    }
}

fn of(epochs: Vec<Known>) -> Checkpoint {
    Checkpoint {
        epochs,
        first: None,
    }
}

#[track_caller]
fn check(books: &Books, checkpoint: &Checkpoint, expected: [u64; 4]) {
    let sums = books.sums(checkpoint, |_| 0);
    let found = [sums.written, sums.acknowledged, sums.pending, sums.gaps];
    assert_eq!(found, expected);
    assert_eq!(sums.to_json()["balanced"], true);
}

#[test]
fn a_gap_counts_once_however_often_it_is_told() {
    let mut books = Books::default();
    check(&books, &of(vec![known(E1, 100, 10, 0)]), [100, 10, 90, 0]);
    books.gap(&gap(10, Some(60), 50));
    books.gap(&gap(10, Some(60), 50));
    check(&books, &of(vec![known(E1, 100, 10, 0)]), [100, 10, 40, 50]);
    check(&books, &of(vec![known(E1, 100, 100, 0)]), [100, 50, 0, 50]);
}

#[test]
fn an_end_that_is_lost_is_not_waited_for() {
    let mut books = Books::default();
    books.gap(&gap(70, None, 30));
    check(&books, &of(vec![known(E1, 100, 70, 0)]), [100, 70, 0, 30]);
}

#[test]
fn forgotten_epochs_stay_in_the_sums_and_a_branch_counts_what_is_new() {
    let mut books = Books::default();
    books.gap(&gap(10, Some(60), 50));
    let before = of(vec![known(E1, 100, 100, 0)]);
    let after = of(vec![known(E2, 130, 110, 100)]);
    books.turn(&before, &after, |_| 0);
    check(&books, &after, [130, 60, 20, 50]);
    books.turn(&after, &after, |_| 0);
    check(&books, &after, [130, 60, 20, 50]);
}
