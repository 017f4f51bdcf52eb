//! How many labels there can be.

use prometheus_client::{encoding::text::encode, registry::Registry};

use super::{MAX_NAMES, Metrics};
use crate::books::Books;

fn labels(registry: &Registry) -> usize {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let read = text
        .lines()
        .filter(|line| line.starts_with("lines_read_total{"));
    read.count()
}

#[test]
fn bounds_the_labels_and_gives_them_back() {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let after = Books {
        read: 1,
        written: 1,
        ..Books::default()
    };
    for n in 0..MAX_NAMES + 100 {
        metrics.add(&format!("c{n}"), &Books::default(), &after);
    }
    assert_eq!(labels(&registry), MAX_NAMES + 1);
    for n in 0..MAX_NAMES {
        metrics.forget(&format!("c{n}"));
    }
    assert_eq!(labels(&registry), 1);
    metrics.add("new", &Books::default(), &after);
    assert_eq!(labels(&registry), 2);
}
