//! What is held back, what is let through, and that it adds up.

mod state;
mod swap;

use std::time::Instant;

use super::*;
use crate::{NoParts, Parts, RuleSet, Stream, parse_rules};

const SECOND: Duration = Duration::from_secs(1);

/// An engine with its clock and what came out of it.
struct Bench {
    engine: Engine,
    now: Instant,
    out: Vec<Event>,
}

fn set(text: &str) -> Arc<RuleSet> {
    let built = RuleSet::build([&*parse_rules(text).unwrap()]);
    assert_eq!(built.problems, []);
    Arc::new(built.set)
}

impl Bench {
    fn new(text: &str) -> Self {
        Self::with(text, Limits::default())
    }

    fn with(text: &str, limits: Limits) -> Self {
        Self {
            engine: Engine::new(set(text), limits),
            now: Instant::now(),
            out: Vec::new(),
        }
    }

    fn after(&mut self, span: Duration) -> &mut Self {
        self.now += span;
        self
    }

    /// Scans a line of a container and gives its hits: rule, and what the cooldown and the bucket held back before.
    fn line(&mut self, container: &str, text: &str) -> Vec<(String, u64, u64)> {
        let workload = container.split('#').next().unwrap();
        self.scan(&Line {
            workload,
            container,
            stream: Stream::Stdout,
            text: text.as_bytes(),
            parts: &NoParts,
        })
    }

    fn scan(&mut self, line: &Line<'_>) -> Vec<(String, u64, u64)> {
        let before = self.out.len();
        self.engine.scan(self.now, line, &mut self.out);
        let events = self.out[before..].iter();
        events
            .filter_map(|event| match event {
                Event::Hit(hit) => {
                    Some((hit.rule.id(), hit.suppressed_cooldown, hit.suppressed_rate))
                }
                Event::Summary(_) => None,
            })
            .collect()
    }

    /// The summaries that are due, as rule, container, held back by cooldown and by rate.
    fn summaries(&mut self) -> Vec<(String, String, u64, u64)> {
        let before = self.out.len();
        self.engine.handle_timeout(self.now, &mut self.out);
        told(&self.out[before..])
    }

    fn books_balance(&self) {
        let stats = self.engine.stats();
        assert_eq!(
            stats.matched,
            stats.emitted + stats.dropped_cooldown + stats.dropped_rate
        );
        let (mut cooldown, mut rate, mut hits) = (0, 0, 0);
        for event in &self.out {
            match event {
                Event::Hit(hit) => {
                    hits += 1;
                    cooldown += hit.suppressed_cooldown;
                    rate += hit.suppressed_rate;
                }
                Event::Summary(summary) => {
                    cooldown += summary.suppressed_cooldown;
                    rate += summary.suppressed_rate;
                }
            }
        }
        assert_eq!(
            (cooldown, rate, hits),
            (stats.dropped_cooldown, stats.dropped_rate, stats.emitted)
        );
    }
}

fn told(events: &[Event]) -> Vec<(String, String, u64, u64)> {
    let summaries = events.iter().filter_map(|event| match event {
        Event::Summary(summary) => Some((
            summary.rule_id.clone(),
            summary.container.to_string(),
            summary.suppressed_cooldown,
            summary.suppressed_rate,
        )),
        Event::Hit(_) => None,
    });
    summaries.collect()
}

fn hit(rule: &str, cooldown: u64, rate: u64) -> (String, u64, u64) {
    (rule.to_owned(), cooldown, rate)
}

const ONE: &str = "[[rule]]\nname = 'a'\npattern = 'x+'";

