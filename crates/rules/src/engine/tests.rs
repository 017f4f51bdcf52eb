use std::time::Instant;

use super::*;
use crate::{NoParts, RuleSet, Stream, parse_rules};

fn engine(text: &str) -> Engine {
    let set = RuleSet::build([&*parse_rules(text).unwrap()]);
    assert_eq!(set.problems, []);
    Engine::new(Arc::new(set.set), Limits::default())
}

fn line<'a>(container: &'a str, text: &'a str) -> Line<'a> {
    Line {
        workload: container,
        container,
        stream: Stream::Stdout,
        text: text.as_bytes(),
        parts: &NoParts,
    }
}

#[test]
fn a_second_hit_within_the_cooldown_is_held_back_and_at_its_end_fires() {
    let mut engine = engine("[[rule]]\nname = 'a'\npattern = 'x+'");
    let (now, mut out) = (Instant::now(), Vec::new());
    for (after, container) in [(0, "w/a"), (59, "w/a"), (59, "w/b"), (60, "w/a")] {
        engine.scan(
            now + Duration::from_secs(after),
            &line(container, "axb"),
            &mut out,
        );
    }
    let held: Vec<u64> = out
        .iter()
        .map(|event| match event {
            Event::Hit(hit) => hit.suppressed_cooldown,
            Event::Summary(_) => panic!("no summary"),
        })
        .collect();
    assert_eq!(held, [0, 0, 1]);
}
