//! Webhooks: payloads, signatures, and one delivery attempt to an address that was checked.
//!
//! It keeps no queue and retries nothing: what to send, when, and what an answer means is its caller's. It follows no
//! redirect, asks no proxy, keeps no connection, gives nobody the body of an answer, and names no secret of a URL.
//! An edge crate: only [`Client`] opens sockets, the rest is pure.
//!
//! ```
//! use webhook::{MessageId, Policy, Refusal, Secrets};
//!
//! let policy = Policy::default();
//! let target = policy.check_url("https://chat.example/hook?token=t0p").unwrap();
//! assert_eq!(target.to_string(), "https://chat.example/…");
//! assert!(matches!(policy.check_url("http://[::ffff:127.0.0.1]/"), Err(Refusal::Address { .. })));
//!
//! let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
//! let id = MessageId::new("msg_p5jXN8AQM9LWM0D4loKWxJek").unwrap();
//! let signature = secrets.sign(&id, 1_614_265_330, br#"{"test": 2432232314}"#);
//! assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
//! ```

mod guard;
mod target;

mod signature;

mod payload;

mod attempt;
mod resolve;
mod tls;

pub use attempt::{AttemptError, Client, Limits, Outcome, Report, Request};
pub use guard::{Class, DENIED_PORTS, Policy, Refusal, classify};
pub use payload::{Format, MAX_PAYLOAD, Notice, Trigger, render};
pub use resolve::{Resolver, SystemResolver};
pub use signature::{IdError, MAX_SECRETS, MessageId, SecretError, Secrets};
pub use target::{MAX_URL, Target};
pub use tls::{Roots, RootsError};
