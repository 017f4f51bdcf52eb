//! The profiles keep their promises, and the expected records are those of our parser.

use std::collections::BTreeSet;

use rfc5424::decnet::Record;

use super::*;

fn decoy(profile: Profile) -> Decoy {
    Decoy {
        name: "omega-decky".to_owned(),
        seed: 7,
        profile,
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}

#[test]
fn lines_carry_number_and_name() {
    for profile in [Profile::Clean, Profile::Hostile, Profile::Big] {
        let decoy = decoy(profile);
        for seq in 0..if profile == Profile::Big { 70 } else { 2000 } {
            let line = decoy.line(seq);
            assert_eq!(line.last(), Some(&b'\n'));
            assert!(contains(&line, "omega-decky"), "{seq}");
            let marks = [
                format!("seq=\"{seq}\""),
                format!("seq={seq} "),
                format!("seq={seq}\n"),
            ];
            assert!(
                marks.iter().any(|mark| contains(&line, mark)),
                "{profile:?} {seq}"
            );
        }
    }
}

#[test]
fn another_seed_means_other_lines() {
    let one = decoy(Profile::Hostile);
    let other = Decoy {
        seed: 8,
        ..one.clone()
    };
    assert_eq!(one.output(0, 50), one.output(0, 50));
    assert_ne!(one.output(0, 50), other.output(0, 50));
    assert_eq!(
        one.output(0, 9),
        [one.output(0, 4), one.output(4, 5)].concat()
    );
}

#[test]
fn clean_lines_are_clean() {
    for seq in 0..2000 {
        let line = decoy(Profile::Clean).line(seq);
        let (text, lf) = line.split_at(line.len() - 1);
        assert!(lf == b"\n" && text.len() <= 8192, "{seq}");
        assert!(
            std::str::from_utf8(text).is_ok() && !text.iter().any(u8::is_ascii_control),
            "{seq}"
        );
        assert!(
            rfc5424::parse(text).is_ok(),
            "{seq}: {}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn identical_lines_are_but_for_each_64th() {
    let lines: BTreeSet<Vec<u8>> = (1..64)
        .map(|seq| decoy(Profile::Identical).line(seq))
        .collect();
    assert_eq!(lines.len(), 1);
    assert!(!lines.contains(&decoy(Profile::Identical).line(64)));
}

#[test]
fn hostile_lines_hold_what_they_must() {
    let all: Vec<Vec<u8>> = (0..2000)
        .map(|seq| decoy(Profile::Hostile).line(seq))
        .collect();
    let some = |what: &str, test: &dyn Fn(&[u8]) -> bool| {
        assert!(all.iter().any(|line| test(line)), "none {what}");
    };
    some("of 40 KiB", &|line| line.len() == 40 * 1024 + 1);
    some("of 16 KiB", &|line| line.len() == 16 * 1024 + 1);
    some("with a character across 16 KiB", &|line| {
        line.len() > 16_384 && line[16_384] & 0xC0 == 0x80
    });
    some("with a lone CR", &|line| {
        line.windows(2)
            .any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
    });
    some("with NUL", &|line| line.contains(&0));
    some("not UTF-8", &|line| std::str::from_utf8(line).is_err());
    some("with a forged line", &|line| {
        contains(line, "\n<134>1 2026-06-20T00:00:00Z victim")
    });
    some("after a blank one", &|line| line[0] == b'\n');
    some("with blanks at its end", &|line| line.ends_with(b" \n"));
}

#[test]
fn big_lines_reach_past_the_limits() {
    let sizes: Vec<usize> = (0..600)
        .map(|seq| decoy(Profile::Big).line(seq).len() - 1)
        .collect();
    assert!(sizes.iter().all(|size| (16_382..=2_621_442).contains(size)));
    assert!(sizes.iter().any(|size| *size > 1 << 20), "none over 1 MiB");
    for limit in [16_384, 32_768, 40_960, 65_536] {
        for size in limit - 1..=limit + 1 {
            assert!(sizes.contains(&size), "none of {size}");
        }
    }
}

#[test]
fn expected_records_are_what_the_parser_makes() {
    for profile in [Profile::Clean, Profile::Hostile, Profile::Identical] {
        for seq in 0..3000 {
            check(&decoy(profile).emission(seq), seq);
        }
    }
}

fn check(emission: &Emission, seq: u64) {
    let lines = emission.bytes.split(|octet| *octet == b'\n');
    let lines = lines.filter(|line| !line.is_empty()).count();
    assert_eq!(lines, emission.records.len(), "{seq}");
    for (line, expected) in emission.lines() {
        match (Record::parse(line), expected) {
            (Some(record), Some(expected)) => check_record(&record, expected, seq),
            (record, expected) => assert!(
                record.is_none() && expected.is_none(),
                "{seq}: {record:?} {expected:?}"
            ),
        }
    }
}

fn check_record(record: &Record<'_>, expected: &Expected, seq: u64) {
    let timestamp = record.time().map(|time| {
        let mut text = Vec::new();
        time.write_record(&mut text);
        String::from_utf8(text).expect("ASCII")
    });
    assert_eq!(timestamp, expected.timestamp, "{seq}");
    assert_eq!(record.decky(), expected.decky.as_bytes(), "{seq}");
    assert_eq!(record.service(), expected.service.as_bytes(), "{seq}");
    assert_eq!(record.event_type(), expected.event_type.as_bytes(), "{seq}");
    assert_eq!(
        record.attacker_ip(),
        expected.attacker_ip.as_bytes(),
        "{seq}"
    );
    assert_eq!(record.msg(), expected.msg, "{seq}");
    let fields: Vec<(String, Vec<u8>)> = record
        .fields()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), unescaped(value)))
        .collect();
    // The port that was split off is added when the record is written.
    let expected: Vec<_> = expected
        .fields
        .iter()
        .filter(|(name, _)| name != "remote_port")
        .cloned()
        .collect();
    assert_eq!(fields, expected, "{seq}");
}

fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut octets = value.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octets.peek() {
            Some(b'"' | b'\\' | b']') if octet == b'\\' => out.extend(octets.next()),
            _ => out.push(octet),
        }
    }
    out
}

mod program {
    use super::*;

    fn args(extra: &[&str]) -> Args {
        let args = [
            "logferry-decoy",
            "--name",
            "omega-decky",
            "--seed",
            "7",
            "--rate",
            "0",
        ];
        clap::Parser::parse_from(args.iter().chain(extra))
    }

    #[test]
    fn appends_exactly_the_lines_to_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("decky.log");
        let out = path.to_str().expect("UTF-8");
        run(&args(&[
            "--profile",
            "hostile",
            "--count",
            "300",
            "--out",
            out,
        ]))
        .expect("runs");
        run(&args(&[
            "--profile",
            "hostile",
            "--count",
            "5",
            "--start",
            "300",
            "--no-final-lf",
            "--out",
            out,
        ]))
        .expect("runs");
        let mut expected = decoy(Profile::Hostile).output(0, 305);
        expected.pop();
        assert_eq!(std::fs::read(&path).expect("there"), expected);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let error =
            run(&args(&["--count", "1", "--out", "/nowhere/decky.log"])).expect_err("fails");
        assert!(
            format!("{error:#}").starts_with("open /nowhere/decky.log: "),
            "{error:#}"
        );
    }
}