#[test]
fn a_hit_within_the_cooldown_is_held_back_and_at_its_end_fires() {
    let mut bench = Bench::new(ONE);
    assert_eq!(bench.line("w/a", "x"), [hit("a", 0, 0)]);
    assert_eq!(
        bench
            .after(60 * SECOND - Duration::from_nanos(1))
            .line("w/a", "x"),
        []
    );
    assert_eq!(
        bench.line("w/b", "x"),
        [hit("a", 0, 0)],
        "each container has its own"
    );
    assert_eq!(
        bench.after(Duration::from_nanos(1)).line("w/a", "x"),
        [hit("a", 1, 0)]
    );
    assert_eq!(bench.engine.stats().dropped_cooldown, 1);
    bench.books_balance();
}

#[test]
fn a_cooldown_of_zero_is_none() {
    let mut bench = Bench::new(&format!("{ONE}\ncooldown = 0"));
    for _ in 0..20 {
        assert_eq!(bench.line("w/a", "x"), [hit("a", 0, 0)]);
    }
    assert_eq!(bench.engine.poll_timeout(), None);
}

#[test]
fn the_bucket_lets_twenty_pass_and_one_more_each_three_seconds() {
    let mut bench = Bench::new(&format!("{ONE}\ncooldown = '0s'"));
    let count = |bench: &mut Bench| {
        (0..50)
            .filter(|_| !bench.line("w/a", "x").is_empty())
            .count()
    };
    assert_eq!(count(&mut bench), 20);
    assert_eq!(bench.engine.stats().dropped_rate, 30);
    assert_eq!(
        bench.line("w/b", "x").len(),
        1,
        "each container has its own"
    );
    assert_eq!(bench.after(3 * SECOND).line("w/a", "x"), [hit("a", 0, 30)]);
    assert_eq!(bench.line("w/a", "x"), []);
    assert_eq!(count(bench.after(60 * SECOND)), 20);
    bench.after(120 * SECOND).summaries();
    bench.books_balance();
}

#[test]
fn a_hit_refused_by_the_bucket_starts_no_cooldown_and_one_in_a_cooldown_costs_no_token() {
    let limits = Limits {
        burst: 1,
        ..Limits::default()
    };
    let mut bench = Bench::with(
        "[[rule]]\nname = 'a'\npattern = 'x'\n[[rule]]\nname = 'b'\npattern = 'y'",
        limits,
    );
    assert_eq!(bench.line("w/a", "x").len(), 1);
    assert_eq!(bench.line("w/a", "y"), []);
    // Had it started its cooldown, b would be silent for a minute without ever having fired.
    assert_eq!(bench.after(3 * SECOND).line("w/a", "y"), [hit("b", 0, 1)]);
    // The bucket is full again; a's cooldown still runs and must leave the token to others.
    bench.after(3 * SECOND);
    assert_eq!(bench.line("w/a", "x"), []);
    assert_eq!(bench.engine.stats().dropped_cooldown, 1);
    assert_eq!(bench.after(54 * SECOND).line("w/a", "x"), [hit("a", 1, 0)]);
    bench.books_balance();
}

#[test]
fn several_rules_hit_one_line_in_order_until_one_stops() {
    let rules = "[[rule]]\nname = 'c'\npattern = 'x'\n[[rule]]\nname = 'b'\npattern = 'xy'\nstop = true\n\
                 [[rule]]\nname = 'a'\npattern = 'y'";
    let mut bench = Bench::new(rules);
    assert_eq!(bench.line("w/a", "xy"), [hit("c", 0, 0), hit("b", 0, 0)]);
    // Stopping is a matter of matching, not of firing.
    assert_eq!(bench.line("w/a", "xy"), []);
    assert_eq!(bench.line("w/a", "y"), [hit("a", 0, 0)]);
}

