//! Follow a file through rotation, copytruncate and restart, and hand out byte ranges of it.
//!
//! A log file is a sequence of *epochs*: each rotation ends one and begins the next. A [`Follower`] finds the epochs of
//! one path (the live file and its rotated siblings, plain or gzip), tells them apart by content, reads them oldest
//! first in large batches of whole lines and gives every batch a position, (epoch, offset). What its user has made safe
//! goes back in with [`Follower::confirm`]; [`Follower::checkpoint`] is the value to store, from which a new follower
//! goes on.
//!
//! It refuses to guess: device, inode and time stamps only propose which file is which; the first and the last
//! 4 KiB before the offset decide. (A log that repeats itself for longer than that, copied and cut while nobody looks,
//! can't be told from one that was not. And a file of which the checkpoint has fewer than 64 bytes can be taken for
//! another one that begins alike, whose first bytes then count as delivered; a receiver that proves what it holds
//! notices.) What it can't find again it reports as a [`Gap`]. It never looks into a line, never
//! waits (the time comes in as [`Now`]), and its memory does not depend on how far behind it is.
//!
//! ```
//! use tail::{Follower, Now, Options, Step};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("decky.log");
//! std::fs::write(&path, "one\ntwo\nunfinished")?;
//!
//! let mut follower = Follower::new(Options::new(&path), None);
//! let mut bytes = Vec::new();
//! let Step::Lines(span) = follower.next(&mut bytes, Now::system())? else { panic!() };
//! assert_eq!((&bytes[..], span.from, span.to), (&b"one\ntwo\n"[..], 0, 8));
//! follower.confirm(span.seq);
//! let stored = follower.checkpoint();
//! # assert_eq!(stored.epochs[0].offset(), 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod contest;
mod entry;
mod epoch;
mod error;
mod follower;
mod offer;
mod options;
mod print;
mod reading;
mod regain;
mod retire;
mod settle;
mod siblings;
mod source;
mod step;
mod strangers;
mod watch;

pub use checkpoint::{Checkpoint, First, Known, Skip};
pub use contest::Renamed;
pub use epoch::{EpochId, Now, ParseEpochError};
pub use error::TailError;
pub use follower::Follower;
pub use offer::{MAX_BYTES, Offer};
pub use options::{Options, Standing};
pub use print::Print;
pub use source::Ident;
pub use step::{Cause, Gap, Roll, RollCause, Span, Step};
pub use strangers::Answer;
pub use watch::Watch;
