//! What goes over the socket and what is made of it.

#![expect(clippy::disallowed_methods, reason = "the corpus is a folder")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod lines;
mod reference;
mod replay;
mod vectors;
