//! Which records are sampled, and the octets of an export request.

use std::collections::BTreeSet;

use prost::Message as _;

use super::{Context, EVENT, Place, Span, Tracer, message};

const PLACE: Place<'_> = Place {
    id: "0123456789ab",
    stream: "stdout",
    number: 7,
    time_ns: 1_750_428_187_125_301_000,
};

#[test]
fn a_records_place_is_its_context() {
    let all = Tracer::new(1.0);
    let first = all.event(&PLACE).unwrap();
    assert_eq!(all.event(&PLACE), Some(first));
    let others = [
        Place {
            id: "0123456789ac",
            ..PLACE
        },
        Place {
            stream: "stderr",
            ..PLACE
        },
        Place { number: 8, ..PLACE },
        Place {
            time_ns: 1,
            ..PLACE
        },
    ];
    let contexts = others.iter().map(|place| all.event(place).unwrap());
    let traces: BTreeSet<_> = contexts
        .chain([first])
        .map(|c| (c.trace_id, c.span_id))
        .collect();
    assert_eq!(traces.len(), 5);
    assert_ne!(all.stream(PLACE.id, 1), all.stream(PLACE.id, 2));
}

#[test]
fn a_context_reads_as_in_the_header() {
    let context = Context {
        trace_id: *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c",
        span_id: *b"\xb7\xad\x6b\x71\x69\x20\x33\x31",
    };
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(context.to_string(), text);
}

#[test]
fn the_share_is_what_was_asked_for_and_grows_by_adding() {
    let chosen = |share| {
        let tracer = Tracer::new(share);
        let places = (0..10_000).map(|number| Place { number, ..PLACE });
        places
            .filter(|place| tracer.event(place).is_some())
            .map(|place| place.number)
            .collect::<BTreeSet<_>>()
    };
    let (few, some, all) = (chosen(0.01), chosen(0.1), chosen(1.0));
    assert!((60..140).contains(&few.len()), "{}", few.len());
    assert!((900..1100).contains(&some.len()), "{}", some.len());
    assert_eq!(all.len(), 10_000);
    assert!(few.is_subset(&some));
}

/// Both were written by OpenTelemetry's own Python classes (opentelemetry-proto 1.45.2).
#[test]
fn messages_are_those_of_the_official_schema() {
    let count = |from: u8| std::array::from_fn(|at| from + at as u8);
    let span = Span {
        name: EVENT,
        context: Context {
            trace_id: count(0),
            span_id: std::array::from_fn(|at| 16 + at as u8),
        },
        link: Some(Context {
            trace_id: count(32),
            span_id: std::array::from_fn(|at| 48 + at as u8),
        }),
        start_ns: 1_750_428_187_125_301_000,
        end_ns: 1_750_428_187_135_301_000,
        attributes: vec![
            ("decky", "omega".to_owned()),
            ("service", "http".to_owned()),
            ("event_type", "request".to_owned()),
            ("attacker_ip", "203.0.113.4".to_owned()),
        ],
    };
    let written = message::request(&[span], "h1", "1.2.3").encode_to_vec();
    let hex: String = written.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(hex, include_str!("tests/request.hex").trim());

    let answer = [0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, b'n', b'o'];
    let answer = message::ExportTraceServiceResponse::decode(&answer[..]).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (3, "no")
    );
}
