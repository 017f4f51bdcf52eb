//! Which epoch comes next, and what is kept of it.

use std::collections::HashMap;

use super::*;
use crate::merge::ledger;

fn id(n: u8) -> EpochId {
    EpochId::parse(&format!("{n:02x}").repeat(16)).unwrap()
}

fn key() -> StreamKey {
    StreamKey::new("web", "decky").unwrap()
}

fn news(n: u8, base: u64, end: u64, turn: u64) -> News {
    let source = Source {
        key: key(),
        epoch: id(n),
        form: Form::Log,
    };
    News {
        source: Arc::new(source),
        base,
        end,
        stood: None,
        sealed: false,
        turn,
    }
}

fn opened(n: u8) -> Fact {
    let epoch = id(n);
    Fact::Opened { epoch, base: 0 }
}

/// The next part of a ledger; each fact takes ten octets.
fn page(stream: &Stream, whole: bool, facts: &[Fact]) -> Page {
    let from = stream.ledger();
    let facts: Vec<_> = (0..)
        .map(|n| from + 10 * n)
        .zip(facts.iter().copied())
        .collect();
    Page {
        to: from + 10 * facts.len() as u64,
        facts,
        whole,
    }
}

fn take(stream: &mut Stream, whole: bool, facts: &[Fact]) {
    let page = page(stream, whole, facts);
    stream.take(page);
}

/// The epoch that comes next, merged to its end.
fn merge(stream: &mut Stream) -> Option<EpochId> {
    let Next::Epoch(at) = stream.next() else {
        return None;
    };
    let epoch = stream.epoch(at);
    epoch.advance(epoch.end(), None);
    Some(epoch.source.epoch)
}

/// What is stored, as a restart finds it.
fn stored(stream: &mut Stream, kept: &mut HashMap<String, Vec<u8>>) -> Vec<EpochId> {
    let (mut changes, mut dropped) = (Vec::new(), Vec::new());
    stream.store(&mut changes, &mut dropped).unwrap();
    for change in changes {
        match change {
            Change::Put { key, value } => {
                kept.insert(key, value);
            }
            Change::Delete { key } => {
                kept.remove(&key);
            }
        }
    }
    dropped.iter().map(|source| source.epoch).collect()
}

#[test]
fn epochs_come_in_the_order_of_the_ledger_not_of_the_news() {
    let mut stream = Stream::new(key(), Stored::default());
    stream.told(&news(3, 0, 30, 1));
    stream.told(&news(1, 0, 10, 1));
    stream.told(&news(2, 0, 20, 1));
    assert_eq!(stream.next(), Next::Ledger);
    take(&mut stream, true, &[opened(1), opened(2), opened(3)]);
    let order: Vec<_> = std::iter::from_fn(|| merge(&mut stream)).collect();
    assert_eq!(order, [id(1), id(2), id(3)]);
    // A late write to an older one is appended when it comes.
    stream.told(&news(2, 0, 25, 1));
    assert_eq!(merge(&mut stream), Some(id(2)));
    assert_eq!(stream.next(), Next::Nothing);
}

#[test]
fn a_changed_ledger_is_read_before_anything_new() {
    let mut stream = Stream::new(key(), Stored::default());
    take(&mut stream, true, &[opened(1)]);
    stream.told(&news(1, 0, 10, 1));
    assert_eq!(
        stream.next(),
        Next::Epoch(0),
        "what is known may come before"
    );
    let at = stream.find(&news(1, 0, 10, 1).source).unwrap();
    assert_eq!(stream.next_below(at), Next::Ledger);
    take(&mut stream, true, &[]);
    assert_eq!(stream.next_below(at), Next::Nothing);
}

/// The same, of one to which nothing will be appended.
fn sealed(n: u8, end: u64) -> News {
    News {
        sealed: true,
        ..news(n, 0, end, 1)
    }
}

#[test]
fn an_unfinished_line_waits_for_a_roll_at_its_end_or_a_seal() {
    for is_rolled in [true, false] {
        let mut stream = Stream::new(key(), Stored::default());
        take(&mut stream, true, &[opened(1), opened(2)]);
        stream.told(&news(1, 0, 10, 1));
        stream.told(&news(2, 0, 5, 1));
        take(&mut stream, true, &[]);
        let epoch = stream.epoch(0);
        epoch.advance(8, None);
        epoch.seen = 10;
        assert_eq!(merge(&mut stream), Some(id(2)), "it holds up nobody");
        assert_eq!(stream.next(), Next::Nothing);
        let rolled = |end| Fact::Rolled { epoch: id(1), end };
        if is_rolled {
            take(&mut stream, true, &[rolled(12)]);
            assert_eq!(
                stream.next(),
                Next::Nothing,
                "that window does not stand yet"
            );
            take(&mut stream, true, &[rolled(10)]);
        } else {
            stream.told(&sealed(1, 10));
        }
        assert_eq!(stream.next(), Next::Epoch(0));
        assert!(stream.epoch(0).is_ended());
    }
}

