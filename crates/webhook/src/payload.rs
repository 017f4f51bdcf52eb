//! The bodies of webhooks: Standard Webhooks' shape, and Alertmanager's version 4 for receivers that know that one.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

mod alertmanager;

/// Longest body in bytes: what Standard Webhooks advises (20 kB).
pub const MAX_PAYLOAD: usize = 20_000;

/// The shape of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `{"type","timestamp","data":{"trigger","event","test"}}`.
    #[default]
    Standard,
    /// What Alertmanager's `webhook_config` sends, version "4".
    Alertmanager,
}

/// Which trigger fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Trigger<'a> {
    /// Stable over renames where there is such a thing.
    pub id: &'a str,
    /// As the operator calls it.
    pub name: &'a str,
}

/// What one webhook tells.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Which trigger fired.
    pub trigger: Trigger<'a>,
    /// The event, with at least `id`, `ts` and `message`.
    pub event: &'a Map<String, Value>,
    /// Further events that were folded into this one by flood control.
    pub truncated: u64,
    /// Whether an operator asked for it.
    pub test: bool,
}

/// The body, of at most [`MAX_PAYLOAD`] bytes. What does not fit is cut in this order, and `truncated` set in the
/// event: the message, the captures, then everything but the few keys that name it.
pub fn render(format: Format, notice: &Notice<'_>) -> Vec<u8> {
    let mut event = notice.event.clone();
    let mut body = write(format, notice, &event);
    for cut in CUTS {
        if body.len() <= MAX_PAYLOAD {
            return body;
        }
        cut(&mut event, body.len() - MAX_PAYLOAD);
        event.insert("truncated".to_owned(), true.into());
        body = write(format, notice, &event);
    }
    body
}

type Cut = fn(&mut Map<String, Value>, usize);

const CUTS: [Cut; 3] = [cut_message, drop_captures, keep_little];

/// What an event keeps when nothing else helps, each cut to [`KEPT_CHARS`] characters.
const KEPT: [&str; 7] = [
    "id",
    "ts",
    "severity",
    "source",
    "rule_id",
    "rule_name",
    "message",
];

/// 7 × 100 characters, each at most 12 bytes of JSON (a surrogate pair of escapes), three times: far below the limit.
const KEPT_CHARS: usize = 100;

/// Shortens the message by `excess` bytes of JSON, plus what the flag and the ellipsis cost.
fn cut_message(event: &mut Map<String, Value>, excess: usize) {
    let Some(Value::String(message)) = event.get_mut("message") else {
        return;
    };
    let mut freed = 0;
    // The message stands in the body once in each format; escapes make one character up to six bytes.
    while freed < excess + 32 {
        let Some(last) = message.pop() else {
            break;
        };
        freed += escaped_len(last);
    }
    message.push('…');
}

fn drop_captures(event: &mut Map<String, Value>, _: usize) {
    event.remove("captures");
}

fn keep_little(event: &mut Map<String, Value>, _: usize) {
    event.retain(|key, _| KEPT.contains(&key.as_str()));
    for value in event.values_mut() {
        let text = text(value);
        let mut kept: String = text.chars().take(KEPT_CHARS).collect();
        if kept.len() < text.len() {
            kept.push('…');
        }
        *value = kept.into();
    }
}

/// Bytes that serde_json writes for a character.
fn escaped_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

/// A value as the text of a label: a string as it is, nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn write(format: Format, notice: &Notice<'_>, event: &Map<String, Value>) -> Vec<u8> {
    match format {
        Format::Standard => standard(notice, event),
        Format::Alertmanager => alertmanager::write(notice, event),
    }
}

#[derive(Serialize)]
struct Standard<'a> {
    r#type: &'static str,
    timestamp: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    trigger: Trigger<'a>,
    event: &'a Map<String, Value>,
    test: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<u64>,
}

fn standard(notice: &Notice<'_>, event: &Map<String, Value>) -> Vec<u8> {
    let timestamp = event.get("ts").and_then(Value::as_str).unwrap_or_default();
    let data = Data {
        trigger: notice.trigger,
        event,
        test: notice.test,
        truncated: (notice.truncated > 0).then_some(notice.truncated),
    };
    json(&Standard {
        r#type: "event.trigger.fired",
        timestamp,
        data,
    })
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("maps with text keys and no failing Serialize")
}

/// Lower-case hexadecimal of a 64-bit number, as Alertmanager writes fingerprints.
fn hex(number: u64) -> String {
    let mut text = String::with_capacity(16);
    write!(text, "{number:016x}").expect("a String takes everything");
    text
}

#[cfg(test)]
mod tests;
