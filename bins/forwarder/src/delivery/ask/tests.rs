//! Which masters are asked, and when that is enough.

use tail::EpochId;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);
const IS: Answer = Answer::Is(EpochId::from_bytes([1; 16]));

fn branch(base: u64) -> Answer {
    Answer::Branch { of: None, base }
}

#[test]
fn every_master_is_asked() {
    let now = Instant::now();
    let mut asking = Asking::new(2);
    asking.answered(vec![Answer::New, Answer::New, branch(5), branch(9)]);
    assert_eq!(asking.decided(now, LIMIT), None);
    assert_eq!(asking.master(), 1);
    asking.answered(vec![IS, Answer::New, branch(7), IS]);
    let expected = vec![IS, Answer::New, branch(7), IS];
    assert_eq!(asking.decided(now, LIMIT), Some(expected));
}

#[test]
fn what_a_master_has_begun_to_say_is_no_answer_and_its_alone() {
    let mut asking = Asking::new(2);
    asking.begin(vec![IS]);
    assert_eq!(asking.begun(), [IS]);
    assert_eq!(asking.decided(Instant::now() + LIMIT, LIMIT), None);
    asking.failed(Instant::now());
    assert_eq!((asking.master(), asking.begun()), (1, &[][..]));
    let mut asking = Asking::new(1);
    asking.begin(vec![IS]);
    asking.failed(Instant::now());
    assert_eq!(asking.begun(), [IS], "the same master goes on");
    asking.answered(vec![IS, Answer::New]);
    assert_eq!(asking.begun(), []);
}

#[test]
fn a_master_that_is_away_is_waited_for_a_while() {
    let now = Instant::now();
    let mut asking = Asking::new(2);
    assert_eq!(asking.failed(now), Pause::None);
    assert_eq!(asking.failed(now), Pause::Wait, "nobody answers");
    assert_eq!(
        asking.decided(now + LIMIT, LIMIT),
        None,
        "nobody has answered"
    );
    asking.answered(vec![IS]);
    assert_eq!(asking.master(), 1);
    assert_eq!(asking.failed(now), Pause::Wait, "the same once more");
    assert_eq!(asking.decided(now, LIMIT), None);
    // Another file has come meanwhile.
    asking.restart();
    asking.answered(vec![IS, Answer::New]);
    assert_eq!(
        asking.decided(now + LIMIT, LIMIT),
        Some(vec![IS, Answer::New])
    );
}
