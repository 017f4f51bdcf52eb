//! The raw stream of a TTY container.

use docker_demux::{Lines, Options, Stream, Tty};
use proptest::prelude::*;

use crate::docker::{Output, Seen, raw, seen, stdout, store, texts};

fn run(options: Options, stream: &[u8], size: usize) -> Vec<Seen> {
    let mut decoder = Tty::new(options);
    let mut lines = Lines::default();
    for chunk in stream.chunks(size.max(1)) {
        decoder.push(chunk, &mut lines);
    }
    decoder.finish(&mut lines);
    seen(&lines)
}

/// A terminal writes CR LF.
fn line(text: &[u8]) -> Output {
    stdout([text, b"\r\n"].concat())
}

fn bodies(outputs: &[Output]) -> Vec<Vec<u8>> {
    outputs
        .iter()
        .map(|output| {
            let text = &output.text;
            text.strip_suffix(b"\r\n")
                .or(text.strip_suffix(b"\n"))
                .unwrap_or(text)
                .to_vec()
        })
        .collect()
}

fn check(outputs: &[Output], local: bool) {
    let options = Options { tty: true, local };
    let stream = raw(&store(outputs, !local));
    for size in [1, 10, 16384, stream.len()] {
        assert_eq!(
            texts(&run(options, &stream, size), Stream::Stdout),
            bodies(outputs),
            "local {local}, chunks of {size}"
        );
    }
}

#[test]
fn takes_stamps_and_carriage_returns_out() {
    for local in [false, true] {
        check(
            &[
                line(b"a"),
                line(b""),
                line(b"\x01\x00\x00\x00\x00\x00\x00\x02"),
                line(b"a\rb\r"),
                stdout("no end"),
            ],
            local,
        );
    }
}

#[test]
fn takes_the_stamps_inside_long_lines_out() {
    for len in [16382, 16383, 16384, 16385, 32768, 40000] {
        check(
            &[
                line(b"before"),
                line(&vec![b'x'; len]),
                line(b"after"),
                line(&vec![b'y'; len]),
                line(&vec![b'z'; len]),
            ],
            false,
        );
    }
}

#[test]
fn the_local_driver_glues_long_lines_to_the_next_stamp() {
    for len in [16384, 16385, 30000, 40000] {
        let outputs = [
            line(b"before"),
            line(&vec![b'x'; len]),
            line(b"after"),
            line(&vec![b'y'; len]),
            line(&vec![b'z'; len]),
        ];
        let options = Options {
            tty: true,
            local: true,
        };
        let stream = raw(&store(&outputs, false));
        // The LF is gone, so the terminal's CR can't be told from the line's own.
        let expected: Vec<Vec<u8>> = outputs
            .iter()
            .map(|output| {
                let body = output.text.strip_suffix(b"\n").unwrap();
                if body.len() > 16384 {
                    body.to_vec()
                } else {
                    body.strip_suffix(b"\r").unwrap().to_vec()
                }
            })
            .collect();
        for size in [1, 10, 16384, stream.len()] {
            assert_eq!(
                texts(&run(options, &stream, size), Stream::Stdout),
                expected,
                "{len} in chunks of {size}"
            );
        }
    }
}

#[test]
fn a_stamp_in_the_output_is_output() {
    for local in [false, true] {
        check(
            &[
                line(b"2027-11-21T05:24:25.123456789Z app's own"),
                line(b"x 2027-11-21T05:24:25.123456789Z y"),
            ],
            local,
        );
    }
    check(
        &[line(
            &[
                b"2027-11-21T05:24:25.123456789Z ".repeat(1000),
                b"x".to_vec(),
            ]
            .concat(),
        )],
        false,
    );
}

#[test]
fn pieces_may_have_grown() {
    let mut entries = store(&[line(&vec![b'x'; 40000]), line(b"after")], true);
    entries[0].text = vec![b'X'; 49000];
    let got = texts(
        &run(
            Options {
                tty: true,
                ..Options::default()
            },
            &raw(&entries),
            1000,
        ),
        Stream::Stdout,
    );
    assert_eq!(
        got.iter().map(Vec::len).collect::<Vec<_>>(),
        [49000 + 40000 - 16384, 5]
    );
}

#[test]
fn a_stream_without_stamps_is_lines_all_the_same() {
    let got = run(
        Options {
            tty: true,
            ..Options::default()
        },
        b"a\r\nb c d\r\n\r\nend",
        3,
    );
    assert_eq!(
        texts(&got, Stream::Stdout),
        [b"a".as_slice(), b"b c d", b"", b"end"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_of_any_size_give_the_same(octets in prop::collection::vec(any::<u8>(), 0..400), size in 1..50usize, local in any::<bool>()) {
        let options = Options { tty: true, local };
        prop_assert_eq!(run(options, &octets, size), run(options, &octets, octets.len()));
    }
}
