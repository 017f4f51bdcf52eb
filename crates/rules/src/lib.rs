//! Scan rules and trigger filters: which lines are hits, which hits become events, and whom an event is for.
//!
//! Pure: text, lines and time come in as arguments; nothing is opened, waited for or started. Files are *parsed*
//! ([`parse_rules`], [`parse_triggers`]), put together ([`RuleSet::build`], or [`Catalog`], which keeps the last good
//! rows of a file that went bad), and matched by an [`Engine`], which is *timed state*: every call is told the time.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use rules::{Engine, Event, Limits, Line, NoParts, RuleSet, Stream, parse_rules};
//!
//! let file = parse_rules(
//!     r#"
//!     [[rule]]
//!     name = "failed-password"
//!     pattern = 'Failed password for (?P<user>\S+)'
//!     "#,
//! )
//! .expect("right");
//! let set = RuleSet::build([&*file]).set;
//! # #[expect(clippy::disallowed_methods, reason = "an example")]
//! let now = Instant::now();
//! let mut engine = Engine::new(Arc::new(set), Limits::default());
//! let line = Line {
//!     workload: "w1/gate",
//!     container: "w1/0123456789ab",
//!     stream: Stream::Stdout,
//!     text: b"Failed password for root from 203.0.113.44 port 42772 ssh2",
//!     parts: &NoParts,
//! };
//! let mut events = Vec::new();
//! engine.scan(now, &line, &mut events);
//! engine.scan(now, &line, &mut events);
//! let [Event::Hit(hit)] = &*events else { panic!("the second is within the cooldown") };
//! assert_eq!(hit.captures[0].text, "root");
//! assert_eq!(engine.stats().dropped_cooldown, 1);
//! ```

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "a test may pick an epoch")
)]

mod document;
mod problem;

mod excerpt;
mod line;
mod pattern;
mod rule;

mod filter;
mod trigger;

mod catalog;
mod set;

mod index;
mod literals;
mod matcher;

mod engine;

pub use catalog::{Catalog, Update};
pub use document::{MAX_FILE, MAX_ROWS};
pub use engine::{Changes, Engine, Event, Hit, Limits, RuleStats, StateRow, Stats, Summary};
pub use excerpt::{MAX_MESSAGE, excerpt, message};
pub use filter::{Filter, MAX_CACHED, PatternCache, Verdict};
pub use line::{Line, NoParts, Parts, Stream};
pub use pattern::{
    Capture, Found, MAX_CAPTURE, MAX_CAPTURES, MAX_COMPILED, MAX_NESTING, MAX_PATTERN,
    MAX_REPETITION, Pattern, PatternError,
};
pub use problem::Problem;
pub use rule::{
    CooldownScope, DEFAULT_COOLDOWN, MAX_COOLDOWN, MAX_LABELS, MAX_NAME, Rule, Severity, Subject,
    parse_rules,
};
pub use set::{Built, MAX_RULES, MAX_SET, MAX_SUBJECTS, Origin, RuleSet};
pub use trigger::{DEFAULT_RATE, Format, MAX_GROUP_WAIT, Trigger, check_triggers, parse_triggers};
