//! The boundary audit socket: tagged frames, the protobuf messages inside, the syslog line and the JSON record made
//! of each, and what a session's sequence numbers say about records that never came. A *codec*, pure.
//!
//! It accepts exactly what the original server accepts (a Go program with Go's protobuf): unknown fields, known
//! fields of another wire type, groups and overlong numbers pass; text that is not UTF-8 fails its whole frame. So
//! the wire format is read here by hand; generated code is stricter. It refuses to repair: nothing is decoded
//! lossily, and a frame is taken whole or not at all.
//!
//! ```
//! use audit_codec::{Context, Log, Message, Request, Tag, decode_frame, encode_frame};
//!
//! let request = Request { logs: vec![Log { allowed: true, ..Log::default() }], ..Request::default() };
//! let mut wire = Vec::new();
//! encode_frame(Tag::Envelope, &Message::Logs(request.clone()).encode(Tag::Envelope), &mut wire).expect("short");
//!
//! let (frame, consumed) = decode_frame(&wire).expect("legal").expect("whole");
//! assert_eq!(consumed, wire.len());
//! assert_eq!(Message::decode(frame.tag, frame.payload), Ok(Message::Logs(request.clone())));
//!
//! let mut line = Vec::new();
//! let context = Context { hostname: "web-1", ..Context::default() };
//! context.write_line(&request, &request.logs[0], &mut line);
//! assert!(line.ends_with(b"web-1 boundary - boundary_request [boundary@32473 decision=\"allow\"]\n"));
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests of timed state pick an epoch"
    )
)]

mod frame;

mod wire;

mod message;

mod time;

mod record;

mod tracker;

pub use frame::{Frame, FrameError, HEADER, MAX_PAYLOAD, Tag, decode_frame, encode_frame};
pub use message::{Http, Log, Message, Request, Status};
pub use record::Context;
pub use time::Time;
pub use tracker::{Gap, Key, PATIENCE, Tracker, WINDOW};
pub use wire::{DecodeError, Fault};
