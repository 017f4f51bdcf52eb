//! What comes before an epoch is open.

use super::*;

#[test]
fn a_lost_state_is_told_the_epochs_and_says_hello_again() {
    let mut bench = Bench::new();
    let Control::Hello(mut lost) = hello(&[]) else {
        panic!()
    };
    lost.epoch = None;
    bench.control(&Control::Hello(lost));
    bench.actions();
    bench.receiver.handle_claimed();
    assert_eq!(bench.actions(), [Action::List]);
    bench.receiver.handle_epochs(Vec::new());
    assert_eq!(
        bench.actions(),
        [Action::Control(Control::Epochs(Vec::new()))]
    );
    bench.control(&hello(&[]));
    assert!(matches!(&bench.actions()[..], [Action::Open(_)]));
}

#[test]
fn a_second_hello_is_about_the_same_stream() {
    let mut bench = Bench::new();
    let Control::Hello(mut lost) = hello(&[]) else {
        panic!()
    };
    lost.epoch = None;
    bench.control(&Control::Hello(lost.clone()));
    bench.receiver.handle_claimed();
    bench.receiver.handle_epochs(Vec::new());
    bench.actions();
    lost.stream = "other".to_owned();
    bench.control(&Control::Hello(lost));
    bench.closes();
}

#[test]
fn answers_at_most_64_questions() {
    let mut bench = Bench::open(standing(1000));
    for _ in 0..64 {
        bench.control(&Control::Prove {
            epoch: E1,
            end: at(10),
            len: 5,
        });
        assert!(matches!(bench.actions()[..], [Action::Prove { .. }]));
        bench.receiver.handle_proof(None.into());
        assert_eq!(
            bench.actions(),
            [Action::Control(Control::Proof(None.into()))]
        );
    }
    bench.control(&Control::Prove {
        epoch: E1,
        end: at(10),
        len: 5,
    });
    bench.closes();
}

#[test]
fn refuses_names_that_are_none() {
    for name in ["", "syslog", "../x", "A", "a/b", ".a"] {
        let mut bench = Bench::new();
        let Control::Hello(mut hello) = hello(&[]) else {
            panic!()
        };
        hello.stream = name.to_owned();
        bench.control(&Control::Hello(hello));
        let actions = bench.actions();
        assert!(
            matches!(&actions[0], Action::Control(Control::Refuse(r)) if r.code == Code::BadStream),
            "{name}"
        );
    }
}
