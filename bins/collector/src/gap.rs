//! A gap on its way into the ledger: announced in the store together with the cursor that jumps over
//! it, written to the ledger, then struck off. Each gap stands in the ledger once.

use std::path::Path;

use anyhow::Context as _;
use offsets::{Entries, Fact, UNCERTAIN};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::source::Gap;

/// One gap as the ledger tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The container's full id.
    pub id: String,
    /// Its name.
    pub container: String,
    /// Counts the gaps of the container, from 1.
    pub number: u64,
    /// `stdout`, `stderr`, or none for both.
    pub stream: Option<String>,
    /// Octets missing in Docker's log, if known.
    pub bytes: Option<u64>,
    /// Messages missing, if they can be counted.
    #[serde(default)]
    pub lines: Option<u64>,
    /// The ledger's word for the cause.
    pub cause: String,
    /// Docker's stamp of the last line before it, in Unix nanoseconds.
    pub after_ns: Option<i64>,
    /// Docker's stamp of the first line after it, in Unix nanoseconds.
    pub before_ns: Option<i64>,
}

impl Notice {
    /// A reader's gap.
    #[must_use]
    pub fn of(gap: &Gap, id: &str, container: &str, number: u64) -> Notice {
        Notice {
            id: id.to_owned(),
            container: container.to_owned(),
            number,
            stream: gap.stream.map(|stream| stream.as_str().to_owned()),
            bytes: gap.bytes,
            lines: gap.lines,
            cause: gap.cause.as_str().to_owned(),
            after_ns: gap.from_ns,
            before_ns: gap.to_ns,
        }
    }

    /// The announcement's bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a notice has only string keys")
    }

    /// The ledger's line. Kind, epoch and base together name it, so that writing it again is harmless:
    /// the base is the gap's number, since a container's log has no byte positions that last.
    #[must_use]
    pub fn fact(&self) -> Fact {
        let mut more = Map::new();
        more.insert("container".to_owned(), json!(self.container));
        more.insert("stream".to_owned(), json!(self.stream));
        more.insert("cause".to_owned(), json!(self.cause));
        if let Some(lines) = self.lines {
            more.insert("lines".to_owned(), json!(lines));
        }
        more.insert("after".to_owned(), json!(self.after_ns.map(stamp)));
        more.insert("before".to_owned(), json!(self.before_ns.map(stamp)));
        Fact {
            kind: GAP.to_owned(),
            epoch: Some(self.id.clone()),
            base: Some(self.number),
            len: self.bytes,
            blake3: None,
            more,
        }
    }
}

/// The ledger's gaps in the shape of the `gaps` command; nothing when there is no ledger yet.
///
/// # Errors
/// A ledger that can't be read or is damaged.
pub fn list(ledger: &Path) -> anyhow::Result<Vec<Value>> {
    if !ledger.exists() {
        return Ok(Vec::new());
    }
    let entries = Entries::open(ledger).context("open the ledger")?;
    let mut gaps = Vec::new();
    for entry in entries {
        let entry = entry.context("read the ledger")?;
        let kind = entry["kind"].as_str();
        if kind == Some(GAP) || kind == Some(UNCERTAIN) {
            gaps.push(json!({
                "worker": null,
                "stream": entry["container"],
                "epoch": entry["epoch"],
                "from": null,
                "to": null,
                "bytes": entry["len"],
                "cause": entry["cause"],
                "at": entry["at"],
                "output": entry["stream"],
                "after": entry["after"],
                "before": entry["before"],
                "lines": entry["lines"],
            }));
        }
    }
    Ok(gaps)
}

/// One gap as a line for people.
#[must_use]
pub fn human(gap: &Value) -> String {
    let text = |key: &str| gap[key].as_str().unwrap_or("?").to_owned();
    let bytes = gap["bytes"]
        .as_u64()
        .map_or("? bytes".to_owned(), |bytes| format!("{bytes} bytes"));
    let (at, stream, cause) = (text("at"), text("stream"), text("cause"));
    format!(
        "{at} {stream}: {bytes} {cause}, after {} before {}",
        text("after"),
        text("before")
    )
}

fn stamp(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns))
        .map_or_else(|_| ns.to_string(), |at| at.to_string())
}

const GAP: &str = "gap";
