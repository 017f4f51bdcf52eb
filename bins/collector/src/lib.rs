//! Reads Docker's container logs into an RFC 5424 file and JSON records.

pub mod source;
