//! What an engine knows, in rows that can be stored and put back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Engine, Event, QUIET,
    keys::{Entry, Kind, Known},
};
use crate::{CooldownScope, Rule, Stream, Subject};

/// One row of stored state. Both parts are the engine's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// What the row is about.
    pub key: Vec<u8>,
    /// What is known; `None`: nothing any more, the row is to be deleted.
    pub value: Option<Vec<u8>>,
}

/// What has to be stored so that an engine can go on from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Whether the rows are everything: what is stored besides them is to be deleted first.
    pub all: bool,
    /// Rows to write or delete, in this order.
    pub rows: Vec<StateRow>,
}

/// The form of stored values. Rows of another form are passed over.
const FORM: u8 = 1;

impl Engine {
    /// What changed since this was asked last; the first time, everything. `wall_ms` is the time of day at `now`, in
    /// milliseconds since 1970.
    pub fn changes(&mut self, now: Instant, wall_ms: u64) -> Changes {
        let clock = Clock { now, wall_ms };
        let all = self.keys.wants_all() || self.buckets.wants_all();
        let (changed, gone) = self.keys.changes(all);
        let buckets = self.buckets.changes(all);
        let mut rows = Vec::with_capacity(changed.len() + gone.len() + buckets.changed.len());
        rows.extend(gone.iter().map(|entry| StateRow {
            key: entry_key(entry),
            value: None,
        }));
        rows.extend(changed.iter().map(|entry| StateRow {
            key: entry_key(entry),
            value: Some(entry_value(entry, &clock)),
        }));
        rows.extend(buckets.gone.iter().map(|container| StateRow {
            key: bucket_key(container),
            value: None,
        }));
        rows.extend(buckets.changed.iter().map(|(container, full_at)| StateRow {
            key: bucket_key(container),
            value: Some([&[FORM][..], &clock.wall(*full_at).to_le_bytes()].concat()),
        }));
        Changes { all, rows }
    }

    /// Puts stored rows back, before the first line. What rules that are gone or changed meanwhile had held back is told
    /// in summaries. A time of day that was put back makes no cooldown longer than its rule says.
    pub fn restore<'r>(
        &mut self,
        now: Instant,
        wall_ms: u64,
        rows: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
        out: &mut Vec<Event>,
    ) {
        let clock = Clock { now, wall_ms };
        for (key, value) in rows {
            match key.split_first() {
                Some((b'b', container)) => {
                    let _ = self.restore_bucket(&clock, container, value);
                }
                Some((kind @ (b'c' | b'r'), key)) => {
                    let kind = match kind {
                        b'c' => Kind::Cooldown,
                        _ => Kind::Rate,
                    };
                    let Some((entry, same)) = self.stored(&clock, kind, key, value) else {
                        continue;
                    };
                    if same {
                        let lost = self.keys.restore(&entry);
                        self.evicted(lost, out);
                    } else {
                        self.tell(entry, out);
                    }
                }
                _ => {}
            }
        }
    }

    fn restore_bucket(&mut self, clock: &Clock, container: &[u8], value: &[u8]) -> Option<()> {
        let mut value = Reader(value);
        let full_at = (value.octet()? == FORM).then(|| value.number())??;
        let full_at = clock.instant(full_at, self.buckets.longest());
        let container = std::str::from_utf8(container).ok()?;
        (full_at > clock.now).then(|| self.buckets.restore(clock.now, container, full_at))
    }

    /// Reads a row; also tells whether its rule is still what it was.
    fn stored(&self, clock: &Clock, kind: Kind, key: &[u8], value: &[u8]) -> Option<(Entry, bool)> {
        let end = key.iter().position(|octet| *octet == 0)?;
        let id = std::str::from_utf8(&key[..end]).ok()?;
        let scope = &key[end + 1..];
        let mut value = Reader(value);
        if value.octet()? != FORM {
            return None;
        }
        let fingerprint = value.number()?;
        let (until, last, suppressed) = (value.number()?, value.number()?, value.number()?);
        let (workload, container) = (value.text()?, value.text()?);
        let known = self.rules.iter().find(|state| state.known.id == id);
        let same = known.filter(|state| state.known.fingerprint == fingerprint);
        let rule = known.and_then(|state| state.known.rule.clone());
        let cooldown = rule.as_ref().map_or(Duration::ZERO, |rule| rule.cooldown);
        let quiet = match kind {
            Kind::Cooldown => cooldown,
            Kind::Rate => cooldown.max(QUIET),
        };
        let entry = Entry::stored(
            kind,
            same.map_or_else(
                || {
                    Arc::new(Known {
                        uid: 0,
                        id: id.to_owned(),
                        fingerprint,
                        rule,
                    })
                },
                |state| Arc::clone(&state.known),
            ),
            scope.into(),
            [workload.into(), container.into()],
            [clock.instant(until, cooldown), clock.past(last, quiet)],
            quiet,
            suppressed,
        );
        Some((entry, same.is_some()))
    }
}

