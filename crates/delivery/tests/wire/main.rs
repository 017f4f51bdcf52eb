//! docs/wire.md against the code: its examples are replayed by both ends, and its tables hold what the code holds.

#![expect(
    clippy::disallowed_methods,
    reason = "the page is a file, and a test may pick an epoch"
)]

mod page;
mod replay;

use std::time::Duration;

use delivery::control::{
    Decoded, MAX_BLANK, MAX_CONTROL, MAX_EPOCHS, MAX_NESTING, MAX_PRINT, MAX_PROVE,
};
use delivery::receiver::ReceiverLimits;
use delivery::sender::SenderLimits;
use delivery::{AdmissionLimits, Control, Offset};

/// Every block of the page that is marked `exchange` is what a sender and a receiver say to each other, to the byte.
#[test]
fn examples_are_what_both_ends_say() {
    let examples = page::blocks("exchange");
    assert!(examples.len() >= 9, "{} examples", examples.len());
    for (line, example) in examples {
        let said = replay::replay(&example);
        assert!(
            said == example,
            "docs/wire.md, line {line}, should be:\n{}",
            said.join("\n")
        );
    }
}

fn lines(mark: &str, least: usize) -> Vec<String> {
    let blocks = page::blocks(mark).into_iter();
    let lines: Vec<String> = blocks.flat_map(|(_, lines)| lines).collect();
    assert!(lines.len() >= least, "{} lines", lines.len());
    lines
}

/// Every line of a block marked `closes` is the content of a control frame that closes the connection.
#[test]
fn broken_controls_are_broken() {
    for line in lines("closes", 8) {
        let found = Control::decode(line.as_bytes());
        assert!(found.is_err(), "{line} is {found:?}");
    }
}

/// Every line of a block marked `ignored` is one that is ignored, or understood without what is unknown in it.
#[test]
fn unknown_keys_are_ignored() {
    let found = lines("ignored", 2)
        .into_iter()
        .map(|line| Control::decode(line.as_bytes()).unwrap());
    let (ignored, known): (Vec<_>, Vec<_>) = found.partition(|found| *found == Decoded::Unknown);
    assert!(!ignored.is_empty() && !known.is_empty());
}

#[track_caller]
fn check_table(heading: &str, len: usize, json: impl Fn(&str) -> String) {
    let names = page::table(heading);
    assert_eq!(names.len(), len, "{names:?}");
    for name in names {
        let json = json(&name);
        let Ok(Decoded::Known(control)) = Control::decode(json.as_bytes()) else {
            panic!("nobody knows {json}");
        };
        let again = String::from_utf8(control.encode().expect("short")).expect("JSON");
        assert_eq!(again, json, "nobody knows {name}");
    }
}

/// The first column of a table names what the code knows, no more and no less.
#[test]
fn tables_are_whole() {
    let controls = page::table("control");
    assert_eq!(controls.len(), 16, "{controls:?}");
    for control in controls {
        let found = Control::decode(format!("{{\"{control}\":null}}").as_bytes());
        assert!(found.is_err(), "nobody knows {control}");
    }
    check_table("cause of a skip", 6, |cause| {
        format!(r#"{{"skip":{{"to":1,"cause":"{cause}"}}}}"#)
    });
    let epoch = "00112233445566778899aabbccddeeff";
    check_table("cause of a roll", 3, |cause| {
        format!(r#"{{"roll":{{"end":1,"epoch":"{epoch}","cause":"{cause}","lost":null}}}}"#)
    });
    check_table("code", 7, |code| {
        format!(r#"{{"refuse":{{"code":"{code}","detail":""}}}}"#)
    });
}

/// The numbers of the limits are those of the code.
#[test]
fn limits_are_those_of_the_code() {
    let (receiver, sender) = (ReceiverLimits::default(), SenderLimits::default());
    let admission = AdmissionLimits::default();
    let (number, secs) = (
        |n: u64| n.to_string(),
        |t: Duration| format!("{} s", t.as_secs()),
    );
    let expected = [
        ("control message", number(MAX_CONTROL as u64)),
        ("nesting of a control message", number(MAX_NESTING as u64)),
        ("an offset", number(Offset::MAX.get())),
        ("`max_frame`", number(receiver.max_frame.into())),
        ("empty lines of one `blank`", number(MAX_BLANK.into())),
        ("bytes that a print is about", number(MAX_PRINT.into())),
        ("bytes that a `prove` asks about", number(MAX_PROVE.into())),
        ("epochs in one `epochs`", number(MAX_EPOCHS as u64)),
        (
            "questions of a connection",
            number(receiver.questions.into()),
        ),
        ("bytes between two marks", number(sender.mark)),
        (
            "epochs that are rolled and not acknowledged",
            number(sender.rolls as u64),
        ),
        (
            "connections of a worker",
            number(admission.connections as u64),
        ),
        ("streams of a worker", number(admission.streams as u64)),
        (
            "new epochs of a worker in an hour",
            number(admission.epochs as u64),
        ),
        (
            "epochs of a stream with an open segment",
            number(admission.open_epochs as u64),
        ),
        (
            "takeovers of a stream in a minute",
            number(admission.takeovers as u64),
        ),
        ("wait for `hello`", secs(receiver.hello)),
        ("time without progress inside a frame", secs(receiver.frame)),
        ("time without any frame", secs(receiver.idle)),
        (
            "time between two acks that say nothing new",
            secs(receiver.repeat),
        ),
        ("wait for `resume`, `epochs`, `proof`", secs(sender.answer)),
        ("wait for an `ack`", secs(sender.ack)),
        ("time between two beats", secs(sender.beat)),
    ];
    let page = page::page();
    for (what, number) in expected {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {what} |")));
        let row = row.unwrap_or_else(|| panic!("no limit {what:?}"));
        let plain = row.replace(',', "");
        assert!(
            plain.contains(&format!("| {number} |")),
            "{row} should say {number}"
        );
    }
    assert_eq!(receiver.unmarked, sender.mark);
    assert_eq!(receiver.questions, sender.proofs);
}
