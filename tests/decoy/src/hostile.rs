//! Lines that have broken pipelines: over-long, torn, forged, binary, or no syslog at all.

use crate::{
    clean,
    event::{Emission, Event, Stamp, UNKNOWN, escape, ipv4},
    random::Random,
};

/// Every other line is a clean one; the rest is of the kinds below.
pub(crate) fn emission(name: &str, seq: u64, random: &mut Random) -> Emission {
    if random.below(2) == 0 {
        return clean::emission(name, seq, random);
    }
    let kind = KINDS[random.below(KINDS.len() as u64) as usize];
    kind(name, seq, random)
}

/// A line of a size near a limit that something on its way has.
pub(crate) fn big(name: &str, seq: u64, random: &mut Random) -> Emission {
    const KIB: u64 = 1024;
    let near = [16 * KIB, 32 * KIB, 40 * KIB, 64 * KIB][random.below(4) as usize];
    let size = match random.below(64) {
        0 => [1024 * KIB, 2560 * KIB][random.below(2) as usize],
        1..48 => near,
        _ => 16 * KIB + random.below(48 * KIB),
    };
    padded(name, seq, size + random.below(5) - 2, random)
}

type Kind = fn(&str, u64, &mut Random) -> Emission;

const KINDS: &[Kind] = &[
    forty_kib,
    sixteen_kib,
    split_character,
    carriage_return,
    control_octets,
    not_utf8,
    forged,
    forged,
    plain_text,
    plain_text,
    binary_text,
    after_blanks,
    no_stamp,
    empty_address,
    colours,
    like_a_frame,
    like_a_control,
    trailing_blanks,
    unfinished,
    leading_mark,
];

/// A line of exactly `size` octets, its LF not counted, ASCII.
fn padded(name: &str, seq: u64, size: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "http", "request").address("src_ip", &ipv4(random));
    let rest = size as usize - event.clone().field("body", "").bytes().len() + 1;
    let piece = random.word(61);
    let body: String = piece.chars().cycle().take(rest).collect();
    event.field("body", body).emission()
}

fn forty_kib(name: &str, seq: u64, random: &mut Random) -> Emission {
    padded(name, seq, 40 * 1024, random)
}

/// Docker cuts lines at 16 KiB: one octet less, exactly that, one more.
fn sixteen_kib(name: &str, seq: u64, random: &mut Random) -> Emission {
    let size = 16 * 1024 * (1 + random.below(2)) + random.below(3) - 1;
    padded(name, seq, size, random)
}

/// A character of two to four octets across the 16 KiB mark.
fn split_character(name: &str, seq: u64, random: &mut Random) -> Emission {
    let character = random.pick(&["é", "✓", "𝄞"]);
    let event = Event::new(name, seq, "mqtt", "publish").address("src", &ipv4(random));
    // Three octets are behind a value: its quote, the bracket, the LF.
    let before = event.clone().field("payload", "").bytes().len() - 3;
    let inside = 1 + random.below(character.len() as u64 - 1) as usize;
    let pad = 16 * 1024 - inside - before;
    event
        .field(
            "payload",
            format!("{}{}", "x".repeat(pad), character.repeat(40)),
        )
        .emission()
}

/// CR stands alone: many tools end a line there.
fn carriage_return(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "mqtt", "publish").address("src", &ipv4(random));
    event
        .field(
            "payload",
            format!("progress 10%\rprogress {}%\r\rdone", random.below(100)),
        )
        .emission()
}

fn control_octets(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "telnet", "input").address("src", &ipv4(random));
    event
        .field(
            "data",
            b"nul\0bel\x07vt\x0Bff\x0Cesc\x1B[0mdel\x7Ftab\tus\x1F",
        )
        .emission()
}

fn not_utf8(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "telnet", "input").address("src", &ipv4(random));
    event
        .field(
            "data",
            b"\xFF\xFE lone \x80 cut \xE2\x9C over \xC0\xAF surrogate \xED\xA0\x80 end \xF0\x9F",
        )
        .emission()
}

