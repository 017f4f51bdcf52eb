//! Writes logs as Docker 20.10 does: the copier's pieces, the json-file driver's entries, the API's streams.

use docker_demux::{Line, Lines, PIECE, Stream};

/// One write of a container, with its LF if it has one.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    pub(crate) text: Vec<u8>,
}

/// One stored entry.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) stream: Stream,
    pub(crate) text: Vec<u8>,
    pub(crate) stamp: String,
}

/// A line without its place in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) text: Vec<u8>,
    pub(crate) line: Line,
}

pub(crate) fn stdout(text: impl Into<Vec<u8>>) -> Output {
    Output {
        stream: Stream::Stdout,
        text: text.into(),
    }
}

pub(crate) fn stderr(text: impl Into<Vec<u8>>) -> Output {
    Output {
        stream: Stream::Stderr,
        text: text.into(),
    }
}

/// Full width, as the API gives it.
pub(crate) fn stamp(n: u64) -> String {
    let seconds = n / 1_000_000_000;
    format!(
        "2026-11-21T05:{:02}:{:02}.{:09}Z",
        seconds / 60,
        seconds % 60,
        n % 1_000_000_000
    )
}

/// Cuts output into the entries that a driver stores; line n is stamped n microseconds after the hour.
pub(crate) fn store(outputs: &[Output], keeps_lf: bool) -> Vec<Stored> {
    let mut entries = Vec::new();
    for (n, output) in outputs.iter().enumerate() {
        let stamp = stamp(1 + n as u64 * 1000);
        let lf = output.text.ends_with(b"\n");
        let body = output.text.strip_suffix(b"\n").unwrap_or(&output.text);
        let mut pieces: Vec<Vec<u8>> = body.chunks(PIECE).map(<[u8]>::to_vec).collect();
        if lf {
            if body.len() % PIECE == 0 {
                pieces.push(Vec::new());
            }
            if keeps_lf || pieces.len() == 1 {
                pieces.last_mut().unwrap().push(b'\n');
            }
        }
        entries.extend(pieces.into_iter().map(|text| Stored {
            stream: output.stream,
            text,
            stamp: stamp.clone(),
        }));
    }
    entries
}

/// The json-file driver's entry: trailing zeros of the fraction left out, `<`, `>` and `&` escaped.
pub(crate) fn json_entry(stored: &Stored) -> Vec<u8> {
    let mut out = b"{\"log\":\"".to_vec();
    for character in String::from_utf8_lossy(&stored.text).chars() {
        match character {
            '"' | '\\' => out.extend([b'\\', character as u8]),
            '\n' => out.extend(b"\\n"),
            '\r' => out.extend(b"\\r"),
            '\t' => out.extend(b"\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend(format!("\\u{:04x}", character as u32).bytes());
            }
            '\u{fffd}' => out.extend(b"\\ufffd"),
            _ => out.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    let short = stored
        .stamp
        .trim_end_matches('Z')
        .trim_end_matches('0')
        .trim_end_matches('.');
    out.extend(
        format!(
            "\",\"stream\":\"{}\",\"time\":\"{short}Z\"}}\n",
            stored.stream.as_str()
        )
        .bytes(),
    );
    out
}

pub(crate) fn json_log(entries: &[Stored]) -> Vec<u8> {
    entries.iter().flat_map(json_entry).collect()
}

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, 0];
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out
}

pub(crate) fn frames(entries: &[Stored]) -> Vec<u8> {
    let payload = |stored: &Stored| [stored.stamp.as_bytes(), b" ", &stored.text].concat();
    entries
        .iter()
        .flat_map(|stored| frame(1 + stored.stream.index() as u8, &payload(stored)))
        .collect()
}

/// A TTY container's stream: stamps and pieces one after the other, nothing between them.
pub(crate) fn raw(entries: &[Stored]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|stored| [stored.stamp.as_bytes(), b" ", &stored.text].concat())
        .collect()
}

/// What a decoder gave, in order.
pub(crate) fn seen(lines: &Lines) -> Vec<Seen> {
    let plain = |line: &Line| Line {
        start: 0,
        end: 0,
        ..*line
    };
    lines
        .iter()
        .map(|(line, text)| Seen {
            text: text.to_vec(),
            line: plain(line),
        })
        .collect()
}

/// The lines of one stream without their LF, the way the container wrote them; parts are put together.
pub(crate) fn texts(lines: &[Seen], stream: Stream) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for seen in lines.iter().filter(|seen| seen.line.stream == stream) {
        match seen.line.part {
            Some(part) if part.n > 0 => out.last_mut().unwrap().extend(&seen.text),
            _ => out.push(seen.text.clone()),
        }
    }
    out
}

/// What should come out of [`texts`].
pub(crate) fn written(outputs: &[Output], stream: Stream) -> Vec<Vec<u8>> {
    let of_stream = outputs
        .iter()
        .filter(|output| output.stream == stream && !output.text.is_empty());
    of_stream
        .map(|output| {
            output
                .text
                .strip_suffix(b"\n")
                .unwrap_or(&output.text)
                .to_vec()
        })
        .collect()
}