#[test]
fn a_line_goes_on_after_a_roll_that_was_not_at_its_end() {
    let mut stream = Stream::new(key(), Stored::default());
    let rolled = Fact::Rolled {
        epoch: id(1),
        end: 8,
    };
    take(&mut stream, true, &[opened(1), rolled]);
    stream.told(&news(1, 0, 10, 1));
    take(&mut stream, true, &[]);
    stream.epoch(0).seen = 10;
    assert_eq!(stream.next(), Next::Nothing);
}

#[test]
fn a_roll_that_a_recovery_took_back_ends_no_line() {
    let epoch = id(1);
    let next = format!(r#""rolled":"{}","#, id(2));
    for (end, rolled, ends) in [
        (8, "", false),
        (10, r#""rolled":null,"#, false),
        (10, next.as_str(), true),
        // An older version did not say so.
        (10, "", true),
    ] {
        let line = format!(
            r#"{{"kind":"recovery","epoch":"{epoch}","base":{end},"len":null,{rolled}"sealed":false}}"#
        );
        let recovered = ledger::parse(format!("{line}\n").as_bytes(), 0).facts[0].1;
        assert!(matches!(recovered, Fact::Recovered { end: at, .. } if at == end));
        let mut stream = Stream::new(key(), Stored::default());
        let facts = [opened(1), Fact::Rolled { epoch, end: 10 }, recovered];
        take(&mut stream, true, &facts);
        stream.told(&news(1, 0, 10, 1));
        take(&mut stream, true, &[]);
        stream.epoch(0).seen = 10;
        let expected = if ends { Next::Epoch(0) } else { Next::Nothing };
        assert_eq!(stream.next(), expected, "{line}");
    }
}

#[test]
fn a_sealed_epoch_is_forgotten_when_it_is_merged() {
    let mut stream = Stream::new(key(), Stored::default());
    let mut kept = HashMap::new();
    stream.told(&sealed(1, 10));
    take(&mut stream, true, &[opened(1), opened(2)]);
    assert_eq!(stored(&mut stream, &mut kept), []);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(merge(&mut stream), Some(id(1)));
    assert_eq!(stored(&mut stream, &mut kept), [id(1)]);
    assert_eq!(kept.len(), 2, "the ledger's place, and the other epoch's");
    assert_eq!(stream.lag(), 0);
}

#[test]
fn one_that_was_over_before_the_start_is_merged_as_far_as_it_goes() {
    let mut stream = Stream::new(key(), Stored::default());
    let mut kept = HashMap::new();
    stream.opened(20);
    take(&mut stream, false, &[opened(1), opened(2)]);
    for n in [1, 2] {
        assert_eq!(stream.next(), Next::Epoch(n - 1));
        let epoch = stream.epoch(n - 1);
        assert_eq!((epoch.source.epoch, epoch.end()), (id(n as u8), u64::MAX));
        assert!(epoch.is_ended());
        epoch.advance(500, None);
        epoch.finish();
    }
    assert_eq!(stream.next(), Next::Ledger);
    // It may tell of them again, close behind.
    assert_eq!(stored(&mut stream, &mut kept), []);
    take(&mut stream, true, &[opened(1), opened(3)]);
    assert_eq!(stored(&mut stream, &mut kept), [id(1), id(2)]);
    // The third is newer than the start, and nobody told of it.
    assert_eq!(stream.next(), Next::Nothing);
    assert_eq!(kept.len(), 2, "{kept:?}");
    stream.told(&news(3, 0, 7, 1));
    take(&mut stream, true, &[]);
    assert_eq!(merge(&mut stream), Some(id(3)));
}

#[test]
fn lines_that_the_archive_lost_are_merged_when_they_come_again() {
    let place = Place {
        at: 50,
        order: Some(0),
        ..Place::default()
    };
    let mut stream = Stream::new(
        key(),
        Stored {
            ledger: 10,
            places: vec![(id(1), place)],
        },
    );
    stream.told(&News {
        stood: Some(40),
        ..news(1, 0, 40, 1)
    });
    take(&mut stream, true, &[]);
    assert_eq!(stream.next(), Next::Nothing);
    stream.told(&news(1, 0, 60, 1));
    assert_eq!(stream.next(), Next::Epoch(0));
    assert_eq!(stream.epoch(0).place.at, 40);
}

#[test]
fn says_how_far_it_is_when_that_changed() {
    let mut stream = Stream::new(key(), Stored::default());
    let mut kept = HashMap::new();
    take(&mut stream, true, &[opened(1)]);
    stream.told(&news(1, 0, 10, 1));
    take(&mut stream, true, &[]);
    let merged = stream.publish().unwrap();
    assert_eq!((merged.whole, merged.epochs[&id(1)]), (true, 0));
    assert!(stream.publish().is_none());
    merge(&mut stream);
    stored(&mut stream, &mut kept);
    assert_eq!(stream.publish().unwrap().epochs[&id(1)], 10);
}