/// A body with LF inside that looks like a message of another host. The first line has lost its
/// end, the second its quotes' meaning.
fn forged(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "http", "request").address("remote_addr", &ipv4(random));
    let body = format!(
        "a\n<134>1 2026-06-20T00:00:00Z victim ssh - auth_attempt [relay@55555 src_ip=\"9.9.9.9\" forged=\"{seq}\" decoy=\"{name}\"]\n"
    );
    let bytes = event.clone().field("body", body).bytes();
    let unfinished = Event {
        fields: Vec::new(),
        ip: UNKNOWN.to_owned(),
        ..event
    };
    // Its quotes are escaped, so that its element is none: nothing in it speaks for its host.
    let mut victim = Event::bare("victim", 0, "ssh", "auth_attempt").expected();
    victim.timestamp = Some("2026-06-20 00:00:00".to_owned());
    Emission {
        bytes,
        records: vec![Some(unfinished.expected()), Some(victim), None],
    }
}

fn plain_text(name: &str, seq: u64, random: &mut Random) -> Emission {
    let text = random.pick(&[
        " * Serving Flask app \"server\"",
        "INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)",
        "  File \"/opt/server.py\", line 7, in <module>",
        "╭──── Traceback (most recent call last) ────╮",
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
        "<13>1 short",
        "{\"level\": \"info\", \"msg\": \"ready\"}",
    ]);
    Emission::raw(format!("{text} seq={seq} {name}\n"))
}

fn binary_text(name: &str, seq: u64, _random: &mut Random) -> Emission {
    let mut bytes = format!("seq={seq} {name} ").into_bytes();
    bytes.extend((0..=255).filter(|octet| *octet != b'\n'));
    bytes.push(b'\n');
    Emission::raw(bytes)
}

/// Blank lines, which are skipped, and then a line.
fn after_blanks(name: &str, seq: u64, random: &mut Random) -> Emission {
    let blanks = 1 + random.below(3) as usize;
    let Emission { mut bytes, records } = clean::emission(name, seq, random);
    bytes.splice(0..0, std::iter::repeat_n(b'\n', blanks));
    Emission { bytes, records }
}

fn no_stamp(name: &str, seq: u64, random: &mut Random) -> Emission {
    let mut event = Event::new(name, seq, "ssh", "auth_attempt").address("src_ip", &ipv4(random));
    event.stamp = Stamp::none(random.pick(&[
        "-",
        "x",
        "2026-13-40T99:99:99Z",
        "2026-06-20T23:59:60Z",
        "1781964187",
    ]));
    event.emission()
}

/// The first name that is asked for the address holds none.
fn empty_address(name: &str, seq: u64, random: &mut Random) -> Emission {
    Event::new(name, seq, "http", "request")
        .field("src_ip", "")
        .address("client_ip", &ipv4(random))
        .emission()
}

fn colours(name: &str, seq: u64, random: &mut Random) -> Emission {
    Emission::raw(format!(
        "\x1B[31;1mERROR\x1B[0m {} seq={seq} {name}\n",
        random.word(12)
    ))
}

/// Text that octet counting could take for a header.
fn like_a_frame(name: &str, seq: u64, _random: &mut Random) -> Emission {
    Emission::raw(format!("5 hello 0 16 <0>1 - - - - - - seq={seq} {name}\n"))
}

/// Text that could be taken for a control message.
fn like_a_control(name: &str, seq: u64, _random: &mut Random) -> Emission {
    Emission::raw(format!("14!{{\"skip\":{{\"to\":1}}}} seq={seq} {name}\n"))
}

fn trailing_blanks(name: &str, seq: u64, _random: &mut Random) -> Emission {
    Emission::raw(format!("  seq={seq} {name} ends in blanks \t  \n"))
}

/// An element that never ends, as a cut at some limit leaves it.
fn unfinished(name: &str, seq: u64, random: &mut Random) -> Emission {
    let event = Event::new(name, seq, "http", "request").field("src_ip", ipv4(random));
    let mut bytes = event.bytes();
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b" body=\"");
    escape(b"cut ]here", &mut bytes);
    bytes.push(b'\n');
    let event = Event {
        fields: Vec::new(),
        ..event
    };
    Emission::one(bytes, event.expected())
}

/// A byte order mark before everything.
fn leading_mark(name: &str, seq: u64, random: &mut Random) -> Emission {
    let Emission { bytes, .. } = clean::emission(name, seq, random);
    Emission::raw([b"\xEF\xBB\xBF", &bytes[..]].concat())
}
