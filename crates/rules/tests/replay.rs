//! The fuzzer's corpus, without the fuzzer.

#![expect(
    clippy::disallowed_methods,
    reason = "the corpus is a folder, and the engine is told the time"
)]

use std::{sync::Arc, time::Instant};

use rules::{
    Engine, Event, Limits, Line, NoParts, Pattern, RuleSet, Stream, parse_rules, parse_triggers,
};

#[test]
fn corpus_holds_what_the_fuzz_target_asserts() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/rules");
    let (mut inputs, mut hits) = (0, 0);
    for entry in std::fs::read_dir(corpus).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        inputs += 1;
        let end = input.iter().position(|octet| *octet == b'\n');
        let (pattern, text) = input.split_at(end.unwrap_or(0));
        let Ok(pattern) = std::str::from_utf8(pattern) else {
            continue;
        };
        if let Ok(text) = std::str::from_utf8(&input) {
            let _ = (parse_rules(text).is_ok(), parse_triggers(text).is_ok());
        }
        if let Ok(compiled) = Pattern::new(pattern) {
            let expected = compiled.find(text, 512).map(|found| found.span);
            assert_eq!(scan(pattern, text), expected, "{}", path.display());
            hits += usize::from(expected.is_some());
        }
    }
    assert!(inputs >= 22 && hits >= 14, "inputs are missing");
}

/// What the engine finds.
fn scan(pattern: &str, text: &[u8]) -> Option<std::ops::Range<usize>> {
    let escaped: String = pattern
        .chars()
        .map(|c| format!("\\U{:08X}", u32::from(c)))
        .collect();
    let file = format!("[[rule]]\nname = 'a'\npattern = \"{escaped}\"");
    let set = RuleSet::build([&*parse_rules(&file).expect("it compiles")]).set;
    let limits = Limits {
        max_line: 512,
        ..Limits::default()
    };
    let mut engine = Engine::new(Arc::new(set), limits);
    let line = Line {
        workload: "w/c",
        container: "w/c",
        stream: Stream::Stdout,
        text,
        parts: &NoParts,
    };
    let mut out = Vec::new();
    engine.scan(Instant::now(), &line, &mut out);
    match out.pop()? {
        Event::Hit(hit) => Some(hit.span),
        Event::Summary(_) => panic!("no summary"),
    }
}
