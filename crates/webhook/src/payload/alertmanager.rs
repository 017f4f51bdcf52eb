//! Alertmanager's webhook body, version "4": one alert, always firing, with the event's identifying keys as labels.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Notice, hex, json, text};

type Labels = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: &'a Labels,
    common_labels: &'a Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: [Alert<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: Labels,
    starts_at: &'a str,
    ends_at: &'static str,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

pub(super) fn write(notice: &Notice<'_>, event: &Map<String, Value>) -> Vec<u8> {
    let labels = labels(notice, event);
    let group_labels = Labels::from_iter([("alertname".to_owned(), labels["alertname"].clone())]);
    let body = Body {
        version: "4",
        group_key: format!(
            "{{}}/{{trigger={:?}}}:{{alertname={:?}}}",
            notice.trigger.name, labels["alertname"]
        ),
        truncated_alerts: notice.truncated,
        status: "firing",
        receiver: notice.trigger.name,
        group_labels: &group_labels,
        common_labels: &labels,
        // Left empty, though one alert's annotations are all common: the message would stand in the body twice.
        common_annotations: Labels::new(),
        external_url: "",
        alerts: [Alert {
            status: "firing",
            labels: &labels,
            annotations: annotations(event),
            starts_at: event.get("ts").and_then(Value::as_str).unwrap_or_default(),
            // Go's zero time: it has not ended.
            ends_at: "0001-01-01T00:00:00Z",
            generator_url: "",
            fingerprint: hex(fingerprint(&labels)),
        }],
    };
    json(&body)
}

/// What tells alerts of one kind apart: short values that repeat. The rest are annotations.
const LABELS: [&str; 7] = [
    "severity",
    "source",
    "worker",
    "workload_id",
    "container_name",
    "stream",
    "rule_name",
];

fn labels(notice: &Notice<'_>, event: &Map<String, Value>) -> Labels {
    let mut labels = Labels::new();
    for key in LABELS {
        if let Some(value) = event.get(key) {
            labels.insert(key.to_owned(), text(value));
        }
    }
    // Those that an operator gave the rule.
    if let Some(Value::Object(own)) = event.get("labels") {
        for (key, value) in own {
            let label = labels.entry(key.clone());
            label.or_insert_with(|| text(value));
        }
    }
    let name = ["rule_name", "source"]
        .into_iter()
        .find_map(|key| event.get(key).map(text).filter(|name| !name.is_empty()));
    let name = name.unwrap_or_else(|| "event".to_owned());
    labels.insert("alertname".to_owned(), name);
    labels.insert("trigger".to_owned(), notice.trigger.name.to_owned());
    if notice.test {
        labels.insert("test".to_owned(), "true".to_owned());
    }
    labels.retain(|_, value| !value.is_empty());
    labels
}

fn annotations(event: &Map<String, Value>) -> Labels {
    let mut annotations = Labels::new();
    for key in ["message", "id", "truncated"] {
        if let Some(value) = event.get(key) {
            annotations.insert(key.to_owned(), text(value));
        }
    }
    if let Some(Value::Object(captures)) = event.get("captures") {
        for (name, value) in captures {
            annotations.insert(format!("capture_{name}"), text(value));
        }
    }
    annotations
}

/// FNV-1a over names and values with 0xff behind each, as Prometheus fingerprints a set of labels.
fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = labels.iter().flat_map(|(name, value)| {
        let separator = || std::iter::once(0xff);
        name.bytes()
            .chain(separator())
            .chain(value.bytes())
            .chain(separator())
    });
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}
