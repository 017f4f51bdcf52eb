//! The reader against a daemon of our own that keeps, loses and repeats as real ones do.

mod daemon;
mod reading;
