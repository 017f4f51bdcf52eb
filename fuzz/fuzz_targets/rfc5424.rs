//! Any octets as a line: what is legal is written as it means, what is accepted becomes JSON.
#![no_main]
use rfc5424::decnet::{Extras, Record, accepts};

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let mut out = Vec::new();
    if let Ok(message) = rfc5424::parse(line) {
        assert!(accepts(line));
        message.write(&mut out);
        assert_eq!(rfc5424::parse(&out).expect("written by us").msg, message.msg);
    }
    out.clear();
    Record::parse(line).inspect(|record| record.write_json(&mut out, &Extras::default()));
    assert!(out.is_empty() || serde_json::from_slice::<serde_json::Value>(&out).is_ok());
});
