//! The proxy over real Unix sockets: in this process where metrics are looked at, as a program where it is killed.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod bed;
mod bus;
mod command;
mod full;
mod gaps;
mod kill;
mod load;
mod path;
mod table;
