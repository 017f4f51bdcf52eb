//! The same messages by `prost`: an implementation that is not ours writes what we read, and reads what we write.

use audit_codec::{Http, Log, Message, Request, Status, Tag, Time};
use proptest::prelude::*;
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct PTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PHttp {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(string, tag = "2")]
    url: String,
    #[prost(string, tag = "3")]
    matched_rule: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PLog {
    #[prost(bool, tag = "1")]
    allowed: bool,
    #[prost(message, optional, tag = "2")]
    time: Option<PTime>,
    #[prost(message, optional, tag = "3")]
    http_request: Option<PHttp>,
    #[prost(int32, tag = "4")]
    sequence_number: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PRequest {
    #[prost(message, repeated, tag = "1")]
    logs: Vec<PLog>,
    #[prost(string, tag = "2")]
    session_id: String,
    #[prost(string, tag = "3")]
    confined_process_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PStatus {
    #[prost(int64, tag = "1")]
    dropped_channel_full: i64,
    #[prost(int64, tag = "2")]
    dropped_batch_full: i64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PVariant {
    #[prost(message, tag = "1")]
    Logs(PRequest),
    #[prost(message, tag = "2")]
    Status(PStatus),
}

#[derive(Clone, PartialEq, prost::Message)]
struct PEnvelope {
    #[prost(oneof = "PVariant", tags = "1, 2")]
    msg: Option<PVariant>,
}

/// What prost read, in our types.
fn ours(envelope: &PEnvelope) -> Message<'_> {
    match &envelope.msg {
        None => Message::Unknown,
        Some(PVariant::Status(status)) => Message::Status(Status {
            channel_full: status.dropped_channel_full,
            batch_full: status.dropped_batch_full,
        }),
        Some(PVariant::Logs(request)) => Message::Logs(Request {
            logs: request.logs.iter().map(log).collect(),
            session_id: &request.session_id,
            process: &request.confined_process_name,
        }),
    }
}

fn log(log: &PLog) -> Log<'_> {
    Log {
        allowed: log.allowed,
        time: log.time.as_ref().map(|time| Time {
            seconds: time.seconds,
            nanos: time.nanos,
        }),
        http: log.http_request.as_ref().map(|http| Http {
            method: &http.method,
            url: &http.url,
            matched_rule: &http.matched_rule,
        }),
        sequence: log.sequence_number,
    }
}

prop_compose! {
    fn a_log()(allowed in any::<bool>(), time in any::<Option<(i64, i32)>>(), http in any::<Option<(String, String, String)>>(),
               sequence_number in any::<i32>()) -> PLog {
        let time = time.map(|(seconds, nanos)| PTime { seconds, nanos });
        let http_request = http.map(|(method, url, matched_rule)| PHttp { method, url, matched_rule });
        PLog { allowed, time, http_request, sequence_number }
    }
}

prop_compose! {
    fn a_request()(logs in prop::collection::vec(a_log(), 0..6), session_id in any::<String>(),
                   confined_process_name in any::<String>()) -> PRequest {
        PRequest { logs, session_id, confined_process_name }
    }
}

fn an_envelope() -> impl Strategy<Value = PEnvelope> {
    let status =
        any::<(i64, i64)>().prop_map(|(dropped_channel_full, dropped_batch_full)| PStatus {
            dropped_channel_full,
            dropped_batch_full,
        });
    let variant = prop_oneof![
        a_request().prop_map(PVariant::Logs),
        status.prop_map(PVariant::Status)
    ];
    prop::option::of(variant).prop_map(|msg| PEnvelope { msg })
}

proptest! {
    #[test]
    fn reads_what_prost_writes(envelope in an_envelope()) {
        let wire = envelope.encode_to_vec();
        let message = Message::decode(Tag::Envelope, &wire);
        prop_assert_eq!(message.as_ref(), Ok(&ours(&envelope)));
        let message = message.unwrap();
        prop_assert_eq!(message.encode(Tag::Envelope), wire);
    }

    #[test]
    fn reads_bare_requests(request in a_request()) {
        let wire = request.encode_to_vec();
        let envelope = PEnvelope { msg: Some(PVariant::Logs(request)) };
        prop_assert_eq!(Message::decode(Tag::Logs, &wire), Ok(ours(&envelope)));
    }

    /// Two envelopes one behind the other are one, merged.
    #[test]
    fn merges_as_prost_merges(first in an_envelope(), second in an_envelope()) {
        let mut wire = first.encode_to_vec();
        wire.extend(second.encode_to_vec());
        let merged = PEnvelope::decode(wire.as_slice()).unwrap();
        prop_assert_eq!(Message::decode(Tag::Envelope, &wire), Ok(ours(&merged)));
    }

    /// Whatever prost accepts of a message that was damaged, we accept, and read the same.
    #[test]
    fn accepts_all_that_prost_accepts(envelope in an_envelope(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut wire = envelope.encode_to_vec();
        for (at, octet) in damage {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] = octet;
            }
        }
        if let Ok(theirs) = PEnvelope::decode(wire.as_slice()) {
            prop_assert_eq!(Message::decode(Tag::Envelope, &wire), Ok(ours(&theirs)));
        }
    }
}
