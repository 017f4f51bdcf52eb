//! The `gaps` command: what the ledger knows to be missing.

use std::path::Path;

use anyhow::Context as _;
use offsets::{Entries, UNCERTAIN};
use serde_json::{Value, json};

/// The ledger's gaps in the shape of the `gaps` command; nothing when there is no ledger yet.
///
/// # Errors
/// A ledger that can't be read or is damaged.
pub(crate) fn list(ledger: &Path, stream: &str) -> anyhow::Result<Vec<Value>> {
    if !ledger.exists() {
        return Ok(Vec::new());
    }
    let mut gaps = Vec::new();
    for entry in Entries::open(ledger).context("open the ledger")? {
        let entry = entry.context("read the ledger")?;
        if !matches!(entry["kind"].as_str(), Some("gap" | UNCERTAIN)) {
            continue;
        }
        // A batch's number, which an uncertain one has in its place, is no sequence number.
        let numbered = entry["kind"] == "gap";
        let from = entry["base"].as_u64().filter(|_| numbered);
        let to = from.zip(entry["records"].as_u64());
        gaps.push(json!({
            "worker": null,
            "stream": stream,
            "epoch": entry["epoch"],
            "from": from,
            "to": to.map(|(from, records)| from + records),
            "bytes": entry["len"],
            "cause": entry["cause"],
            "at": entry["at"],
            "records": entry.get("records").or(entry.get("lines")),
            "uid": entry["uid"],
        }));
    }
    Ok(gaps)
}

/// One gap as a line for people.
pub(crate) fn human(gap: &Value) -> String {
    let text = |key: &str| gap[key].as_str().unwrap_or("-").to_owned();
    let mut line = format!("{} {}: {}", text("at"), text("stream"), text("cause"));
    if let Some(records) = gap["records"].as_u64() {
        line += &format!(", {records} records");
    }
    if let Some(bytes) = gap["bytes"].as_u64() {
        line += &format!(", {bytes} bytes");
    }
    if let Some(session) = gap["epoch"].as_str() {
        line += &format!(", session {session}");
    }
    if let (Some(from), Some(to)) = (gap["from"].as_u64(), gap["to"].as_u64()) {
        line += &format!(" from {from} up to {to}");
    }
    if let Some(uid) = gap["uid"].as_u64() {
        line += &format!(", user {uid}");
    }
    line
}
