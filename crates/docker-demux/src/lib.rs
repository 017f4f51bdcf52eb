//! Docker's log streams and json-file entries, turned into lines.
//!
//! A codec: bytes in, [`Lines`] out. Three sources, one result: the json-file driver's own files (`JsonFile`), the
//! multiplexed frames of `GET /containers/ID/logs` (`Frames`), and the raw stream of a TTY container (`Tty`). All
//! three expect time stamps, join the 16 KiB pieces in which Docker stores a long line, cut a line over
//! `MAX_LINE` into marked parts, and keep every octet of the output as it is. The crate opens nothing, waits for
//! nothing and trusts nothing: what it can't read is skipped and counted.

mod lines;

pub use lines::{Line, Lines, Open, Part, Stream};