#[test]
fn streams_and_parts_are_what_rules_say() {
    struct Message;
    impl Parts for Message {
        fn msg(&self) -> Option<&[u8]> {
            Some(b"said")
        }
        fn field(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            (name == "user").then_some(Cow::Borrowed(b"root"))
        }
    }
    let mut bench = Bench::new(
        "[[rule]]\nname = 'out'\npattern = 'x'\nstream = 'stdout'\n[[rule]]\nname = 'err'\npattern = 'x'\nstream = 'stderr'\n\
         [[rule]]\nname = 'msg'\npattern = '^said$'\non = 'msg'\n[[rule]]\nname = 'user'\npattern = '^ro+t$'\non = 'field:user'\n\
         [[rule]]\nname = 'none'\npattern = '.'\non = 'field:other'",
    );
    let mut line = Line {
        workload: "w/a",
        container: "w/a",
        stream: Stream::Stderr,
        text: b"x",
        parts: &Message,
    };
    assert_eq!(
        bench.scan(&line),
        [hit("err", 0, 0), hit("msg", 0, 0), hit("user", 0, 0)]
    );
    line.stream = Stream::Stdout;
    line.parts = &NoParts;
    assert_eq!(bench.scan(&line), [hit("out", 0, 0)]);
}

#[test]
fn cooldown_scopes_share_what_they_say() {
    let rule =
        |scope: &str| format!("{ONE} (?P<v>.)'\ncooldown_scope = '{scope}'").replace("'x+'", "'x+");
    for (scope, fires) in [
        ("container", [true, true, true, false]),
        ("workload", [true, false, true, false]),
        ("rule", [true, false, false, false]),
        ("capture:v", [true, true, true, true]),
    ] {
        let mut bench = Bench::new(&rule(scope));
        let lines = [
            ("w/a#1", "x 1"),
            ("w/a#2", "x 1"),
            ("w/b#3", "x 1"),
            ("w/a#1", "x 2"),
        ];
        let fired = lines.map(|(container, text)| !bench.line(container, text).is_empty());
        assert_eq!(fired, fires, "{scope}");
    }
}

#[test]
fn a_key_that_goes_quiet_is_told_in_one_summary() {
    let mut bench = Bench::new(ONE);
    bench.line("w/a", "x");
    bench.after(30 * SECOND).line("w/a", "x");
    bench.after(20 * SECOND).line("w/a", "x");
    // A minute after the last hit, not after the event.
    assert_eq!(bench.after(59 * SECOND).summaries(), []);
    assert_eq!(bench.engine.poll_timeout(), Some(bench.now + SECOND));
    assert_eq!(
        bench.after(SECOND).summaries(),
        [("a".into(), "w/a".into(), 2, 0)]
    );
    assert_eq!(
        (bench.summaries(), bench.engine.poll_timeout()),
        (vec![], None)
    );
    bench.books_balance();
}

#[test]
fn what_the_bucket_held_back_is_told_as_well() {
    let limits = Limits {
        burst: 1,
        ..Limits::default()
    };
    let mut bench = Bench::with(&format!("{ONE}\ncooldown = '1s'"), limits);
    bench.line("w/a", "x");
    bench.line("w/a", "x");
    assert_eq!(bench.after(59 * SECOND).summaries(), []);
    assert_eq!(
        bench.after(SECOND).summaries(),
        [("a".into(), "w/a".into(), 0, 1)]
    );
    bench.books_balance();
}

#[test]
fn summaries_say_which_value_they_are_of() {
    let mut bench =
        Bench::new("[[rule]]\nname = 'a'\npattern = 'x(?P<v>.)'\ncooldown_scope = 'capture:v'");
    bench.line("w/a", "x1");
    bench.line("w/a", "x1");
    bench.after(61 * SECOND).summaries();
    let Some(Event::Summary(summary)) = bench.out.last() else {
        panic!("a summary");
    };
    assert_eq!(summary.capture.as_deref(), Some("1"));
    assert_eq!(
        summary.rule.as_ref().map(|rule| rule.name.as_str()),
        Some("a")
    );
}

