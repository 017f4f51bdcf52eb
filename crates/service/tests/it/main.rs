//! Behaviour that needs a process of its own: environment variables, signals, stderr.

mod child;
mod logging;
mod notify;
mod signals;
mod skips;
mod workspace;
