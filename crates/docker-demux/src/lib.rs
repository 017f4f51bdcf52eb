//! Docker's log streams and json-file entries, turned into lines.
//!
//! A codec: bytes in, [`Lines`] out. Three sources, one result: the json-file driver's own files ([`JsonFile`]), the
//! multiplexed frames of `GET /containers/ID/logs?timestamps=1` ([`Frames`]), and the same for a TTY container, which
//! has no frames ([`Tty`]). All three join the 16 KiB pieces in which Docker stores a long line, cut a line over
//! [`MAX_LINE`] into marked parts, and keep every octet of the output as it is. The crate opens nothing, waits for
//! nothing and trusts nothing: what it can't read is skipped and counted.
//!
//! ```
//! use docker_demux::{JsonFile, Lines, Options};
//!
//! let log = b"{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T05:24:25.5Z\"}\n{\"log\":\"half";
//! let mut decoder = JsonFile::new(Options::default());
//! let mut lines = Lines::default();
//! let taken = decoder.push(log, &mut lines);
//! assert_eq!(lines.octets(&lines.index[0]), b"hello");
//! assert_eq!(&log[taken..], b"{\"log\":\"half");
//! ```

mod frames;
mod join;
mod jsonfile;
mod lines;
mod stamp;
mod tty;

pub use frames::{Frame, FrameError, Frames, HEADER, MAX_FRAME, MAX_MESSAGE, Message, decode};
pub use join::{MAX_LINE, PIECE, Progress};
pub use jsonfile::{JsonFile, MAX_ENTRY};
pub use lines::{Line, Lines, Open, Part, Stream};
pub use stamp::{Stamps, parse_stamp};
pub use tty::Tty;

/// What a decoder must know of its container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The container has a TTY: one CR before an LF is the terminal's and is removed.
    pub tty: bool,
    /// The log driver is `local`, which drops the LF of a long line; matters to [`Tty`] alone.
    pub local: bool,
}