#[test]
fn full_tables_forget_what_ends_first_and_tell_what_it_held_back() {
    let limits = Limits {
        max_keys: 3,
        max_containers: 2,
        burst: 2,
        ..Limits::default()
    };
    let mut bench = Bench::with(ONE, limits);
    for (second, container) in ["w/a", "w/a", "w/b", "w/c", "w/d"].iter().enumerate() {
        bench
            .after(Duration::from_millis(second as u64))
            .line(container, "x");
    }
    assert_eq!(told(&bench.out), [("a".into(), "w/a".into(), 1, 0)]);
    let stats = *bench.engine.stats();
    assert_eq!((stats.evicted_keys, stats.evicted_buckets), (1, 2));
    bench.after(200 * SECOND).summaries();
    bench.books_balance();
    // A full bucket needs no room, so forgetting it is no loss.
    bench.line("w/e", "x");
    bench.after(200 * SECOND).line("w/f", "x");
    assert_eq!(bench.engine.stats().evicted_buckets, 2);
}

#[test]
fn tables_stay_within_their_limits() {
    let limits = Limits {
        max_keys: 50,
        max_containers: 20,
        ..Limits::default()
    };
    let mut bench = Bench::with(
        "[[rule]]\nname = 'a'\npattern = 'x(?P<v>.*)'\ncooldown_scope = 'capture:v'",
        limits,
    );
    for at in 0..5_000_u64 {
        bench
            .after(Duration::from_millis(700))
            .line(&format!("w/c{}", at % 100), &format!("x{at}"));
    }
    let sizes = bench.engine.sizes();
    assert!(sizes.0 <= 50 && sizes.1 <= 20, "{sizes:?}");
    bench.after(500 * SECOND).summaries();
    bench.books_balance();
}

#[test]
fn counts_are_exact_whoever_calls() {
    let bench = std::sync::Mutex::new(Bench::new(&format!("{ONE}\ncooldown = 0")));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                for _ in 0..500 {
                    bench
                        .lock()
                        .unwrap()
                        .line(&format!("w/{}", thread % 4), "axb");
                }
            });
        }
    });
    let bench = bench.into_inner().unwrap();
    let stats = bench.engine.stats();
    assert_eq!(
        (stats.lines, stats.bytes, stats.matched),
        (4000, 12_000, 4000)
    );
    assert_eq!((stats.emitted, stats.dropped_rate), (80, 3920));
    let (_, of_rule) = bench.engine.rule_stats().next().unwrap();
    assert_eq!(
        (of_rule.matched, of_rule.emitted, of_rule.dropped_rate),
        (4000, 80, 3920)
    );
}

#[test]
fn a_long_line_costs_what_the_limit_costs() {
    let patterns = [
        r"(x+x+)+y",
        r"(?:a|b|ab)*c\d",
        r".*.*.*=.*z",
        r"[^q]{0,900}\w{0,90}!$",
    ];
    let rows = patterns.iter().enumerate();
    let text: String = rows
        .map(|(at, pattern)| format!("[[rule]]\nname = 'r{at}'\npattern = '''{pattern}'''\n"))
        .collect();
    let mut bench = Bench::new(&text);
    for length in [1 << 10, 1 << 20] {
        let before = *bench.engine.stats();
        let line = "xab=".repeat(length / 4);
        bench.line("w/a", &line);
        let stats = bench.engine.stats();
        let most = (patterns.len() * length.min(64 << 10)) as u64;
        assert!(stats.searched_bytes - before.searched_bytes <= most);
        assert_eq!(
            stats.oversized - before.oversized,
            u64::from(length > 64 << 10)
        );
    }
}

#[test]
fn what_is_behind_the_limit_is_not_looked_at() {
    let limits = Limits {
        max_line: 8,
        ..Limits::default()
    };
    let mut bench = Bench::with(&format!("{ONE}$'").replace("'x+'", "'x+"), limits);
    assert_eq!(
        bench.line("w/a", "-------xx"),
        [],
        "the line does not end where the limit is"
    );
    assert_eq!(bench.line("w/a", "--------x"), []);
    assert_eq!(bench.line("w/a", "-------x").len(), 1);
}
