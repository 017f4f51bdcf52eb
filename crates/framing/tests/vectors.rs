//! The framing vectors, each in its own chunks and in chunks of one octet.
//!
//! We close on a frame over the limit instead of cutting or skipping it, so the rows that expect
//! another policy are judged by that; they are named in `WE_CLOSE`.

use framing::{Decoder, Frame, at_eof};
use serde::Deserialize;

/// Rows of a truncate policy, with the octet at which we refuse the first frame.
const WE_CLOSE: &[(&str, usize)] = &[
    ("over-limit-truncate", 1), // 20 with a limit of 10: the second digit passes it
    ("over-skip-limit", 4),     // 2000000 with a limit of 8192: the fifth does
];

#[derive(Deserialize)]
struct Vector {
    name: String,
    max_msg_len: u32,
    oversize: String,
    chunks_hex: Vec<String>,
    frames_hex: Vec<String>,
    frames_after_chunk: Vec<usize>,
    error: Option<String>,
    error_at: Option<serde_json::Value>,
}

#[derive(Debug, PartialEq, Default)]
struct Outcome {
    frames: Vec<Vec<u8>>,
    after_chunk: Vec<usize>,
    error: Option<&'static str>,
    /// Index of the chunk, `None` for the end of the stream.
    error_chunk: Option<usize>,
    error_octet: usize,
}

fn run(max: u32, chunks: &[Vec<u8>]) -> Outcome {
    let decoder = Decoder::new(max);
    let (mut held, mut base) = (Vec::new(), 0);
    let mut outcome = Outcome::default();
    for (index, chunk) in chunks.iter().enumerate() {
        held.extend_from_slice(chunk);
        loop {
            match decoder.decode(&held) {
                Ok(Some((Frame::Message(message), consumed))) => {
                    outcome.frames.push(message.to_vec());
                    held.drain(..consumed);
                    base += consumed;
                }
                Ok(Some((Frame::Control(_), _))) => panic!("a control without being asked for"),
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error.fault.name());
                    outcome.error_chunk = Some(index);
                    outcome.error_octet = base + error.at;
                    return outcome;
                }
            }
        }
        outcome.after_chunk.push(outcome.frames.len());
    }
    if let Err(error) = at_eof(&held) {
        outcome.error = Some(error.fault.name());
        outcome.error_octet = base + error.at;
    }
    outcome
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn every_row_holds_in_any_chunking() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("data/framing.json")).unwrap();
    assert!(vectors.len() >= 36, "rows are missing");
    let mut closed = Vec::new();
    for vector in &vectors {
        let name = &vector.name;
        let chunks: Vec<Vec<u8>> = vector.chunks_hex.iter().map(|chunk| hex(chunk)).collect();
        let octets: Vec<Vec<u8>> = chunks
            .concat()
            .into_iter()
            .map(|octet| vec![octet])
            .collect();
        let got = run(vector.max_msg_len, &chunks);
        let single = run(vector.max_msg_len, &octets);
        assert_eq!(
            (&got.frames, got.error, got.error_octet),
            (&single.frames, single.error, single.error_octet),
            "{name}: the chunking shows"
        );
        if vector.oversize != "error" {
            let octet = WE_CLOSE
                .iter()
                .find(|(row, _)| row == name)
                .expect("a row to be judged by name")
                .1;
            assert_eq!(
                (got.error, got.error_octet),
                (Some("len.too_long"), octet),
                "{name}"
            );
            assert!(got.frames.is_empty(), "{name}");
            closed.push(name.as_str());
            continue;
        }
        let frames: Vec<Vec<u8>> = vector.frames_hex.iter().map(|frame| hex(frame)).collect();
        assert_eq!(got.frames, frames, "{name}");
        assert_eq!(got.error, vector.error.as_deref(), "{name}");
        assert_eq!(got.after_chunk, vector.frames_after_chunk, "{name}");
        let chunk = vector.error_at.as_ref().and_then(serde_json::Value::as_u64);
        assert_eq!(got.error_chunk.map(|at| at as u64), chunk, "{name}");
    }
    assert_eq!(
        closed,
        WE_CLOSE.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
}
