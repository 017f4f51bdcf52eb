//! Syslog messages (RFC 5424): a strict parser, DECNET's lenient one with the record made from it,
//! and the writers of both and of wrapped lines.
//!
//! A *parser* over whole messages: octets in, borrowed parts out. Nothing is allocated for a
//! message of the usual shape, nothing is decoded that is not asked for, and no input panics. It
//! knows no clock: whoever needs a time for a message without one hands it in.
//!
//! It refuses to repair: [`parse`] takes the grammar of RFC 5424 §6 and nothing else. What DECNET's
//! services print beyond it is taken by [`decnet::classify`] alone, which decides what goes into a
//! `.log` as it came, and what becomes a record.
//!
//! ```
//! let line = br#"<134>1 2026-06-20T14:03:07Z cache-01 redis - command [relay@55555 src="192.0.2.9"]"#;
//! let message = rfc5424::parse(line).expect("strict");
//! assert_eq!(message.priority.severity(), 6);
//! assert_eq!(message.structured_data.iter().next().expect("one").id, "relay@55555");
//!
//! let record = rfc5424::decnet::Record::parse(line).expect("a record");
//! assert_eq!(record.attacker_ip(), b"192.0.2.9");
//! ```

mod json;
mod message;
mod sd;
mod swar;
mod wrap;

pub mod decnet;
pub mod timestamp;

pub use decnet::accepts;
pub use json::{rfc5424_error_json, rfc5424_json};
pub use message::{Field, Message, ParseError, Priority, Stamp, parse};
pub use sd::{Element, Elements, Param, Params, StructuredData};
pub use timestamp::Timestamp;
pub use wrap::{Part, Wrap, Wrapped};
