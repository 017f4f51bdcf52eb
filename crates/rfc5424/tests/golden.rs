//! DECNET's golden rows: what its Python makes of a line, but for the rows of
//! `data/decnet_differs.json`, in which we are right and it is wrong.

use std::{collections::BTreeMap, fmt};

use rfc5424::{
    Timestamp,
    decnet::{Extras, Record},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

#[derive(Deserialize)]
struct Row {
    tag: String,
    line: String,
    parsed: Option<Pairs>,
}

#[derive(Deserialize)]
struct Difference {
    row: usize,
    why: String,
    expect: Pairs,
}

/// A JSON object in its own order, `fields` included.
#[derive(Debug, Clone, PartialEq)]
struct Pairs(Vec<(String, Part)>);

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Part {
    Object(Pairs),
    Plain(Value),
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Part>()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn record(line: &str) -> Option<Pairs> {
    // 2031-02-03T04:05:06Z
    let fallback_time = Timestamp::new(1_927_857_906, 0);
    let record = Record::parse(line.as_bytes())?;
    let mut out = Vec::new();
    record.write_json(
        &mut out,
        &Extras {
            fallback_time,
            ..Extras::default()
        },
    );
    assert_eq!(out.pop(), Some(b'\n'), "one line");
    Some(serde_json::from_slice(&out).expect("JSON"))
}

#[test]
fn every_row_is_pythons_or_a_named_difference() {
    let differs: Vec<Difference> =
        serde_json::from_str(include_str!("data/decnet_differs.json")).expect("JSON");
    let mut differs: BTreeMap<usize, Difference> =
        differs.into_iter().map(|row| (row.row, row)).collect();
    let mut rows = 0;
    for (number, line) in (1..).zip(include_str!("data/decnet_golden.jsonl").lines()) {
        let row: Row = serde_json::from_str(line).expect("JSON");
        let got = record(&row.line);
        let mut expected = row.parsed.clone();
        if let Some(difference) = differs.remove(&number) {
            assert_ne!(
                got, row.parsed,
                "row {number} differs no more: {}",
                difference.why
            );
            let pairs = &mut expected.as_mut().expect("a record").0;
            for (key, value) in difference.expect.0 {
                pairs
                    .iter_mut()
                    .find(|(name, _)| *name == key)
                    .expect("a key of a record")
                    .1 = value;
            }
        }
        assert_eq!(got, expected, "row {number}: {}", row.tag);
        rows += 1;
    }
    assert_eq!(rows, 35, "rows are missing");
    assert!(
        differs.is_empty(),
        "rows that do not exist: {:?}",
        differs.keys()
    );
}
