//! Both ends of the acknowledged delivery protocol, from a forwarder's file to a listener's archive, as *sessions*:
//! facts in by `handle_*`, actions out by `poll_*`, time as an argument.
//!
//! A [`sender::Sender`] and a [`receiver::Receiver`] live as long as one connection; [`Admission`] is a listener's
//! table of connections, [`Failover`] a forwarder's list of masters. Lines never pass here: both ends count positions
//! of whole batches, so that what a batch costs does not depend on its lines.
//!
//! This crate opens nothing, waits for nothing, and stores nothing. Above all it decides three things: nothing is sent
//! before the listener has said from where and the file has proved to be the one meant; nothing is acknowledged that
//! its driver did not call durable; no connection is told where to resume while an older one may still write.
//!
//! ```
//! use std::time::Instant;
//! use delivery::{Offset, sender::{Action, Sender, SenderLimits, Source}};
//!
//! let source = Source {
//!     stream: "decky".to_owned(), epoch: Some("00112233445566778899aabbccddeeff".parse()?), after: None,
//!     from: Offset::ZERO, size: Offset::new(4096)?, acked: Vec::new(), of: None, base: None,
//!     common: Offset::ZERO,
//! };
//! # fn now() -> Instant { #[allow(clippy::disallowed_methods, reason = "an example")] Instant::now() }
//! let mut sender = Sender::new(SenderLimits::default(), "example/0", source, now());
//! let Some(Action::Control(hello)) = sender.poll_action() else { panic!() };
//! assert!(hello.encode()?.starts_with(br#"{"hello":{"stream":"decky""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "a test may pick an epoch")
)]

mod admission;
mod bug;
pub mod control;
mod failover;
mod lines;
mod name;
mod offset;
pub mod receiver;
pub mod sender;
#[cfg(test)]
mod sim;

pub use admission::{Admission, AdmissionLimits, Claimed, ConnectionId};
pub use control::{Acked, Code, Control, ControlError, GapCause, Refuse, RollCause};
pub use failover::{Failover, Pause};
pub use lines::{Run, runs};
pub use name::{ArchiveId, EpochId, Hash, NameError, Print, is_stream_name};
pub use offset::{Offset, OffsetError};
