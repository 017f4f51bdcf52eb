//! The reader against a writer that rotates as Docker does.

mod docker;
mod following;
mod resuming;
mod turns;
