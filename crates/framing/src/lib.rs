//! Octet counting on syslog streams (RFC 5425 §4.3, RFC 6587 §3.4.1), both ways, strict.
//!
//! A *codec* over contiguous slices: frames are borrowed from the caller's buffer, or become lines
//! in it ([`Decoder::unframe`]), and nothing is remembered between calls, so the result cannot
//! depend on how the stream was cut into reads.
//!
//! ```text
//! frame    = MSG-LEN (SP message / "!" control)
//! MSG-LEN  = NONZERO-DIGIT *DIGIT      ; not zero, at most 10 digits, at most the limit
//! ```
//!
//! It refuses to guess: no leading zero, no sign, no skipping of what is too long, no search for the
//! next header after an error. Whoever gets a [`FrameError`] keeps the frames before it and closes
//! the connection. Lines between the frames are for [`Mixed`] alone, which serves loopback only.
//!
//! ```
//! use framing::{Decoder, Frame, MAX_FRAME};
//!
//! let mut wire = Vec::new();
//! framing::encode(b"<0>1 - - - - - -", &mut wire);
//! let (frame, consumed) = Decoder::new(MAX_FRAME).decode(&wire).expect("legal").expect("whole");
//! assert_eq!(frame, Frame::Message(b"<0>1 - - - - - -"));
//! assert_eq!(consumed, wire.len());
//! ```

mod decoder;
mod encoder;
mod error;
mod mixed;
mod unframe;

pub use decoder::{Batch, Decoder, Frame, MAX_CONTROL, MAX_DIGITS, MAX_FRAME, at_eof};
pub use encoder::{Encoded, encode, encode_control, encode_lines, header};
pub use error::{Fault, FrameError};
pub use mixed::{Mixed, Piece};
pub use unframe::Unframed;
