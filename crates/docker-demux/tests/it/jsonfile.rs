//! The json-file driver's entries.

use docker_demux::{JsonFile, Lines, MAX_ENTRY, MAX_LINE, Options, Stream};
use proptest::prelude::*;

use crate::docker::{Output, Seen, json_log, seen, stderr, stdout, store, texts, written};

fn decode(options: Options, log: &[u8]) -> (Vec<Seen>, JsonFile) {
    let mut decoder = JsonFile::new(options);
    let mut lines = Lines::default();
    let consumed = decoder.push(log, &mut lines);
    decoder.abandon(log.len() - consumed);
    decoder.finish(&mut lines);
    (seen(&lines), decoder)
}

fn check(log: &[u8], expected: &[&[u8]], corrupt: u64) {
    let (lines, decoder) = decode(Options::default(), log);
    let got: Vec<&[u8]> = lines.iter().map(|seen| seen.text.as_slice()).collect();
    assert_eq!(got, expected, "{}", log.escape_ascii());
    assert_eq!(decoder.corrupt(), corrupt, "{}", log.escape_ascii());
}

const TAIL: &str = r#"","stream":"stdout","time":"2026-11-21T05:24:25.123456789Z"}"#;

fn entry(log: &str) -> Vec<u8> {
    format!("{{\"log\":\"{log}{TAIL}\n").into_bytes()
}

