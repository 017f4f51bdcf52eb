//! Sums, and their bound.

use super::{MOST, Reports, Tally, What};
use crate::event::Peer;

const ONE: Tally = Tally {
    times: 1,
    records: 2,
    bytes: 0,
};

#[test]
fn adds_up_per_kind_peer_and_session() {
    let mut reports = Reports::default();
    let peer = Peer {
        uid: Some(7),
        ..Peer::default()
    };
    for session in ["a", "b", "a"] {
        reports.add(What::Lost("buffer_full"), peer, session, ONE);
    }
    reports.add(What::Duplicate, peer, "a", ONE);
    let facts = reports.take();
    let told = |fact: &offsets::Fact| {
        (
            fact.kind.clone(),
            fact.epoch.clone(),
            fact.more["records"].as_u64(),
        )
    };
    let expected = [
        ("gap".to_owned(), Some("a".to_owned()), Some(4)),
        ("gap".to_owned(), Some("b".to_owned()), Some(2)),
        ("duplicate".to_owned(), Some("a".to_owned()), Some(2)),
    ];
    assert_eq!(facts.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(facts[0].more["cause"], "buffer_full");
    assert!(reports.take().is_empty());
}

#[test]
fn many_kinds_become_one() {
    let mut reports = Reports::default();
    for session in 0..MOST + 50 {
        let session = session.to_string();
        reports.add(What::Duplicate, Peer::default(), &session, ONE);
    }
    let facts = reports.take();
    assert_eq!(facts.len(), MOST + 1);
    let others = facts.iter().find(|fact| fact.epoch.is_none()).unwrap();
    assert_eq!(others.more["times"], 50);
}
