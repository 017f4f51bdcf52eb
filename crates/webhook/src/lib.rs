//! Webhooks: payloads, signatures, and one delivery attempt to an address that was checked.
//!
//! It keeps no queue and retries nothing: what to send, when, and what an answer means is its caller's.
