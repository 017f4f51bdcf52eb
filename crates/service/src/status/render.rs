//! A status document for people: aligned keys, and tables where objects are listed.

use serde_json::{Map, Value};

/// Renders an object, one key a line.
pub(super) fn human(status: &Value) -> String {
    let mut text = String::new();
    match status {
        Value::Object(entries) => object(entries, 0, &mut text),
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
    text
}

fn object(entries: &Map<String, Value>, indent: usize, text: &mut String) {
    let nested = |value: &Value| match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    let flat = entries.iter().filter(|(_, value)| !nested(value));
    let width = flat.clone().map(|(key, _)| key.chars().count()).max();
    for (key, value) in flat {
        let line = format!(
            "{:indent$}{key:width$}  {}\n",
            "",
            scalar(value),
            width = width.unwrap_or(0)
        );
        text.push_str(&line);
    }
    for (key, value) in entries.iter().filter(|(_, value)| nested(value)) {
        text.push_str(&format!("{:indent$}{key}:\n", ""));
        match value {
            Value::Object(entries) => object(entries, indent + 2, text),
            Value::Array(items) => list(items, indent + 2, text),
            _ => {}
        }
    }
}

/// Objects as a table with one column a key; anything else one a line.
fn list(items: &[Value], indent: usize, text: &mut String) {
    let mut columns: Vec<&str> = Vec::new();
    for key in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(Map::keys)
    {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    let cell = |item: &Value, column: &str| item.get(column).map_or_else(String::new, scalar);
    let mut rows = vec![
        columns
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>(),
    ];
    rows.extend(items.iter().map(|item| {
        if item.is_object() {
            columns.iter().map(|column| cell(item, column)).collect()
        } else {
            vec![scalar(item)]
        }
    }));
    let widths: Vec<usize> = (0..columns.len().max(1))
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in rows.iter().filter(|row| !row.is_empty()) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        let line = format!("{:indent$}{}", "", cells.join("  "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A value on one line. Control characters are escaped: a terminal must not obey what a status holds.
fn scalar(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    if text.chars().any(char::is_control) {
        return text.chars().flat_map(char::escape_debug).collect();
    }
    text
}
