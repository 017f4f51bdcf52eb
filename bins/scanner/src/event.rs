//! Events: what is written down of a hit, and what goes out to webhooks.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use rules::{Hit, Summary};
use serde::Serialize;

use crate::line::Line;
use crate::store::NewEvent;

/// Where a line stands in the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whence<'a> {
    /// The worker, by its certificate; of a log file: this host.
    pub(crate) worker: &'a str,
    /// Its stream.
    pub(crate) stream: &'a str,
    /// The epoch.
    pub(crate) epoch: &'a str,
    /// The offset of the line's first octet.
    pub(crate) offset: u64,
}

/// An event as it is shown. What has no value is left out.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    id: String,
    ts: &'a str,
    observed_ts: &'a str,
    severity: &'static str,
    source: &'static str,
    message: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    workload_id: &'a str,
    worker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    container_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    rule_id: &'a str,
    rule_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    captures: BTreeMap<&'a str, &'a str>,
    suppressed_cooldown: u64,
    suppressed_rate: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    summary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_offset: Option<u64>,
}

/// A moment, in the forms in which events have it.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Unix milliseconds.
    pub(crate) ms: i64,
    /// RFC 3339, UTC, milliseconds.
    pub(crate) text: String,
}

impl Moment {
    /// By this host's clock.
    pub(crate) fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// Any moment.
    pub(crate) fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let stamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Self {
            ms,
            text: format!("{stamp:.3}"),
        }
    }
}

/// The event of a hit.
pub(crate) fn of_hit(hit: &Hit, line: &Line<'_>, whence: Whence<'_>, now: &Moment) -> NewEvent {
    let (message, truncated) = rules::message(line.text);
    let id = hit.rule.id();
    let captures = hit.captures.iter();
    finish(
        Event {
            id: ulid(now.ms),
            ts: line.ts.unwrap_or(&now.text),
            observed_ts: &now.text,
            severity: hit.rule.severity.name(),
            source: SOURCE,
            message,
            truncated,
            workload_id: line.workload,
            worker: whence.worker,
            container_id: line.id,
            container_name: line.name(),
            stream: Some(line.stream.name()),
            rule_id: &id,
            rule_name: &hit.rule.name,
            origin: Some(hit.origin.name()),
            labels: labels(&hit.rule),
            captures: captures.map(|found| (&*found.name, &*found.text)).collect(),
            suppressed_cooldown: hit.suppressed_cooldown,
            suppressed_rate: hit.suppressed_rate,
            summary: false,
            source_stream: Some(whence.stream),
            source_epoch: Some(whence.epoch),
            source_offset: Some(whence.offset),
        },
        now,
    )
}

/// The event that tells what was held back of a key that went quiet.
pub(crate) fn of_summary(summary: &Summary, now: &Moment) -> NewEvent {
    let rule = summary.rule.as_deref();
    let name = rule.map_or(summary.rule_id.as_str(), |rule| &rule.name);
    let (worker, container) = summary.workload.split_once('/').unwrap_or(("", ""));
    let held = summary
        .suppressed_cooldown
        .saturating_add(summary.suppressed_rate);
    let id = summary.container.split_once('/').map(|(_, id)| id);
    finish(
        Event {
            id: ulid(now.ms),
            ts: &now.text,
            observed_ts: &now.text,
            severity: rule.map_or("info", |rule| rule.severity.name()),
            source: SOURCE,
            message: format!("{name}: {held} more hits were held back"),
            truncated: false,
            workload_id: &summary.workload,
            worker,
            container_id: id.filter(|id| *id != container),
            container_name: container,
            stream: None,
            rule_id: &summary.rule_id,
            rule_name: name,
            origin: None,
            labels: rule.map(labels).unwrap_or_default(),
            captures: summary
                .capture
                .iter()
                .map(|text| ("key", text.as_str()))
                .collect(),
            suppressed_cooldown: summary.suppressed_cooldown,
            suppressed_rate: summary.suppressed_rate,
            summary: true,
            source_stream: None,
            source_epoch: None,
            source_offset: None,
        },
        now,
    )
}

fn labels(rule: &rules::Rule) -> BTreeMap<&str, &str> {
    rule.labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn finish(event: Event<'_>, now: &Moment) -> NewEvent {
    // A structure of texts and numbers always has a form in JSON.
    let body = serde_json::to_string(&event).unwrap_or_default();
    NewEvent {
        at_ms: now.ms,
        ts: event.ts.to_owned(),
        severity: event.severity,
        rule: event.rule_id.to_owned(),
        workload: event.workload_id.to_owned(),
        message: event.message,
        id: event.id,
        body,
    }
}

/// 48 bits of time and 80 random ones in Crockford's base 32: sorts by time, and needs nobody's counting.
fn ulid(ms: i64) -> String {
    let mut random = [0; 16];
    rand::rng().fill_bytes(&mut random);
    let bits = (u128::from(ms.unsigned_abs()) << 80) | (u128::from_be_bytes(random) >> 48);
    let digit = |n: u32| char::from(BASE32[(bits >> (5 * n)) as usize & 31]);
    (0..26).rev().map(digit).collect()
}

const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The source of all events that this program makes.
const SOURCE: &str = "logscanner";
