//! A fact, its line, and what makes it a repeat.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};

use super::REPEAT_WINDOW;

/// One fact before it is written; `seq`, `at` and `prev` are the ledger's to fill.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// What kind of fact: `gap`, `opened`, …
    pub kind: String,
    /// The epoch (or container) it is about; `null` when unknown.
    pub epoch: Option<String>,
    /// Where it starts: a byte position, or a number that names it; `null` when unknown.
    pub base: Option<u64>,
    /// Its length in bytes; `null` when unknown.
    pub len: Option<u64>,
    /// BLAKE3 of the bytes it is about, hex; `null` when it is about none.
    pub blake3: Option<String>,
    /// Further fields, written after the fixed ones. The fixed names are not allowed here.
    pub more: Map<String, Value>,
}

/// The newest losses with the greatest length told, to recognise a repeat.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    told: HashMap<Loss, Option<u64>>,
    order: VecDeque<Loss>,
}

/// What names a fact that may be told twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Loss {
    kind: String,
    epoch: Option<String>,
    base: u64,
    path: Option<String>,
    /// Whose it is: an epoch's name may be anybody's choice.
    uid: Option<u64>,
}

impl Fact {
    /// Joins adjacent `gap` facts of one epoch that differ in nothing else.
    pub fn coalesce(facts: &mut Vec<Self>) {
        facts.dedup_by(|next, fact| {
            let end = fact
                .base
                .zip(fact.len)
                .and_then(|(base, len)| base.checked_add(len));
            let same =
                (&next.kind, &next.epoch, &next.more) == (&fact.kind, &fact.epoch, &fact.more);
            let joined = fact
                .len
                .zip(next.len)
                .and_then(|(len, more)| len.checked_add(more));
            let joins =
                fact.kind == "gap" && same && end.is_some() && end == next.base && joined.is_some();
            if joins {
                fact.len = joined;
            }
            joins
        });
    }

    /// Which rule the fact breaks.
    pub(super) fn fault(&self) -> Option<&'static str> {
        FIXED
            .iter()
            .any(|name| self.more.contains_key(*name))
            .then_some("a further field has a fixed name")
    }

    /// The line without LF. The fixed fields come first, in the order of `FIXED`.
    pub(super) fn line(&self, seq: u64, at: &str, prev: &str) -> Vec<u8> {
        let values: [Value; 8] = [
            seq.into(),
            at.into(),
            self.kind.as_str().into(),
            self.epoch.as_deref().into(),
            self.base.into(),
            self.len.into(),
            self.blake3.as_deref().into(),
            prev.into(),
        ];
        let mut line = String::from("{");
        for (name, value) in FIXED.into_iter().zip(&values) {
            line.push_str(&format!(
                "{}\"{name}\":{value}",
                if line.len() > 1 { "," } else { "" }
            ));
        }
        for (name, value) in &self.more {
            line.push_str(&format!(",{}:{value}", Value::from(name.as_str())));
        }
        line.push('}');
        line.into_bytes()
    }

    pub(super) fn takes_back(&self) -> Option<TakeBack> {
        let taken = self.kind == TAKES_BACK && self.more.contains_key(STANDS);
        self.epoch.clone().zip(self.base).filter(|_| taken)
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        let base = self.base.filter(|_| LOSSES.contains(&self.kind.as_str()))?;
        let path = self
            .more
            .get("path")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned);
        Some(Loss {
            kind: self.kind.clone(),
            epoch: self.epoch.clone(),
            base,
            path,
            uid: self.more.get(UID).and_then(Value::as_u64),
        })
    }
}

impl Losses {
    /// Takes a loss of `len` bytes. `false`: it was told before, and says no more now.
    pub(super) fn tell(&mut self, loss: Loss, len: Option<u64>) -> bool {
        if let Some(told) = self.told.get_mut(&loss) {
            let more = len > *told;
            *told = len.max(*told);
            return more;
        }
        if self.order.len() == REPEAT_WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
        self.order.push_back(loss.clone());
        self.told.insert(loss, len);
        true
    }
}

impl Losses {
    /// Forgets what a fact takes back, so that it can be told again.
    pub(super) fn take_back(&mut self, (epoch, base): TakeBack) {
        let stands = |loss: &Loss| loss.epoch.as_deref() != Some(&epoch) || loss.base < base;
        self.told.retain(|loss, _| stands(loss));
        self.order.retain(stands);
    }
}

/// The epoch and the position from which a fact takes back what was told before.
pub(super) type TakeBack = (String, u64);

/// What a line takes back.
pub(super) fn takes_back(line: &Value) -> Option<TakeBack> {
    line.get(STANDS)?;
    line.get("kind").filter(|kind| *kind == TAKES_BACK)?;
    let epoch = line.get("epoch")?.as_str()?.to_owned();
    Some((epoch, line.get("base")?.as_u64()?))
}

impl Loss {
    pub(super) fn of(line: &Value) -> Option<Self> {
        let text = |name| {
            line.get(name)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let kind = text("kind").filter(|kind| LOSSES.contains(&kind.as_str()))?;
        let base = line.get("base").and_then(Value::as_u64)?;
        Some(Self {
            kind,
            epoch: text("epoch"),
            base,
            path: text("path"),
            uid: line.get(UID).and_then(Value::as_u64),
        })
    }
}

/// The fields of every line, in order.
const FIXED: [&str; 8] = [
    "seq", "at", "kind", "epoch", "base", "len", "blake3", "prev",
];

/// The kind that takes back what was told of its epoch from its base on, if it says what segment stands.
const TAKES_BACK: &str = "recovery";
const STANDS: &str = "segment";
/// The further field that names a user.
const UID: &str = "uid";
/// Kinds that a recovery may tell again.
const LOSSES: [&str; 2] = ["gap", "uncertain"];
