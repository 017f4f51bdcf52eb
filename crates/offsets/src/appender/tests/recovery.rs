//! Particular crashes, by name.
