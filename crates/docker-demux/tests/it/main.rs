//! The decoders against what Docker writes, what it should not write, and what nobody should.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may fail and may read their data"
)]

mod docker;
mod frames;
mod jsonfile;
mod replay;
mod tty;