#[test]
fn undoes_every_escape() {
    check(
        &entry(r#"\u003c134\u003e \"a\" \\ \/ \b\f\n\r\t \u0000\n"#),
        &[b"<134> \"a\" \\ / \x08\x0c\n\r\t \0"],
        0,
    );
    check(
        &entry("\u{e9}\\u00e9\\u20ac\\ud83d\\ude00\\n"),
        &["éé€😀".as_bytes()],
        0,
    );
    check(
        &entry(r"\ud83d!\ude00\ud83d\u0041\n"),
        &["\u{fffd}!\u{fffd}\u{fffd}A".as_bytes()],
        0,
    );
}

#[test]
fn takes_any_order_blanks_attributes_and_stamps() {
    check(br#"{"time":"2026-11-21T05:24:25Z","log":"a\n","stream":"stderr"}
{ "log" : "b\n" , "stream":"stdout","attrs":{"x":"y\"}","z":[1,{"k":null}]},"time":"2026-11-21T07:24:25+02:00"}
{"stream":"stdout","time":"2026-11-21T05:24:25.000000001Z"}
{"log":"c\n","stream":"stdout","time":"yesterday"}
"#, &[b"a", b"b", b"", b"c"], 0);
}

#[test]
fn keeps_stream_stamp_and_whether_an_lf_ended_the_line() {
    let (lines, _) = decode(
        Options::default(),
        &json_log(&store(&[stdout("a\n"), stderr("b\n"), stdout("c")], true)),
    );
    let flags: Vec<_> = lines
        .iter()
        .map(|seen| (seen.line.stream, seen.line.terminated))
        .collect();
    assert_eq!(
        flags,
        [
            (Stream::Stdout, true),
            (Stream::Stderr, true),
            (Stream::Stdout, false)
        ]
    );
    assert_eq!(lines[1].line.time_ns - lines[0].line.time_ns, 1000);
}

#[test]
fn removes_one_cr_of_a_terminal() {
    let options = Options {
        tty: true,
        ..Options::default()
    };
    let long = [vec![b'x'; 16384], b"\r\n".to_vec()].concat();
    let cut_cr = [vec![b'x'; 16383], b"\r\n".to_vec()].concat();
    let outputs = [
        stdout("a\r\r\n"),
        stdout("\r\n"),
        stdout("b\n"),
        stdout("c\r"),
        stdout(long),
        stdout(cut_cr),
    ];
    let (lines, _) = decode(options, &json_log(&store(&outputs, true)));
    let got = texts(&lines, Stream::Stdout);
    assert_eq!(
        got[..4],
        [
            b"a\r".to_vec(),
            b"".to_vec(),
            b"b".to_vec(),
            b"c\r".to_vec()
        ]
    );
    assert_eq!((got[4].len(), got[5].len()), (16384, 16383));
}

#[test]
fn joins_pieces_by_length_and_stamp() {
    let outputs: Vec<Output> = [16383, 16384, 16385, 32768, 40000]
        .map(|len| {
            let mut text = vec![b'a' + (len % 7) as u8; len];
            text.push(b'\n');
            stdout(text)
        })
        .into();
    let (lines, _) = decode(Options::default(), &json_log(&store(&outputs, true)));
    assert_eq!(
        texts(&lines, Stream::Stdout),
        written(&outputs, Stream::Stdout)
    );
    // A container that ended right after 16384 octets without LF, and was started again.
    let outputs = [stdout(vec![b'x'; 16384]), stdout("next\n")];
    let (lines, _) = decode(Options::default(), &json_log(&store(&outputs, true)));
    assert_eq!(
        texts(&lines, Stream::Stdout),
        written(&outputs, Stream::Stdout)
    );
}

#[test]
fn joins_pieces_that_grew_by_replacement_characters() {
    let mut text = vec![0xff; 20000];
    text.push(b'\n');
    let (lines, _) = decode(Options::default(), &json_log(&store(&[stdout(text)], true)));
    assert_eq!(
        texts(&lines, Stream::Stdout),
        ["\u{fffd}".repeat(20000).into_bytes()]
    );
}

#[test]
fn cuts_a_line_over_the_limit_into_parts() {
    let mut text: Vec<u8> = (0..MAX_LINE * 5 / 2)
        .map(|n| b'a' + (n % 23) as u8)
        .collect();
    text.push(b'\n');
    let outputs = [stdout(text), stdout("short\n")];
    let (lines, _) = decode(Options::default(), &json_log(&store(&outputs, true)));
    assert_eq!(
        texts(&lines, Stream::Stdout),
        written(&outputs, Stream::Stdout)
    );
    let parts: Vec<_> = lines
        .iter()
        .map(|seen| seen.line.part.map(|part| (part.n, part.last)))
        .collect();
    assert_eq!(
        parts,
        [Some((0, false)), Some((1, false)), Some((2, true)), None]
    );
    assert!(lines.iter().all(|seen| seen.text.len() <= MAX_LINE));
    assert_eq!(
        lines[2].line.part.unwrap().line,
        lines[0].line.time_ns as u64
    );
    // Exactly the limit is one line.
    let mut text = vec![b'x'; MAX_LINE];
    text.push(b'\n');
    let (lines, _) = decode(Options::default(), &json_log(&store(&[stdout(text)], true)));
    assert_eq!((lines.len(), lines[0].line.part), (1, None));
}

#[test]
fn skips_and_counts_what_it_cannot_read() {
    let good = String::from_utf8(entry("good\\n")).unwrap();
    for bad in [
        "x",
        "{}",
        "{",
        "\"",
        "{\"log\":\"a\\q\"}",
        "{\"log\":1}",
        "{\"log\":\"a\"",
        "{\"log\":\"a\\u12\"}",
        "[]",
        "{\"log\":\"a\",\"stream\":\"stdin\"}",
        "{\"log\":\"a\"}}",
        "{\"log\":\"a\",}",
        "\0\0\0",
        "{\"attrs\":{\"a\":[[[}",
    ] {
        check(
            format!("{good}{bad}\n{good}").as_bytes(),
            &[b"good", b"good"],
            1,
        );
    }
    check(format!("\n{good}\n").as_bytes(), &[b"good"], 0);
}

#[test]
fn finds_the_entry_behind_a_torn_one() {
    let good = String::from_utf8(entry("good\\n")).unwrap();
    for torn in [
        &good[..3],
        &good[..10],
        &good[..good.len() - 3],
        "\0\0\0\0",
        "{\"log\":\"a {\"log\":\"",
    ] {
        check(format!("{torn}{good}").as_bytes(), &[b"good"], 1);
    }
    // Escaped, the same octets are a line's own.
    check(
        &entry(r#"{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"\"}\n"#),
        &[br#"{"log":"x","stream":"stdout","time":""}"#],
        0,
    );
}

#[test]
fn finds_whole_entries_that_share_a_line() {
    let entry = |log: &str| format!("{{\"log\":\"{log}{TAIL}");
    let (one, two) = (entry("one\\n"), entry("two\\n"));
    let empty = r#"{"stream":"stdout","time":"2026-11-21T05:24:25Z"}"#;
    let attrs = one.replace(",\"time\"", r#","attrs":{"log":"x"},"time""#);
    let all: &[&[u8]] = &[b"one", b"two"];
    // A host died between `}` and LF, or with more on the way.
    check(format!("{one}{two}\n").as_bytes(), all, 0);
    check(format!("{attrs}{two}\n").as_bytes(), all, 0);
    check(
        format!("{one} {empty}{two}\n").as_bytes(),
        &[b"one", b"", b"two"],
        0,
    );
    check(format!("{one}\0\0{two}\n").as_bytes(), all, 1);
    check(format!("{one}{}{two}\n", &one[..10]).as_bytes(), all, 1);
    check(format!("\0{one}{}{two}\0\n", &one[..10]).as_bytes(), all, 3);
    check(format!("{one}\0\n{two}\n").as_bytes(), all, 1);
}

#[test]
fn goes_on_behind_the_first_of_two_entries_on_a_line() {
    let piece = "x".repeat(16_384);
    let entry = |log: &str| format!("{{\"log\":\"{log}{TAIL}");
    let log = format!(
        "{}{}\n{}\n",
        entry("one\\n"),
        entry(&piece),
        entry("end\\n")
    );
    let cut = log.len() - entry("end\\n").len() - 1;
    let mut lines = Lines::default();
    let mut first = JsonFile::new(Options::default());
    assert_eq!(first.push(&log.as_bytes()[..cut], &mut lines), cut);
    let at = first.progress();
    let mut next = JsonFile::resume(Options::default(), at.ahead, at.open);
    next.push(&log.as_bytes()[at.place as usize..], &mut lines);
    let whole = format!("{piece}end");
    assert_eq!(
        texts(&seen(&lines), Stream::Stdout),
        [b"one".as_slice(), whole.as_bytes()]
    );
}

#[test]
fn skips_an_entry_over_the_limit_to_its_end() {
    let mut log = entry("before\\n");
    log.extend(entry(&"x".repeat(3 * MAX_ENTRY)));
    log.extend(entry("after\\n"));
    let mut decoder = JsonFile::new(Options::default());
    let mut lines = Lines::default();
    let mut held = Vec::new();
    for chunk in log.chunks(100_000) {
        held.extend_from_slice(chunk);
        let consumed = decoder.push(&held, &mut lines);
        held.drain(..consumed);
        assert!(held.len() <= MAX_ENTRY);
    }
    assert_eq!(
        texts(&seen(&lines), Stream::Stdout),
        [b"before".as_slice(), b"after"]
    );
    assert_eq!(
        (decoder.corrupt(), decoder.position()),
        (1, log.len() as u64)
    );
}

fn outputs() -> impl Strategy<Value = Vec<Output>> {
    let text = prop_oneof![
        8 => prop::collection::vec(any::<char>(), 0..60).prop_map(|text| text.into_iter().collect::<String>().into_bytes()),
        1 => (16380..16390usize, any::<u8>()).prop_map(|(len, octet)| vec![octet & 0x7f; len]),
        1 => (30000..70000usize, any::<u8>()).prop_map(|(len, octet)| vec![octet & 0x7f; len]),
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

/// Interleaves the entries of the two streams as a busy container's may be, each stream in its own order.
fn shuffle(entries: Vec<crate::docker::Stored>, seed: u64) -> Vec<crate::docker::Stored> {
    let (mut out, mut err): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .rev()
        .partition(|stored| stored.stream == Stream::Stdout);
    let mut mixed = Vec::new();
    let mut state = seed | 1;
    loop {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (first, second) = if state & 1 == 0 {
            (&mut out, &mut err)
        } else {
            (&mut err, &mut out)
        };
        match first.pop().or_else(|| second.pop()) {
            Some(stored) => mixed.push(stored),
            None => return mixed,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gives_back_what_was_written(outputs in outputs(), seed in any::<u64>()) {
        let log = json_log(&shuffle(store(&outputs, true), seed));
        let (lines, decoder) = decode(Options::default(), &log);
        for stream in Stream::ALL {
            prop_assert_eq!(texts(&lines, stream), written(&outputs, stream));
        }
        prop_assert_eq!(decoder.corrupt(), 0);
    }

    #[test]
    fn chunks_of_any_size_give_the_same(outputs in outputs(), seed in any::<u64>(), size in 1..50_000usize) {
        let log = json_log(&shuffle(store(&outputs, true), seed));
        let mut decoder = JsonFile::new(Options::default());
        let mut lines = Lines::default();
        let mut held = Vec::new();
        for chunk in log.chunks(size) {
            held.extend_from_slice(chunk);
            let consumed = decoder.push(&held, &mut lines);
            held.drain(..consumed);
        }
        decoder.finish(&mut lines);
        prop_assert_eq!(seen(&lines), decode(Options::default(), &log).0);
    }

    #[test]
    fn another_decoder_goes_on_where_one_stopped(outputs in outputs(), seed in any::<u64>()) {
        let log = json_log(&shuffle(store(&outputs, true), seed));
        let all = decode(Options::default(), &log).0;
        let mut at = 0;
        let mut got = Vec::new();
        let mut state = ([0; 2], [None; 2]);
        let mut fed = 0;
        // Feed entry by entry, and throw the decoder away after each.
        while fed < log.len() {
            fed += log[fed..].iter().position(|octet| *octet == b'\n').unwrap() + 1;
            let mut decoder = JsonFile::resume(Options::default(), state.0, state.1);
            let mut lines = Lines::default();
            decoder.push(&log[at..fed], &mut lines);
            if fed == log.len() {
                decoder.finish(&mut lines);
            }
            got.extend(seen(&lines));
            let progress = decoder.progress();
            at += progress.place as usize;
            state = (progress.ahead, progress.open);
        }
        prop_assert_eq!(got, all);
    }

    #[test]
    fn damage_costs_only_what_it_touches(octets in prop::collection::vec(any::<u8>(), 0..300), at in 0..200usize) {
        let mut log = entry("first\\n");
        let end = log.len();
        log.extend(entry("second\\n"));
        let third = log.len();
        log.extend(entry("third\\n"));
        log.splice((end + at).min(third - 1)..third - 1, octets);
        let texts = texts(&decode(Options::default(), &log).0, Stream::Stdout);
        prop_assert_eq!(&texts[0], b"first");
        prop_assert_eq!(texts.last().unwrap(), b"third");
    }
}

#[test]
fn goes_on_in_the_middle_of_an_over_long_line() {
    let mut text: Vec<u8> = (0..MAX_LINE * 3 + 17)
        .map(|n| b'a' + (n / 1000 % 23) as u8)
        .collect();
    text.push(b'\n');
    let entries = store(
        &[
            stdout(text),
            stdout("after\n"),
            stderr("b\n"),
            stderr("c\n"),
        ],
        true,
    );
    let log = json_log(&shuffle(entries, 7));
    let all = decode(Options::default(), &log).0;
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &log).map(|lf| lf + 1).collect();
    for stop in ends {
        let mut first = JsonFile::new(Options::default());
        let mut lines = Lines::default();
        first.push(&log[..stop], &mut lines);
        let mut got = seen(&lines);
        let progress = first.progress();
        let mut second = JsonFile::resume(Options::default(), progress.ahead, progress.open);
        lines.clear();
        second.push(&log[progress.place as usize..], &mut lines);
        got.extend(seen(&lines));
        assert_eq!(got, all, "stopped at {stop}");
    }
}
