//! The order of masters.

use super::*;
use crate::sender::{Outcome, Why};

#[test]
fn tries_all_before_it_waits() {
    let mut masters = Failover::new(3);
    assert_eq!((masters.master(), masters.failed()), (0, Pause::None));
    assert_eq!((masters.master(), masters.failed()), (1, Pause::None));
    assert_eq!((masters.master(), masters.failed()), (2, Pause::Wait));
    assert_eq!(masters.master(), 0);
}

#[test]
fn goes_back_to_the_first_after_a_session_that_worked() {
    let mut masters = Failover::new(2);
    masters.failed();
    let outcome = Outcome {
        why: Why::Broken,
        reset: true,
    };
    assert_eq!(
        (masters.ended(&outcome), masters.master()),
        (Pause::Reset, 0)
    );
    let outcome = Outcome {
        why: Why::Broken,
        reset: false,
    };
    assert_eq!(
        (masters.ended(&outcome), masters.master()),
        (Pause::None, 1)
    );
    let outcome = Outcome {
        why: Why::Elsewhere,
        reset: true,
    };
    assert_eq!(
        (masters.ended(&outcome), masters.master()),
        (Pause::None, 1)
    );
}
