//! The multiplexed stream, and shared/vectors' rows for it.

use docker_demux::{Frame, FrameError, Frames, Lines, MAX_LINE, Options, Stream, decode};
use proptest::prelude::*;
use serde::Deserialize;

use crate::docker::{Output, Seen, frame, frames, seen, stderr, stdout, store, texts, written};

#[derive(Deserialize)]
struct Row {
    name: String,
    mode: String,
    #[serde(default)]
    max_payload: usize,
    chunks_hex: Vec<String>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    #[serde(default)]
    frames: Vec<serde_json::Value>,
    error: Option<String>,
    detail_hex: Option<String>,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn agrees_with_the_vectors() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../data/framing_extra.json")).unwrap();
    let mut run = 0;
    for row in rows.iter().filter(|row| row.mode == "stdcopy") {
        run += 1;
        let octets: Vec<u8> = row
            .chunks_hex
            .iter()
            .flat_map(|chunk| unhex(chunk))
            .collect();
        let mut got = Vec::new();
        let mut at = 0;
        let error = loop {
            match decode(&octets[at..], row.max_payload) {
                Ok(Some((Frame::Output(stream, payload), len))) => {
                    got.push((stream, payload.to_vec()));
                    at += len;
                }
                // Not an error to us: the frame is passed over and counted.
                Ok(Some((Frame::TooLong(_), _))) => break Some("stdcopy.too_long".to_owned()),
                Ok(None) if at == octets.len() => break None,
                Ok(None) if octets.len() - at < 8 => break Some("eof.in_header".to_owned()),
                Ok(None) => break Some("eof.in_payload".to_owned()),
                Err(FrameError::Daemon(message)) => {
                    assert_eq!(
                        Some(message.octets().to_vec()),
                        row.expect.detail_hex.as_deref().map(unhex)
                    );
                    break Some("stdcopy.systemerr".to_owned());
                }
                Err(_) => break Some("stdcopy.bad_type".to_owned()),
            }
        };
        let expected: Vec<(Stream, Vec<u8>)> = row
            .expect
            .frames
            .iter()
            .map(|frame| {
                let stream = if frame[0] == 2 {
                    Stream::Stderr
                } else {
                    Stream::Stdout
                };
                (stream, unhex(frame[1].as_str().unwrap()))
            })
            .collect();
        assert_eq!(got, expected, "{}", row.name);
        assert_eq!(error, row.expect.error, "{}", row.name);
        // Chunk by chunk, the decoder must come to the same end.
        let mut decoder = Frames::with_limit(Options::default(), row.max_payload);
        let mut lines = Lines::default();
        let pushed = row
            .chunks_hex
            .iter()
            .try_for_each(|chunk| decoder.push(&unhex(chunk), &mut lines));
        let ended = pushed.and_then(|()| decoder.finish(&mut lines));
        assert_eq!(ended.is_err(), row.expect.error.is_some(), "{}", row.name);
    }
    assert_eq!(run, 9, "rows of the stdcopy mode");
}

fn run(options: Options, stream: &[u8]) -> Vec<Seen> {
    let mut decoder = Frames::new(options);
    let mut lines = Lines::default();
    decoder.push(stream, &mut lines).unwrap();
    decoder.finish(&mut lines).unwrap();
    seen(&lines)
}

#[test]
fn passes_over_a_frame_over_the_limit_and_counts_it() {
    let a = frames(&store(&[stdout("a\n")], true));
    let big = frame(1, &[b'x'; 5000]);
    let stream = [a.clone(), big.clone(), big, a].concat();
    for size in [1, 7, 5000, 20000] {
        let mut decoder = Frames::with_limit(Options::default(), 4999);
        let mut lines = Lines::default();
        for chunk in stream.chunks(size) {
            decoder.push(chunk, &mut lines).unwrap();
        }
        decoder.finish(&mut lines).unwrap();
        assert_eq!((lines.len(), decoder.oversized()), (2, 2));
    }
}

