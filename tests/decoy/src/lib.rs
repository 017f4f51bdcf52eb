//! Plays DECNET services at a set rate, hostile bytes included.
