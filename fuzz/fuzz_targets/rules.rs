//! A pattern, a line feed, and a line: the engine finds what the pattern finds. All of it is also read as both files.
#![no_main]
use rules::{Engine, Event, Limits, Line, NoParts, Pattern, RuleSet, Stream, parse_rules, parse_triggers};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (pattern, text) = input.split_at(input.iter().position(|octet| *octet == b'\n').unwrap_or(0));
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let _ = std::str::from_utf8(input).map(|text| (parse_rules(text).is_ok(), parse_triggers(text).is_ok()));
    let Ok(compiled) = Pattern::new(pattern) else { return };
    let escaped: String = pattern.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
    let set = RuleSet::build([&*parse_rules(&format!("[[rule]]\nname = 'a'\npattern = \"{escaped}\"")).expect("compiled")]).set;
    let mut engine = Engine::new(set.into(), Limits { max_line: 512, ..Limits::default() });
    let (line, mut out) = (Line { workload: "w/c", container: "w/c", stream: Stream::Stdout, text, parts: &NoParts }, Vec::new());
    engine.scan(std::time::Instant::now(), &line, &mut out);
    let found = out.first().map(|event| match event { Event::Hit(hit) => hit.span.clone(), Event::Summary(_) => unreachable!() });
    assert_eq!(found, compiled.find(text, 512).map(|found| found.span), "{pattern:?} on {}", text.escape_ascii());
});
