//! DECNET's Unix bus: publish and subscribe without ever holding up the caller.
//!
//! At most once, by the bus's own contract: what could not be published is counted, never waited for.
