//! Audit records from a client's socket to the master's archive.

use swarm::audit::{Audit, Heard, run};

use crate::support::folder;

/// With `RUN_SLOW_TESTS` ten clients with 100,000 records each, and 200 kills.
fn play(kills: u32, late_master: bool) -> Heard {
    let slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let audit = Audit {
        clients: 10,
        records: if slow { 100_000 } else { 5_000 },
        kills: if slow { 20 * kills } else { kills },
        seed: 4,
        late_master,
    };
    let heard = run(&audit, folder().path()).unwrap();
    assert_eq!(heard.problems, Vec::<String>::new(), "{heard:?}");
    assert_eq!(heard.written, u64::from(audit.records) * 10);
    assert_eq!(heard.stand + heard.missing, heard.written);
    heard
}

/// Nothing on the socket is acknowledged: ends of connections may go with the proxy, and are told. All that stands
/// stands once, in order, and is in the archive.
#[test]
fn kills_of_the_proxy_cost_ends_of_connections_which_are_told() {
    // How many depends on how busy the machine is; a proxy that kept nothing would have failed before.
    let heard = play(10, false);
    assert!(heard.stand > 0, "{heard:?}");
}

#[test]
fn without_kills_nothing_is_missing() {
    assert_eq!(play(0, false).missing, 0);
}

/// The log is the buffer: nothing is dropped, and all of it arrives when the master comes.
#[test]
fn with_the_master_away_nothing_is_dropped() {
    assert_eq!(play(0, true).missing, 0);
}
