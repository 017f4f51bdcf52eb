//! What DECNET's own codec answers to each of these octets, any cut of the stream, and the way back.

use proptest::prelude::*;

use super::{Frame, FrameError, MAX_BODY, MAX_HEADER, Verb, decode, encode};

fn frame(header: &[u8], body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [header, b"\n", &len, body].concat()
}

/// The whole of `octets` as one frame.
fn one(octets: &[u8]) -> Result<(Verb, String, Vec<u8>), FrameError> {
    let (frame, used) = decode(octets)?.expect("a whole frame");
    assert_eq!(used, octets.len());
    Ok((frame.verb, frame.args.to_owned(), frame.body.to_vec()))
}

#[test]
fn reads_the_documented_octets() {
    let octets = b"\x48\x45\x4c\x4c\x4f\x20\x63\x6f\x6c\x6c\x65\x63\x74\x6f\x72\x0a\0\0\0\0";
    assert_eq!(
        one(octets).unwrap(),
        (Verb::Hello, "collector".to_owned(), vec![])
    );
    let mut out = Vec::new();
    encode(Verb::Hello, "collector", b"", &mut out).unwrap();
    assert_eq!(out, octets);
}

#[test]
fn takes_what_decnet_takes() {
    for (header, verb, args) in [
        ("HELLO", Verb::Hello, ""),
        ("HELLO  a b ", Verb::Hello, "a b"),
        ("PUB a.b\r", Verb::Pub, "a.b"),
        ("PUB", Verb::Pub, ""),
        ("PUB a\tb", Verb::Pub, "a\tb"),
        ("SUB a.*", Verb::Sub, "a.*"),
        ("UNSUB a", Verb::Unsub, "a"),
        ("BYE", Verb::Bye, ""),
        ("BYE  ", Verb::Bye, ""),
        ("BYE\r", Verb::Bye, ""),
        ("EVT a.b", Verb::Evt, "a.b"),
    ] {
        let found = one(&frame(header.as_bytes(), b"{\"v\":1}")).unwrap();
        assert_eq!(
            found,
            (verb, args.to_owned(), b"{\"v\":1}".to_vec()),
            "{header:?}"
        );
    }
}

#[test]
fn refuses_what_decnet_refuses() {
    let unknown = |word: &str| FrameError::UnknownVerb(word.to_owned());
    for (header, error) in [
        ("hello x", unknown("hello")),
        ("NOPE x", unknown("NOPE")),
        ("", unknown("")),
        (" BYE", unknown("")),
        ("PUB\ta", unknown("PUB?a")),
        ("PUB \u{e9}", FrameError::Header { octet: 0xc3, at: 4 }),
        (&"V".repeat(50), unknown(&"V".repeat(16))),
    ] {
        assert_eq!(
            one(&frame(header.as_bytes(), b"")),
            Err(error),
            "{header:?}"
        );
    }
}

#[test]
fn header_ends_within_its_limit() {
    let header = |len: usize| format!("PUB {}", "a".repeat(len - 5));
    assert!(one(&frame(header(MAX_HEADER).as_bytes(), b"")).is_ok());
    for octets in [
        frame(header(MAX_HEADER + 1).as_bytes(), b""),
        vec![b'a'; MAX_HEADER],
    ] {
        assert_eq!(decode(&octets), Err(FrameError::HeaderTooLong));
    }
    assert_eq!(decode(&[b'a'; MAX_HEADER - 1]), Ok(None));
}

#[test]
fn body_ends_within_its_limit() {
    let most = frame(b"PUB a", &vec![b' '; MAX_BODY]);
    assert_eq!(one(&most).unwrap().2.len(), MAX_BODY);
    // Refused before any of it came.
    let announced = b"PUB a\n\0\x10\0\x01";
    assert_eq!(
        decode(announced),
        Err(FrameError::BodyTooLong(MAX_BODY + 1))
    );
}

#[test]
fn writes_nothing_that_would_be_refused() {
    let mut out = b"before".to_vec();
    let long = "a".repeat(MAX_HEADER - 4);
    for (args, body, error) in [
        (
            "a\nPUB b",
            0,
            FrameError::Header {
                octet: b'\n',
                at: 1,
            },
        ),
        ("\u{e9}", 0, FrameError::Header { octet: 0xc3, at: 0 }),
        (&long, 0, FrameError::HeaderTooLong),
        ("a", MAX_BODY + 1, FrameError::BodyTooLong(MAX_BODY + 1)),
    ] {
        let result = encode(Verb::Pub, args, &vec![b' '; body], &mut out);
        assert_eq!((result, out.as_slice()), (Err(error), b"before".as_slice()));
    }
    assert_eq!(encode(Verb::Pub, &long[1..], b"", &mut out), Ok(()));
}

/// Frames, and how many octets are left, or the error.
fn all(mut octets: &[u8], step: usize) -> (Vec<String>, Result<usize, FrameError>) {
    let (mut frames, mut held, mut result) = (Vec::new(), Vec::new(), Ok(()));
    while !octets.is_empty() && result.is_ok() {
        let (now, later) = octets.split_at(step.min(octets.len()));
        held.extend_from_slice(now);
        octets = later;
        loop {
            match decode(&held) {
                Ok(Some((Frame { verb, args, body }, used))) => {
                    frames.push(format!("{verb} {args:?} {body:?}"));
                    held.drain(..used);
                }
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
    }
    (frames, result.map(|()| held.len()))
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let verb = proptest::sample::select(Verb::ALL.to_vec());
    let args = "[!-~]([ -~]{0,20}[!-~])?|";
    let body = prop_oneof![Just(vec![]), proptest::collection::vec(any::<u8>(), 0..50)];
    (verb, args, body).prop_map(|(verb, args, body)| {
        let mut out = Vec::new();
        encode(verb, &args, &body, &mut out).unwrap();
        let (frame, used) = decode(&out).unwrap().unwrap();
        assert_eq!(
            frame,
            Frame {
                verb,
                args: &args,
                body: &body
            }
        );
        assert_eq!(used, out.len());
        out
    })
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_frames(
        frames in proptest::collection::vec(any_frame(), 0..6),
        rubbish in proptest::collection::vec(any::<u8>(), 0..20),
        step in 1usize..60,
    ) {
        let octets = [frames.concat(), rubbish].concat();
        prop_assert_eq!(all(&octets, step), all(&octets, octets.len().max(1)));
    }
}