#[test]
fn a_daemon_error_ends_the_stream_after_the_lines_before_it() {
    let mut stream = frames(&store(&[stdout("a\n")], true));
    stream.extend(frame(3, b"error from daemon: \xffgone\n"));
    let mut decoder = Frames::new(Options::default());
    let mut lines = Lines::default();
    let error = decoder.push(&stream, &mut lines).unwrap_err();
    assert_eq!(
        error.to_string(),
        "daemon error: error from daemon: \\xffgone"
    );
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_cut_frame_is_told() {
    let stream = frames(&store(&[stdout("a\n"), stdout("b\n")], true));
    let mut decoder = Frames::new(Options::default());
    let mut lines = Lines::default();
    decoder
        .push(&stream[..stream.len() - 1], &mut lines)
        .unwrap();
    assert_eq!(decoder.finish(&mut lines), Err(FrameError::Cut));
    assert_eq!(lines.len(), 1);
}

#[test]
fn the_local_driver_drops_the_lf_of_long_lines() {
    let outputs: Vec<Output> = [16384, 40000, 32768, 5]
        .map(|len| stdout([vec![b'x'; len], b"\n".to_vec()].concat()))
        .into();
    assert_eq!(
        texts(
            &run(Options::default(), &frames(&store(&outputs, false))),
            Stream::Stdout
        ),
        written(&outputs, Stream::Stdout)
    );
}

#[test]
fn a_frame_may_hold_several_lines_or_none() {
    let stamp = "2026-11-21T05:24:25Z ";
    let stream = [
        frame(1, format!("{stamp}a\nb\n").as_bytes()),
        frame(0, b""),
        frame(1, format!("{stamp}\n").as_bytes()),
    ]
    .concat();
    assert_eq!(
        texts(&run(Options::default(), &stream), Stream::Stdout),
        [b"a".as_slice(), b"b", b""]
    );
}

#[test]
fn without_stamps_lines_go_on_until_an_lf() {
    let stream = [
        frame(1, b"half "),
        frame(2, b"other\n"),
        frame(1, b"line\nnext"),
    ]
    .concat();
    let lines = run(Options::default(), &stream);
    assert_eq!(
        texts(&lines, Stream::Stdout),
        [b"half line".as_slice(), b"next"]
    );
    assert_eq!(texts(&lines, Stream::Stderr), [b"other"]);
}

#[test]
fn one_frame_may_be_a_line_over_the_limit() {
    let text: Vec<u8> = (0..MAX_LINE * 5 / 2)
        .map(|n| b'a' + (n / 999 % 23) as u8)
        .collect();
    let payload = [b"2026-11-21T05:24:25Z ".as_slice(), &text, b"\n"].concat();
    let lines = run(
        Options::default(),
        &[frame(1, &payload), frames(&store(&[stdout("b\n")], true))].concat(),
    );
    assert_eq!(texts(&lines, Stream::Stdout), [text, b"b".to_vec()]);
    let parts: Vec<_> = lines
        .iter()
        .map(|seen| seen.line.part.map(|part| (part.n, part.last)))
        .collect();
    assert_eq!(
        parts,
        [Some((0, false)), Some((1, false)), Some((2, true)), None]
    );
}

fn outputs() -> impl Strategy<Value = Vec<Output>> {
    let text = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (16380..16390usize, any::<u8>()).prop_map(|(len, octet)| vec![octet; len]),
        1 => (30000..70000usize, any::<u8>()).prop_map(|(len, octet)| vec![octet; len]),
    ];
    let output =
        (text, any::<bool>(), prop::bool::weighted(0.9)).prop_map(|(mut text, err, lf)| {
            text.retain(|octet| *octet != b'\n');
            if lf {
                text.push(b'\n');
            }
            if err { stderr(text) } else { stdout(text) }
        });
    prop::collection::vec(output, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gives_back_what_was_written_in_chunks_of_any_size(outputs in outputs(), size in 1..40_000usize, lf in any::<bool>()) {
        let stream = frames(&store(&outputs, lf));
        let mut decoder = Frames::new(Options::default());
        let mut lines = Lines::default();
        for chunk in stream.chunks(size) {
            decoder.push(chunk, &mut lines).unwrap();
        }
        decoder.finish(&mut lines).unwrap();
        let lines = seen(&lines);
        for which in Stream::ALL {
            prop_assert_eq!(texts(&lines, which), written(&outputs, which));
        }
        prop_assert_eq!(lines, run(Options::default(), &stream));
    }
}
