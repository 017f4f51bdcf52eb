//! Names that may become paths, and names that may not.

use super::*;

#[test]
fn takes_the_names_of_the_protocol() {
    let long = format!("W{}", "x".repeat(63));
    for worker in ["a", "Web-1.example_x", "0", &long] {
        assert!(StreamKey::new(worker, "syslog").is_ok(), "{worker}");
    }
    for stream in ["a", "decky.log-1_x", "0"] {
        assert!(StreamKey::new("w", stream).is_ok(), "{stream}");
    }
}

#[test]
fn refuses_what_could_lead_out_of_the_archive() {
    let long = "x".repeat(65);
    for worker in [
        "", ".", "..", ".hidden", "-x", "a/b", "../a", "a\0b", "ä", "a b", &long,
    ] {
        assert!(
            matches!(StreamKey::new(worker, "syslog"), Err(NameError::Worker(_))),
            "{worker:?}"
        );
    }
    for stream in ["", ".", "..", "A", "aB", "a/b", "_a", "a\n", &long] {
        assert!(
            matches!(StreamKey::new("w", stream), Err(NameError::Stream(_))),
            "{stream:?}"
        );
    }
}

#[test]
fn reads_back_identifiers() {
    let id = EpochId::random();
    assert_eq!(EpochId::parse(&id.to_string()), Ok(id));
    assert_ne!(EpochId::random(), id);
    let upper = "A".repeat(32);
    for text in [
        "",
        "0",
        &"0".repeat(31),
        &"0".repeat(33),
        &upper,
        &"g".repeat(32),
    ] {
        assert!(EpochId::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn reads_back_segment_names() {
    assert_eq!(segment_name(7, Form::Frames), "00000000000000000007.frames");
    let parsed = |base, packed| Some(SegmentName { base, packed });
    assert_eq!(packed_name(7, Form::Log), "00000000000000000007.log.zst");
    for (name, form, expected) in [
        (
            "00000000000000000007.frames",
            Form::Frames,
            parsed(7, false),
        ),
        (
            "00000000000000000007.frames.zst",
            Form::Frames,
            parsed(7, true),
        ),
        ("00000000000000000007.frames", Form::Log, None),
        ("00000000000000000007.log", Form::Log, parsed(7, false)),
        ("00000000000000000007.log.zst", Form::Log, parsed(7, true)),
        ("00000000000000000007.log.zst.new", Form::Log, None),
        ("00000000000000000007.zst", Form::Log, None),
    ] {
        assert_eq!(parse_segment(name, form), expected, "{name}");
    }
    for name in [
        "7.log",
        "00000000000000000007",
        "0000000000000000000x.log",
        "99999999999999999999.log",
        "ledger.jsonl",
    ] {
        assert_eq!(parse_segment(name, Form::Log), None, "{name}");
    }
}

#[test]
fn makes_an_archive_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let id = init(&data).unwrap();
    assert_eq!(init(&data).unwrap(), id);
    assert_eq!(archive_id(&data).unwrap(), id);
    assert!(data.join("archive").is_dir());
}