/// What the keys of a rule depend on: if this changes they mean nothing any more. The same in every version, as it is
/// stored.
pub(super) fn fingerprint(rule: &Rule) -> u64 {
    let stream = rule.stream.map_or("any", Stream::name);
    let on = match &rule.on {
        Subject::Line => "line",
        Subject::Msg => "msg",
        Subject::Field(name) => name,
    };
    let on_field = matches!(rule.on, Subject::Field(_));
    let (scope, group) = match &rule.cooldown_scope {
        CooldownScope::Container => ("container", ""),
        CooldownScope::Workload => ("workload", ""),
        CooldownScope::Rule => ("rule", ""),
        CooldownScope::Capture(group) => ("capture", group.as_str()),
    };
    let pattern = rule.pattern.as_ref().map_or("", |pattern| pattern.text());
    let parts: [&[u8]; 7] = [
        pattern.as_bytes(),
        stream.as_bytes(),
        on.as_bytes(),
        &[u8::from(on_field)],
        &rule.cooldown.as_nanos().to_le_bytes(),
        scope.as_bytes(),
        group.as_bytes(),
    ];
    // FNV-1a: nobody gains by a collision but the operator who writes the rules.
    let octets = parts.iter().flat_map(|part| part.iter().chain(&[0xff]));
    octets.fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn entry_key(entry: &Entry) -> Vec<u8> {
    let kind = match entry.kind {
        Kind::Cooldown => b"c",
        Kind::Rate => b"r",
    };
    [kind, entry.rule.id.as_bytes(), b"\0", &entry.scope].concat()
}

fn entry_value(entry: &Entry, clock: &Clock) -> Vec<u8> {
    let mut value = vec![FORM];
    for number in [
        entry.rule.fingerprint,
        clock.wall(entry.until),
        clock.wall(entry.last),
        entry.suppressed,
    ] {
        value.extend(number.to_le_bytes());
    }
    for text in [&entry.workload, &entry.container] {
        value.extend((text.len() as u64).to_le_bytes());
        value.extend(text.as_bytes());
    }
    value
}

fn bucket_key(container: &str) -> Vec<u8> {
    [b"b", container.as_bytes()].concat()
}

/// One point in time on both clocks.
struct Clock {
    now: Instant,
    wall_ms: u64,
}

impl Clock {
    fn wall(&self, at: Instant) -> u64 {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.now) {
            // Rounded up, so that nothing ends early.
            Some(ahead) => {
                let up = u64::from(ahead.subsec_nanos() % 1_000_000 != 0);
                self.wall_ms.saturating_add(ms(ahead)).saturating_add(up)
            }
            None => self.wall_ms.saturating_sub(ms(self.now - at)),
        }
    }

    /// A point ahead, by at most `most`.
    fn instant(&self, wall_ms: u64, most: Duration) -> Instant {
        let ahead = Duration::from_millis(wall_ms.saturating_sub(self.wall_ms)).min(most);
        self.now.checked_add(ahead).unwrap_or(self.now)
    }

    /// A point in the past, by at most `most`: what is older makes no difference.
    fn past(&self, wall_ms: u64, most: Duration) -> Instant {
        let ago = Duration::from_millis(self.wall_ms.saturating_sub(wall_ms)).min(most);
        self.now.checked_sub(ago).unwrap_or(self.now)
    }
}

/// Reads a value's parts; `None`: it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}
