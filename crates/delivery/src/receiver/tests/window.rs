//! What is told of a window.

use super::*;

#[test]
fn acknowledges_nothing_but_what_is_committed() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_data(1, 9);
    assert_eq!(bench.actions(), []);
    bench.receiver.handle_committed(E1, at(10), Hash::of(b"l2"));
    let ack = Ack {
        epoch: E1,
        offset: at(10),
        ledger: Hash::of(b"l2"),
    };
    assert_eq!(bench.actions(), [Action::Control(Control::Ack(ack))]);
}

#[test]
fn repeats_the_ack_every_ten_seconds_while_blocked() {
    let mut bench = Bench::open(standing(40));
    bench.receiver.handle_data(1, 9);
    bench.receiver.handle_reading(false, bench.now);
    bench.receiver.handle_blocked(true, bench.now);
    assert_eq!(bench.pass(9), []);
    for _ in 0..20 {
        let ack = Ack {
            epoch: E1,
            offset: at(40),
            ledger: Hash::of(b"l"),
        };
        assert_eq!(bench.pass(10), [Action::Control(Control::Ack(ack))]);
    }
    bench.receiver.handle_blocked(false, bench.now);
    assert_eq!(bench.pass(10), []);
}

#[test]
fn a_superseded_connection_commits_first_and_takes_nothing_more() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_data(1, 9);
    bench.receiver.handle_superseded();
    assert_eq!(bench.actions(), [Action::Commit]);
    assert_eq!(bench.receiver.handle_data(1, 9), None);
    bench.control(&Control::Blank { count: 1 });
    assert_eq!((bench.actions(), taken(&bench)), (Vec::new(), 10));
    bench.receiver.handle_committed(E1, at(10), Hash::of(b""));
    let actions = bench.actions();
    assert!(
        matches!(&actions[1], Action::Control(Control::Refuse(r)) if r.code == Code::Superseded)
    );
    assert_eq!(
        actions[2],
        Action::Close(Closing::Refused(Code::Superseded))
    );
}

#[test]
fn a_void_window_closes_without_an_ack() {
    let mut bench = Bench::open(standing(0));
    bench.receiver.handle_data(1, 9);
    bench.receiver.handle_void();
    assert_eq!(bench.actions(), [Action::Close(Closing::Void)]);
}
