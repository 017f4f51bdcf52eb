//! `deliveries list`, `deliveries replay ID`, `trigger test NAME`. They work beside a running scanner and without one.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use service::{Failure, out};
use webhook::{Limits, Outcome, SystemResolver};

use super::config::Config;
use super::now_ms;
use super::queue::{Listed, Queue};
use super::sender::{Parcel, Sender};
use crate::args::TriggerTestArgs;
use crate::trigger::Directory;

/// Prints deliveries that wait or were given up.
///
/// # Errors
/// The queue cannot be read.
pub(crate) async fn list(state: &Path, dead: bool, json: bool) -> Result<(), Failure> {
    let Some(mut queue) = Queue::peek(state).await? else {
        return Ok(());
    };
    let mut out = out::Out::new();
    let mut after = 0;
    loop {
        let rows = queue
            .list(dead, after, PAGE)
            .await
            .context("read deliveries")?;
        for row in &rows {
            match json {
                true => out.json(row)?,
                false => out.line(line(row))?,
            }
        }
        match rows.last() {
            Some(row) if rows.len() == PAGE as usize => after = row.id,
            _ => return out.finish(),
        }
    }
}

fn line(row: &Listed) -> String {
    let when = match (&row.due, &row.done) {
        (Some(due), _) => format!("next attempt {due}"),
        (None, Some(done)) => format!("since {done}"),
        (None, None) => String::new(),
    };
    let folded = match row.truncated {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let error = row.error.as_deref().unwrap_or("not tried yet");
    format!(
        "{} {} {} event {}{folded}, {} attempts, {when}: {error}",
        row.id, row.state, row.trigger, row.event, row.attempts
    )
}

/// Queues a delivery again, with the id that it had.
///
/// # Errors
/// There is none of that id, or the queue cannot be written.
pub(crate) async fn replay(state: &Path, id: &str) -> Result<(), Failure> {
    let number: i64 = id
        .parse()
        .map_err(|_| Failure::Usage(format!("`{id}` is no delivery's number")))?;
    let missing = || anyhow::anyhow!("there is no delivery {number}");
    // Looked at first, so that a wrong directory gets no new file.
    Queue::peek(state).await?.ok_or_else(missing)?;
    let mut queue = Queue::open(state).await?.queue;
    let found = queue
        .replay(number, now_ms())
        .await
        .context("write the queue")?;
    if !found {
        return Err(missing().into());
    }
    out::line(format_args!("delivery {number} is queued again"))
}

/// Sends a test payload once and prints what came of it.
///
/// # Errors
/// There is no such trigger, or it was not delivered.
pub(crate) async fn test(
    config: &Config,
    triggers: &Path,
    args: &TriggerTestArgs,
) -> Result<(), Failure> {
    let name = &args.name;
    let missing = || anyhow::anyhow!("there is no trigger `{name}` in a file without mistakes");
    let value = test_value(config, triggers, name)
        .await?
        .ok_or_else(missing)?;
    if args.json {
        out::json(&value)?;
    } else {
        for key in ["ok", "status", "latency_ms", "resolved_ip", "error"] {
            let text = value[key].as_str().map(str::to_owned);
            let text = text.unwrap_or_else(|| value[key].to_string());
            out::line(format_args!("{key:<12}  {text}"))?;
        }
    }
    match value["ok"] == true {
        true => Ok(()),
        false => Err(anyhow::anyhow!("the test was not delivered").into()),
    }
}

/// The same for a page; `None` when there is no such trigger. A receiver's answer is not told: that would let whoever
/// may test triggers read from servers behind it.
///
/// # Errors
/// The operator's file of certificate authorities cannot be used.
pub(crate) async fn test_value(
    config: &Config,
    triggers: &Path,
    name: &str,
) -> anyhow::Result<Option<Value>> {
    let mut directory = Directory::new(triggers, config.policy.clone());
    let read = tokio::task::spawn_blocking(move || directory.read()).await?;
    let Some(trigger) = read.find(name) else {
        return Ok(None);
    };
    let limits = Limits {
        whole: TEST_TIME,
        ..Limits::default()
    };
    let sender = Sender::new(SystemResolver::default(), config, limits)?;
    let now = now_ms();
    let stamp = jiff::Timestamp::from_millisecond(now)
        .unwrap_or_default()
        .to_string();
    let event = format!("test-{now}");
    // The keys that every event has, and a rule's.
    let body = json!({
        "id": event, "ts": stamp, "observed_ts": stamp, "severity": "info", "source": "logscanner",
        "message": "This is a test of a trigger.", "workload_id": "worker/workload", "stream": "stdout",
        "rule_name": "test", "captures": {},
    });
    let parcel = Parcel {
        event,
        body: body.to_string(),
        truncated: 0,
        test: true,
    };
    let sent = sender.send(trigger, &parcel).await;
    let ok = sent.outcome == Outcome::Delivered;
    let status = sent
        .status
        .filter(|_| !ok)
        .map(|status| format!("answered {status}"));
    Ok(Some(json!({
        "ok": ok,
        "status": sent.status,
        "latency_ms": sent.elapsed.as_millis() as u64,
        "resolved_ip": sent.addr,
        "error": sent.error.or(status),
    })))
}

/// Rows read at a time.
const PAGE: u32 = 500;

/// All of a test: an operator waits for it.
const TEST_TIME: Duration = Duration::from_secs(10);
